"""SignNet: a network of eigenvectors that cannot tell v from -v.

    encoding_i = rho( [ phi(v_1i, l_1) + phi(-v_1i, l_1), .., phi(v_ki, l_k) + phi(-v_ki, l_k) ] )

Lim, Robinson, Zhao, Smidt, Sra, Maron, Jegelka, 2022, "Sign and Basis Invariant Networks for Spectral Graph
Representation Learning", arXiv:2202.13013. phi here is an MLP of a node's entry and its eigenvalue, shared by all
eigenvectors; theirs is a graph network. Flipping signs changes no bit of the result: the two terms are only swapped.
"""

import torch
from torch import Tensor, nn

from pathline.nn.mlp import MLP


class SignNet(nn.Module):
    """k eigenvectors -> width numbers per node, invariant to the sign of every eigenvector.

    k: number of eigenvectors;  width: of the encoding;  hidden: of phi and rho
    """

    def __init__(self, k: int, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.phi = MLP([2, hidden, hidden], nn.ReLU)
        self.rho = MLP([k * hidden, hidden, width], nn.ReLU)

    def forward(self, vectors: Tensor, values: Tensor) -> Tensor:
        """vectors, values: (nodes, k), entries and eigenvalues, both 0 where a graph has fewer -> (nodes, width)."""
        both = self.phi(torch.stack([vectors, values], -1)) + self.phi(torch.stack([-vectors, values], -1))
        known = ((vectors != 0) | (values != 0)).to(both.dtype)[..., None]
        encoding: Tensor = self.rho((both * known).flatten(1))
        return encoding
