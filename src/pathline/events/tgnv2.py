"""TGNv2: a temporal graph network whose messages say who sent and who received.

A node's memory is all that is left of its past, and in a temporal graph network it is made of messages

    m = [s_u, s_v, e_uv, phi_t(t - t_u)]        that do not say who u and v are:

two streams in which u turned to v1, or to v2 instead, leave the same memory while s_v1 = s_v2, so whom u will turn to
next cannot be told from it; not even "the same as last time" or a moving average can be represented, whatever the
weights. TGNv2 adds an encoding of both numbers, sender first, with a and b of its own to learn:

    m = [s_u, s_v, e_uv, phi_t(t - t_u), phi_n(u), phi_n(v)],        phi(x) = cos(a x + b)

and then there are weights that do represent them (`tests/events/test_tgnv2.py` builds some). The logits of whom u turns
to in the next period are a network of its embedding z_u, trained with the cross-entropy to the true shares.
Tjandra, Barbero, Bronstein, 2024, "Enhancing the Expressivity of Temporal Graph Networks through Source-Target
Identification", arXiv:2411.03596.

Use it where nodes have habits of their own and the same nodes come again. A node that had no event in training has a
number that nothing was learned about. With many targets and little data, a moving average is hard to beat.
Departs: numbers are scaled to [0, 1) before they are encoded, for cosines of raw ones alias; messages pass one linear
map for senders and one for receivers instead of going to the recurrent cell as they are; the time since an event with a
neighbour is counted from the moment of the question; training asks three times in a period, at times that shift from
epoch to epoch, where labels once a period are soon known by heart.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.affinities import Affinities
from pathline.data.events import Contacts
from pathline.events.affinity import AffinityModel
from pathline.events.memory_network import MemoryNetwork


class TGNv2(AffinityModel):
    """Predicts whom nodes turn to next, from memories that know whom they turned to.

    memory, time, embed: widths of the memories, of the encoding of time and of the embeddings
    idx_dim:    numbers that encode a node's; -1 leaves them out, which is a plain TGN
    identify:   "cosine", or "onehot" for a unit vector per node
    neighbours: how many last neighbours the embedding attends to
    aggregate:  of a node's messages in one batch, the "last" or the "mean"
    asks:       how many times in a period training asks, at times that differ from epoch to epoch
    """

    recipe: ClassVar[Recipe] = Recipe(steps=1500, batch_size=1, lr=2e-3, schedule="cosine", validations=10)

    def __init__(
        self,
        stream: dict[str, Any],
        period: float,
        memory: int = 64,
        time: int = 16,
        idx_dim: int = 16,
        embed: int = 64,
        neighbours: int = 10,
        identify: str = "cosine",
        aggregate: str = "last",
        dropout: float = 0.1,
        asks: int = 3,
    ) -> None:
        super().__init__(stream, period)
        self.asks = asks
        for name, value, known in (
            ("identify", identify, ("cosine", "onehot")),
            ("aggregate", aggregate, ("last", "mean")),
        ):
            if value not in known:
                raise MethodError(f"TGNv2: {name} is '{value}'; choose {' or '.join(known)}")
        self.network = MemoryNetwork(
            stream, memory, time, embed, idx_dim, identify, neighbours, aggregate, dropout=dropout
        )
        self.embed = embed
        self.decoder = nn.Sequential(nn.Linear(embed, embed), nn.ReLU(), nn.Linear(embed, self.candidates))

    def read(self, data: Affinities) -> None:
        super().read(data)
        self.network.read(data.events)

    def reset(self) -> None:
        self.network.reset()

    def observe(self, contacts: Contacts) -> None:
        self.network.observe(contacts)

    def affinity(self, node: Tensor, time: Tensor) -> Tensor:
        """Logits (asked, candidates)."""
        logits: Tensor = self.decoder(self.network(node, time))
        return logits

    def popularity(self) -> Tensor:
        """(candidates,) what the decoder says of a node without any past: how popular each target was in training."""
        with torch.no_grad():
            silent: Tensor = self.decoder(torch.zeros(1, self.embed, device=self.device))[0]
        return silent
