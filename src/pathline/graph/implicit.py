"""An implicit graph layer in a mini-batch: its fixed point and the gradient through it, one step at a time from memory.

    Z* = (1 - alpha) A Z* + alpha E        (A symmetric, |A| <= 1: personalised PageRank, infinitely many hops)
    G* = (1 - alpha) A G* + alpha dL/dZ    the gradient of L(Z*) with respect to E, by the implicit function theorem

Both are iterated over the training run instead of within a step: Z and G of all nodes are remembered, and a step moves
the rows of its targets only. Neighbours are sampled; a snapshot M of Z with its exact sums A M, taken now and then, is
a control variate: sum_S w (Z - M) + A M is unbiased for A Z, and exact where Z = M.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pathline.graph.sampling import NeighbourBlock
from pathline.graph.sparse import SparseMatrix


class ImplicitMemory(nn.Module):
    """What is remembered of every node; all (nodes, width).

    values: Z;  gradients: G;  snapshot: M;  aggregated: A M
    """

    values: Tensor
    gradients: Tensor
    snapshot: Tensor
    aggregated: Tensor

    def __init__(self, nodes: int, width: int) -> None:
        super().__init__()
        for name in ("values", "gradients", "snapshot", "aggregated"):
            self.register_buffer(name, torch.zeros(nodes, width))

    @torch.no_grad()
    def refresh(self, matrix: SparseMatrix) -> None:
        """Take the snapshot anew and sum it exactly: once over all entries of the matrix."""
        self.snapshot.copy_(self.values)
        self.aggregated.copy_(matrix @ self.snapshot)

    @torch.no_grad()
    def aggregate(self, block: NeighbourBlock) -> Tensor:
        """A Z at the targets, by sampled neighbours and the snapshot: (targets, width)."""
        return block.sum(self.values) - block.sum(self.snapshot) + self.aggregated[block.targets]

    def step(self, x: Tensor, block: NeighbourBlock, alpha: float, mix: float = 0.0) -> Tensor:
        """One iteration at the targets, for their rows x of E: Z there, which is also remembered.

        Backwards, one iteration for G from memory, or from (1 - mix) of it and `mix` of the incoming gradient, and from
        that alone while nothing is remembered of the targets; what comes out is the gradient of x and is remembered.
        """
        result: Tensor = _Step.apply(x, self, block, alpha, mix)
        return result


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, memory: ImplicitMemory, block: NeighbourBlock, alpha: float, mix: float) -> Tensor:
        ctx.memory, ctx.block, ctx.alpha, ctx.mix = memory, block, alpha, mix
        z = (1 - alpha) * memory.aggregate(block) + alpha * x
        memory.values[block.targets] = z.to(memory.values.dtype)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        memory, block, mix = ctx.memory, ctx.block, ctx.mix
        if not bool(memory.gradients[block.targets].any()):  # nothing is remembered yet
            mix = 1.0
        spread = (1 - mix) * block.sum(memory.gradients)
        if mix:
            spread = spread + mix * block.sum_at_targets(gradient)
        result = (1 - ctx.alpha) * spread + ctx.alpha * gradient
        memory.gradients[block.targets] = result
        return result, None, None, None, None


@torch.no_grad()
def personalised_pagerank(
    matrix: SparseMatrix, x: Tensor, alpha: float, steps: int, start: Tensor | None = None
) -> Tensor:
    """`steps` exact iterations of z = (1 - alpha) A z + alpha x, from x or from `start`."""
    z = x if start is None else start
    for _ in range(steps):
        z = torch.add(alpha * x, matrix @ z, alpha=1 - alpha)
    return z
