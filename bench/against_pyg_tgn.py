"""Events per second of the memory models, beside PyG's TGN at equal dimensions.

The peer is PyG's example of TGN (`examples/tgn.py`) on its own classes: `TGNMemory` with identity messages and the last
aggregator, `LastNeighborLoader`, one `TransformerConv` of two heads over the last 10 neighbours, a link predictor of
two layers; batches of 200 events with one negative each, memories and embeddings of 100, time encodings of 100, Adam.
Both sides go through the same events: one piece of work is an epoch's stretch of predictions, losses, updates of the
weights and of the memories ("training"), or of predictions and updates of the memories ("testing").

Our network maps a message to the width of the memory before the recurrent cell and the peer's hands it over as it is,
so the numbers of parameters differ with the width of the events' features: the work is defined by the dimensions.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.models.tgn import IdentityMessage, LastAggregator, LastNeighborLoader, TGNMemory

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.data.events import Contacts, Events
from pathline.events.base import EventModel
from pathline.events.link_rivals import LinkTGN
from pathline.events.nat import NAT

NODES, EVENTS, BATCH, WIDTH, NEIGHBOURS, FEATURES = 2000, 4000, 200, 100, 10, 16
WANTED = 5.0


class PyGModel(nn.Module):
    """The peer, as in PyG's example."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = TGNMemory(
            NODES,
            FEATURES + 1,
            WIDTH,
            WIDTH,
            message_module=IdentityMessage(FEATURES + 1, WIDTH, WIDTH),
            aggregator_module=LastAggregator(),
        )
        self.conv = TransformerConv(WIDTH, WIDTH // 2, heads=2, dropout=0.1, edge_dim=FEATURES + 1 + WIDTH)
        self.source, self.target, self.final = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)
        self.loader = LastNeighborLoader(NODES, size=NEIGHBOURS)
        self.place = torch.empty(NODES, dtype=torch.long)

    def reset(self) -> None:
        self.memory.reset_state()
        self.loader.reset_state()

    def embed(self, node: Tensor, time: Tensor, message: Tensor) -> Tensor:
        asked, edge_index, number = self.loader(node)
        self.place[asked] = torch.arange(len(asked))
        remembered, last = self.memory(asked)
        passed = last[edge_index[0]] - time[number]
        encoded = self.memory.time_enc(passed.to(remembered.dtype))
        return self.conv(remembered, edge_index, torch.cat([encoded, message[number]], 1))

    def link(self, one: Tensor, other: Tensor) -> Tensor:
        return self.final((self.source(one) + self.target(other)).relu())


def stream() -> Events:
    """Random events of nodes some of which are far more active than others."""
    generator = torch.Generator().manual_seed(0)
    source, target = (NODES * torch.rand(2, EVENTS, generator=generator) ** 2).long()
    return Events(
        source=source,
        target=torch.where(source == target, (target + 1) % NODES, target),
        time=torch.randint(1, 60, (EVENTS,), generator=generator).cumsum(0),
        features=torch.randn(EVENTS, FEATURES, generator=generator),
        nodes=NODES,
        batch=BATCH,
    )


def batches_of(data: Events) -> list[Contacts]:
    from dataclasses import replace

    generator = torch.Generator().manual_seed(1)
    return [
        replace(batch, negative=torch.randint(0, NODES, (len(batch), 1), generator=generator))
        for batch in data.batches(BATCH)
    ]


def peer_side(model: PyGModel, data: Events, batches: list[Contacts], learns: bool) -> Callable[[], None]:
    assert data.weight is not None and data.features is not None
    time, message = data.time, torch.cat([data.weight[:, None], data.features], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    criterion = nn.BCEWithLogitsLoss()

    def run() -> None:
        model.train(learns)
        model.reset()
        with torch.set_grad_enabled(learns):
            for batch in batches:
                optimizer.zero_grad()
                assert batch.negative is not None
                negative = batch.negative[:, 0]
                node = torch.cat([batch.source, batch.target, negative]).unique()
                z = model.embed(node, time, message)
                at = torch.empty(NODES, dtype=torch.long)
                asked, _, _ = model.loader(node)
                at[asked] = torch.arange(len(asked))
                good, bad = (model.link(z[at[batch.source]], z[at[end]]) for end in (batch.target, negative))
                loss = criterion(good, torch.ones_like(good)) + criterion(bad, torch.zeros_like(bad))
                model.memory.update_state(batch.source, batch.target, time[batch.position], message[batch.position])
                model.loader.insert(batch.source, batch.target)
                if learns:
                    loss.backward()
                    optimizer.step()
                    model.memory.detach()

    return run


def our_side(model: EventModel, batches: list[Contacts], learns: bool) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)

    def run() -> None:
        model.train(learns)
        model.reset()
        with torch.set_grad_enabled(learns):
            for batch in batches:
                loss = model.loss(batch)
                if learns:
                    assert isinstance(loss, Tensor)
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad()

    return run


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """Training and testing of the memory network and of NAT, against the peer."""
    torch.manual_seed(0)
    where = conditions("torch-geometric")
    data = stream()
    batches = batches_of(data)
    widths: dict[str, Any] = {"memory": WIDTH, "time": WIDTH, "embed": WIDTH, "neighbours": NEIGHBOURS}
    tgn, brief = (LinkTGN.for_data(data, hold=hold, **widths) for hold in (True, False))
    nat = NAT.for_data(data, self_dim=WIDTH, pos_dim=WIDTH, time=WIDTH)
    size = f"{EVENTS} events in batches of {BATCH}, widths {WIDTH}"
    lines = []
    for name, model in (("memory network", tgn), ("memory network, updates due for one batch", brief), ("NAT", nat)):
        for learns in (True, False):
            peer = PyGModel()
            lines.append(
                in_turn(
                    Side(f"pathline, {name}", our_side(model, batches, learns), parameters(model), "fp32"),
                    Side("PyG, TGN example", peer_side(peer, data, batches, learns), parameters(peer), "fp32"),
                    f"{'training on' if learns else 'testing on'} {size}: {name}",
                    None if name == "NAT" else WANTED,
                    "different networks of the same dimensions; outputs are not comparable",
                    same_size=False,
                )
            )
    return where, lines
