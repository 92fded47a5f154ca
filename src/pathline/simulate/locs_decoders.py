"""The decoders of LoCS: from local features of bodies and edges to a local change of state.

    messages     e_ij = MLP([v_j|i, v_i|i]),  one MLP per edge type, or an anisotropic filter of it
    markov       m_i = mean_j e_ij + Linear(v_i|i),            delta_i = MLP(m_i)
    recurrent    x_i = MLP(v_i|i) + mean_j e_ij,  m_i = mean_j tanh MLP([h_i, h_j]),  gates as in a GRU:
                 r = sig(W_r x + U_r m),  z = sig(W_z x + U_z m),  n = tanh(W_n x + r U_n m),  h <- (1 - z) n + z h,
                 delta_i = MLP(h_i)
All that they see is invariant, so nothing in them knows of directions; hidden states are never turned.
Kofinas, Nagaraja, Gavves, 2021, arXiv:2110.14961.
"""

import torch
from torch import Tensor, nn

from pathline.graph import segment_mean
from pathline.nn.anisotropic import AnisotropicFilter
from pathline.nn.mlp import MLP


class Messages(nn.Module):
    """Edge embeddings, summed over edge types with the weights of each edge.

    own, edge, place: columns of the receiver's own state, of the edge's features and of the sender's place
    types:            K edge types, with an MLP each; anisotropic: filter the features, of this `rank`
    """

    def __init__(
        self, own: int, edge: int, place: int, width: int, types: int, anisotropic: bool, rank: int | None
    ) -> None:
        super().__init__()
        self.anisotropic = anisotropic
        kinds = range(types)
        if anisotropic:
            self.filters = nn.ModuleList(AnisotropicFilter(place, own + edge, width, width, rank) for _ in kinds)
        else:
            self.mlps = nn.ModuleList(MLP([own + edge, width, width]) for _ in kinds)

    def forward(self, own: Tensor, edge: Tensor, place: Tensor, receiver: Tensor, kinds: Tensor | None) -> Tensor:
        """own: (..., nodes, own), edge: (..., edges, edge); kinds: (..., edges, types) weights; (..., edges, width)."""
        columns = torch.cat([edge, own.index_select(-2, receiver)], -1)
        if self.anisotropic:
            found = [one(columns, place) for one in self.filters]
        else:
            found = [one(columns) for one in self.mlps]
        if kinds is None:
            return torch.stack(found).sum(0)
        return torch.einsum("k...w,...k->...w", torch.stack(found), kinds)


def _readout(width: int, outputs: int, dropout: float) -> nn.Sequential:
    hidden = [nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*hidden, nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs))


