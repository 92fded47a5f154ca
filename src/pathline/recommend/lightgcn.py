"""LightGCN: factors are averages over the neighbourhood in the graph of who liked what, with nothing else to learn.

    E^(l+1) = A E^(l)        x = mean of E^(0) .. E^(L)        A = D^-1/2 (users + items graph) D^-1/2

A is symmetric, so the gradient of the polynomial is the same polynomial of the gradient: L products forwards, L
backwards, and no stored layers. He, Deng, Wang, Li, Zhang, Wang, 2020, "LightGCN: simplifying and powering graph
convolution network for recommendation", arXiv:2002.02126.
"""

from torch import Tensor

from pathline.core.errors import MethodError
from pathline.graph import polynomial
from pathline.recommend.pairwise import Pairwise, Triples


class LightGCN(Pairwise):
    """layers: hops L. Other settings as in `Pairwise`.

    `edges_touched` counts the entries of A that training read in forward passes: layers * all of them, every step.
    """

    def __init__(
        self,
        users: int,
        items: int,
        interactions: int,
        names: int,
        width: int = 64,
        layers: int = 3,
        l2: float = 1e-3,
        negatives: str = "uniform",
        edges: str = "liked",
    ) -> None:
        super().__init__(users, items, interactions, names, width, l2, negatives, edges)
        if layers < 0:
            raise MethodError(f"LightGCN: layers is {layers}; give at least 0, which is matrix factorisation")
        self.layers = layers
        self.edges_touched = 0

    def factors(self) -> Tensor:
        return polynomial(self.adjacency, self.embedding, [1 / (self.layers + 1)] * (self.layers + 1))

    def loss(self, batch: Triples) -> dict[str, Tensor]:
        self.edges_touched += self.layers * len(self.adjacency)
        return super().loss(batch)
