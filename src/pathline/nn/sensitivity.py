"""Who hears whom in a network on a graph: how strongly each node's features react to each node's input.

    S(i, j) = || d h_i / d x_j ||_1      summed over the features of h_i and the steps and features of x_j
A message-passing network of l layers obeys |d h_i / d x_j| <= (c w)^l (A^l)_ij (Topping et al., 2022,
arXiv:2111.14522; Di Giovanni et al., 2023, arXiv:2302.02941): where powers of A are small, distant nodes are squashed
out of each other's sight. Averaged over pairs of equal distance, S shows how far a trained network really sees.
"""

import torch
from torch import Tensor

CHUNK = 256  # gradients taken at once


def sensitivity(output: Tensor, inputs: Tensor, node_axis: int = -2) -> Tensor:
    """S (nodes of output, nodes of inputs) by exact gradients.

    output: (nodes, width), computed from `inputs`, which require gradients and have their nodes on `node_axis`
    """
    nodes, width = output.shape
    rows = torch.eye(nodes * width, dtype=output.dtype, device=output.device)
    parts = []
    for block in rows.view(-1, nodes, width).split(CHUNK):
        (gradient,) = torch.autograd.grad(
            output, inputs, block, is_grads_batched=True, retain_graph=True, allow_unused=True
        )
        if gradient is None:
            gradient = inputs.new_zeros(len(block), *inputs.shape)
        moved = gradient.movedim(node_axis % inputs.dim() + 1, 1)
        parts.append(moved.abs().flatten(2).sum(2))
    return torch.cat(parts).view(nodes, width, -1).sum(1)


def by_distance(values: Tensor, distance: Tensor) -> Tensor:
    """Mean of `values` (n, m) over the pairs at each whole `distance` 0, 1, ... (n, m); inf counts for none."""
    known = distance.isfinite()
    place = distance[known].long()
    total = torch.zeros(int(place.max()) + 1, dtype=values.dtype).index_add_(0, place, values[known])
    return total / torch.bincount(place, minlength=len(total)).clamp(min=1)


def squashing_bound(adjacency: Tensor, layers: int, gain: float) -> Tensor:
    """(gain^l) A^l for l = `layers`: the bound of the module, gain = Lipschitz constant of the activation times the
    largest row sum |w| of a layer's weights."""
    return gain**layers * torch.linalg.matrix_power(adjacency, layers)
