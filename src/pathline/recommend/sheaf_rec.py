"""Sheaf4Rec: users and items hold a vector space each, and learned restriction maps say what neighbours must agree on.

    F_e = tanh(w^T [x_own ; x_other])                 a map for each end of each interaction, from the present features
    x^(l+1) = x^(l) - step * L_hat(F) (x^(l) W + b)   L_hat = (D + I)^-1/2 L (D + I)^-1/2, L the sheaf Laplacian
    score(u, i) = <x_u, y_i>                          x, y the means of layers 0 .. L

With all maps 1, W = I, no b and no I beside D a layer is x <- A x, LightGCN's. Maps of opposite signs at the two ends
of an interaction make it push apart what a plain graph pulls together, so a graph may hold dislikes as well.

When to use it: graphs whose edges do not all mean likeness (`edges="rated"`: dislikes too), with `pace=1`; what it wins
there over LightGCN, its linear maps alone (`learned=False`) win too. It costs several times as much per step, and where
all edges are likes, LightGCN is the better choice.

Purificato, Cassarà, Liò, Silvestri, 2023, "Sheaf neural networks for graph-based recommender systems",
arXiv:2304.09097.
Departs: maps begin near tanh(start) by a bias and W at the identity, so that training begins near LightGCN: without,
features and so maps are near 0 at first, and with them the Laplacian and what a layer does. Maps and W learn at `pace`
times the rate of the features. Stalks may have more than one dimension, with diagonal, general or orthogonal maps. The
authors' program puts the layers side by side, draws users instead of interactions, and pulls the rows of a batch
towards 0 with the whole of their penalty: `start=0, identity=False, readout="side by side", pace=1, l2=1`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.graph import SheafLaplacian
from pathline.graph.segment import Segments
from pathline.nn.sheaf_diffusion import SheafDiffusion
from pathline.recommend.pairwise import Pairwise

READOUTS = ("side by side", "mean")


class SheafRec(Pairwise):
    """layers:  of diffusion, each with maps and W of its own
    stalk:   dimensions of a stalk; the width is stalk * features
    family:  of the maps: "diagonal", "general" or "orthogonal"
    step, activation, ridge: of a layer (`SheafDiffusion`)
    start:   the maps begin near tanh(start); 0 as in the paper
    learned: False keeps all maps at 1: the control that has W but no sheaf
    readout: "mean" of the layers, or all of them "side by side"
    identity: W begins at the identity, else at random
    pace:    rate of the maps and of W, in units of the rate of the features

    Other settings as in `Pairwise`.
    """

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        layers: int = 3,
        stalk: int = 1,
        family: str = "diagonal",
        step: float = 1.0,
        activation: str = "identity",
        start: float = 1.5,
        ridge: float = 1.0,
        learned: bool = True,
        readout: str = "mean",
        identity: bool = True,
        pace: float = 0.1,
        l2: float = 1e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, l2, negatives, edges)
        if readout not in READOUTS:
            raise MethodError(f"SheafRec: readout is '{readout}'; choose {' or '.join(READOUTS)}")
        if layers < 0 or pace <= 0:
            raise MethodError(f"SheafRec: {layers} layers at a pace of {pace:g}; give at least 0, and more than 0")
        self.stalk, self.family, self.readout = stalk, family, readout
        self.rates = {"layers": pace}  # type: ignore[misc]  # of this one, not of the class
        try:
            self.layers = nn.ModuleList(
                SheafDiffusion(width, stalk, family, step, activation, start, ridge, learned, identity)
                for _ in range(layers)
            )
        except (ValueError, KeyError) as error:
            raise MethodError(f"SheafRec: {error}") from None

    @property
    def sheaf(self) -> tuple[SheafLaplacian, tuple[Segments, Segments]]:
        """The graph of the training part, and the own and other end of its edges."""

        def make() -> Any:
            user, item = self.pairs(self.edges == "rated")
            item = item + self.users
            both = torch.stack([torch.cat([user, item]), torch.cat([item, user])])
            nodes = self.users + self.items
            laplacian = SheafLaplacian(both, nodes, self.stalk, self.family)
            return laplacian, (laplacian.own, Segments(laplacian.edges[1], nodes))

        found: tuple[SheafLaplacian, tuple[Segments, Segments]] = self.made("sheaf", make)
        return found

    def factors(self) -> Tensor:
        x: Tensor = self.embedding
        outputs = [x]
        for layer in self.layers:
            x = layer(x, *self.sheaf)
            outputs.append(x)
        return torch.cat(outputs, 1) if self.readout == "side by side" else torch.stack(outputs).mean(0)

    @torch.no_grad()
    def map_statistics(self) -> list[dict[str, float]]:
        """For each layer: mean, spread, and share of negative products F_own F_other, of diagonal maps; maps near 0
        mean that nothing spreads, negative products that an edge pushes apart."""
        found = []
        x: Tensor = self.embedding
        laplacian, ends = self.sheaf
        for layer in self.layers:
            assert isinstance(layer, SheafDiffusion)
            maps = layer.maps(x, laplacian, ends)
            products = maps * maps[laplacian.reverse]
            found.append(
                {
                    "mean": float(maps.mean()),
                    "spread": float(maps.std(correction=0)),
                    "opposed": float((products < 0).float().mean()),
                }
            )
            x = layer(x, laplacian, ends)
        return found