class MarkovDecoder(nn.Module):
    """Without memory."""

    def __init__(self, messages: Messages, own: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.messages, self.skip = messages, nn.Linear(own, width)
        self.readout = _readout(width, outputs, dropout)

    def forward(
        self,
        own: Tensor,
        edge: Tensor,
        place: Tensor,
        edge_index: Tensor,
        hidden: Tensor | None,
        kinds: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The local change, (..., nodes, outputs), and the next hidden state."""
        message = self.messages(own, edge, place, edge_index[1], kinds)
        mean = segment_mean(message, edge_index[1], own.shape[-2], dim=-2)
        return self.readout(mean + self.skip(own)), None


class RecurrentDecoder(nn.Module):
    """With a hidden state per body, (..., nodes, width), 0 at the start."""

    def __init__(self, messages: Messages, own: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.messages, self.width = messages, width
        self.skip = nn.Sequential(
            nn.Linear(own, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU()
        )
        self.remember = nn.Sequential(
            nn.Linear(2 * width, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, width), nn.Tanh()
        )
        self.present = nn.Linear(width, 3 * width)  # W_r, W_z, W_n
        self.past = nn.Linear(width, 3 * width, bias=False)  # U_r, U_z, U_n
        self.readout = _readout(width, outputs, dropout)

    def forward(
        self,
        own: Tensor,
        edge: Tensor,
        place: Tensor,
        edge_index: Tensor,
        hidden: Tensor | None,
        kinds: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The local change, (..., nodes, outputs), and the next hidden state."""
        sender, receiver = edge_index
        nodes = own.shape[-2]
        if hidden is None:
            hidden = own.new_zeros(*own.shape[:-1], self.width)
        message = self.messages(own, edge, place, receiver, kinds)
        x = self.skip(own) + segment_mean(message, receiver, nodes, dim=-2)
        ends = torch.cat([hidden.index_select(-2, receiver), hidden.index_select(-2, sender)], -1)
        remembered = self.remember(ends)
        if kinds is not None:
            remembered = remembered * kinds.sum(-1, keepdim=True)
        m = segment_mean(remembered, receiver, nodes, dim=-2)
        (x_r, x_z, x_n), (m_r, m_z, m_n) = self.present(x).chunk(3, -1), self.past(m).chunk(3, -1)
        r, z = torch.sigmoid(x_r + m_r), torch.sigmoid(x_z + m_z)
        hidden = (1 - z) * torch.tanh(x_n + r * m_n) + z * hidden
        return self.readout(hidden), hidden


class EdgeTypes(nn.Module):
    """Which kind of interaction each edge is, from the past alone (prior) or from all of a course (posterior).

        e = anisotropic filter of [v_j|i, v_i|i];   n_i = MLP(mean_j e_ij + Linear(v_i|i));   e' = MLP([n_i, n_j, e])
        forward GRU over time -> prior logits;      [forward, backward] -> posterior logits
    After NRI and dNRI (Kipf et al. 2018, arXiv:1802.04687; Graber and Schwing 2020), in local frames.
    """

    def __init__(self, own: int, edge: int, place: int, width: int, types: int, rank: int | None) -> None:
        super().__init__()
        self.filter = AnisotropicFilter(place, own + edge, width, width, rank)
        self.skip = nn.Linear(own, width)
        self.of_node = MLP([width, width, width], nn.ELU, final_activation=True)
        self.of_edge = MLP([3 * width, width, width], nn.ELU, final_activation=True)
        self.forward_gru = nn.GRU(width, width, batch_first=True)
        self.backward_gru = nn.GRU(width, width, batch_first=True)
        self.prior = nn.Linear(width, types)
        self.posterior = nn.Linear(2 * width, types)

    def embed(self, own: Tensor, edge: Tensor, place: Tensor, edge_index: Tensor) -> Tensor:
        """(..., edges, width) for one moment or, with time among the leading dimensions, for many."""
        sender, receiver = edge_index
        e = self.filter(torch.cat([edge, own.index_select(-2, receiver)], -1), place)
        n = self.of_node(segment_mean(e, receiver, own.shape[-2], dim=-2) + self.skip(own))
        ends = [n.index_select(-2, receiver), n.index_select(-2, sender)]
        return self.of_edge(torch.cat([*ends, e], -1))

    def whole(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Prior and posterior logits (batch, frames, edges, types) of courses (batch, frames, edges, width)."""
        batch, frames, edges, width = embedded.shape
        rows = embedded.transpose(1, 2).reshape(batch * edges, frames, width)
        ahead, back = self.forward_gru(rows)[0], self.backward_gru(rows.flip(1))[0].flip(1)
        logits = self.prior(ahead), self.posterior(torch.cat([ahead, back], -1))
        first, second = (found.unflatten(0, (batch, edges)).transpose(1, 2) for found in logits)
        return first, second

    def next(self, embedded: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Prior logits (batch, edges, types) of one moment, and the memory (1, batch * edges, width) after it."""
        ahead, memory = self.forward_gru(embedded.flatten(0, 1)[:, None], memory)
        return self.prior(ahead[:, 0]).unflatten(0, embedded.shape[:2]), memory
