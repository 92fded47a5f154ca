"""A layer of neural sheaf diffusion: nodes move towards what their neighbours' restriction maps ask of them.

    F_e = Phi(x_own, x_other)                          a map for each end of each edge, from the present features
    x <- x - step * act( L_hat (W1 x W2 + b) )         L_hat the normalised sheaf Laplacian of these maps

Bodnar, Di Giovanni, Chamberlain, Liò, Bronstein, 2022, "Neural sheaf diffusion", arXiv:2202.04579; with stalks of
dimension 1 the layer of Purificato et al., 2023, arXiv:2304.09097.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pathline.graph.segment import Segments
from pathline.graph.sheaf import SheafLaplacian, map_parameters, restriction_maps

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "elu": torch.nn.functional.elu,
    "tanh": torch.tanh,
}


class MapLearner(nn.Module):
    """tanh(W [x_own ; x_other] + b) as a map of each end of each edge: (E, s) or (E, s, s).

    The order own, other matters: a symmetric Phi gives both ends of an edge one map, and there is no sheaf. `start` is
    b at first, of the diagonal: the maps begin near tanh(start); 0 has no b at all, as in the paper.
    Orthogonal maps are not squashed: their numbers fill a skew matrix.
    """

    def __init__(self, width: int, stalk: int, family: str, start: float) -> None:
        super().__init__()
        self.stalk, self.family = stalk, family
        count = map_parameters(family, stalk)
        self.own = nn.Linear(width, count, bias=start != 0)
        self.other = nn.Linear(width, count, bias=False)
        for layer in (self.own, self.other):  # as one layer of twice the width
            nn.init.uniform_(layer.weight, -((2 * width) ** -0.5), (2 * width) ** -0.5)
        if start:
            diagonal = torch.eye(stalk).flatten() if family == "general" else torch.ones(count)
            with torch.no_grad():
                self.own.bias.copy_(start * diagonal if family != "orthogonal" else 0 * diagonal)

    def forward(self, x: Tensor, ends: tuple[Segments, Segments]) -> Tensor:
        """x: (nodes, width); ends: the own and the other end of every edge."""
        raw = ends[0].gather(self.own(x)) + ends[1].gather(self.other(x))
        return restriction_maps(raw if self.family == "orthogonal" else raw.tanh(), self.family, self.stalk)


class SheafDiffusion(nn.Module):
    """One layer for x (nodes, width), whose width is stalk * features.

    learned: False sets every map to the identity, which leaves the graph Laplacian
    ridge:   added to the diagonal before it is normalised; 1 in the paper
    identity: W2 begins at the identity and b at 0, instead of at random: while maps are 1, the layer then averages
    """

    def __init__(
        self,
        width: int,
        stalk: int = 1,
        family: str = "diagonal",
        step: float = 1.0,
        activation: str = "identity",
        start: float = 0.0,
        ridge: float = 1.0,
        learned: bool = True,
        identity: bool = False,
    ) -> None:
        super().__init__()
        if width % stalk:
            raise ValueError(f"a width of {width} is no multiple of stalks of {stalk}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"there is no activation '{activation}'; choose {', '.join(ACTIVATIONS)}")
        self.stalk, self.step, self.ridge = stalk, step, ridge
        self.activation = ACTIVATIONS[activation]
        self.learner = MapLearner(width, stalk, family, start) if learned else None
        self.mix = nn.Linear(stalk, stalk, bias=False) if stalk > 1 else None
        if self.mix is not None:
            nn.init.eye_(self.mix.weight)
        self.linear = nn.Linear(width // stalk, width // stalk)
        if identity:
            nn.init.eye_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.family = family

    def maps(self, x: Tensor, laplacian: SheafLaplacian, ends: tuple[Segments, Segments]) -> Tensor:
        """The restriction maps for features x."""
        if self.learner is not None:
            found: Tensor = self.learner(x, ends)
            return found
        count = laplacian.edges.shape[1]
        if self.family == "diagonal":
            return x.new_ones(count, self.stalk)
        return torch.eye(self.stalk, dtype=x.dtype, device=x.device).expand(count, -1, -1)

    def forward(self, x: Tensor, laplacian: SheafLaplacian, ends: tuple[Segments, Segments]) -> Tensor:
        maps = self.maps(x, laplacian, ends)
        y = x.view(len(x), self.stalk, -1)
        if self.mix is not None:
            y = self.mix(y.transpose(1, 2)).transpose(1, 2)
        y = laplacian.apply(maps, self.linear(y), normalised=True, ridge=self.ridge)
        return x - self.step * self.activation(y).reshape(x.shape)
