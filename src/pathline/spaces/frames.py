"""Frame averaging: any network becomes exactly invariant or equivariant by averaging over a few group elements.

    <phi>(x) = mean over g in F(x) of phi(g^-1 x)             invariant
    <Phi>(x) = mean over g in F(x) of g Phi(g^-1 x)           equivariant
A frame F gives each x a finite non-empty set of group elements with F(g x) = g F(x). Averaging over it is enough,
however large the group is: g x has the elements g h where x has h, and (g h)^-1 g x = h^-1 x is the same input again.
If the network is universal on compact sets, so is its average among all maps with the symmetry.
Puny, Atzmon, Ben-Hamu, Smith, Grover, Lipman, 2022, "Frame Averaging for Invariant and Equivariant Network Design",
arXiv:2110.03336.

    symmetric = symmetrize(net, OrthogonalFrame(3))            # net: (batch, points, 3) -> (batch, points, 3)
    symmetric = symmetrize(net, OrthogonalFrame(3), inputs=("point", "vector", "scalar"), output="invariant")

`spaces/permutation_frames.py` has the frames of graphs. Networks with dropout are symmetric in expectation only,
because each copy drops other units.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pathline.graph import knn_graph

GAP = 1e-4  # two eigenvalues that are closer than this share of the largest leave the frame undefined
_EMPTY = 1e-12  # an axis along which the data have less than this share of their extent is not seen by a network


class Frame(ABC):
    """Group elements of the data, and how they act on each kind of tensor.

    Tensors have shape (*lead, ...); copies under the elements of the frame have shape (copies, *lead, ...).
    """

    @abstractmethod
    def elements(self, *inputs: Tensor, kinds: Sequence[str], mask: Tensor | None = None) -> Any:
        """F(x) of the inputs, whose kinds are named."""

    @abstractmethod
    def act(self, elements: Any, x: Tensor, kind: str) -> Tensor:
        """g x for each element: (copies, *lead, ...) to the same shape."""

    @abstractmethod
    def act_inverse(self, elements: Any, x: Tensor, kind: str) -> Tensor:
        """g^-1 x for each element: (*lead, ...) to (copies, *lead, ...)."""

    @abstractmethod
    def lead(self, x: Tensor, kind: str) -> int:
        """How many leading dimensions a tensor of this kind has before those that the group acts on."""


class Turns(NamedTuple):
    """Elements of `OrthogonalFrame`.

    turn:   (copies, *lead, dims, dims), columns are the axes of the frame
    centre: (*lead, 1, dims)
    gap:    (*lead,) the smallest difference of two eigenvalues as a share of the largest; 0 means an undefined frame
    seen:   (*lead, 1, dims) 0 for axes that no datum has a component along while there are several of them, else 1
    """

    turn: Tensor
    centre: Tensor
    gap: Tensor
    seen: Tensor


class OrthogonalFrame(Frame):
    """Principal axes of a cloud of points, with all signs: E(d), SE(d), O(d) or SO(d), for any number of points.

        t = mean of the points,  C = (X - t)^T (X - t) = U diag(lambda_1 <= .. <= lambda_d) U^T,  g = (U diag(s), t)
    reflections: all 2^d signs s, for O(d) and E(d); otherwise the 2^(d-1) with determinant 1, for SO(d) and SE(d)
    shifts:      centre the points; otherwise t = 0
    jitter:      noise on undefined frames (see below) as a share of the cloud's extent; not exact any more

    Kinds: "point" (centred and turned), "vector" (turned only), "scalar" (left as it is); (*lead, points, dims) each
    but scalars, whose last two dimensions are free. The first input holds the points.

    Equal eigenvalues leave axes undefined. Where that is so (`gap` < 1e-4) the vectors join the covariance. Axes that
    the data have no component along at all (a line in space, one body) may turn freely without a network's noticing;
    components of its answer along them are set to 0, as symmetry demands. What is left are symmetric clouds (a cube
    without vectors): they are equivariant only up to the choice among their axes, which `gap` tells. Frames jump where
    two eigenvalues cross, so answers are equivariant but not continuous there.
    """

    def __init__(self, dims: int, reflections: bool = True, shifts: bool = True, jitter: float = 0.0) -> None:
        if dims < 1:
            raise ValueError(f"space has at least 1 dimension, got {dims}")
        self.dims, self.reflections, self.shifts, self.jitter = dims, reflections, shifts, jitter
        free = dims if reflections else dims - 1
        signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * free) if free else torch.ones(1, 0)
        self.signs = signs.reshape(len(signs), free).double()

    @property
    def copies(self) -> int:
        return len(self.signs)

    @torch.no_grad()
    def elements(self, *inputs: Tensor, kinds: Sequence[str] = ("point",), mask: Tensor | None = None) -> Turns:
        """mask: (*lead, points) bool, False for padding, which counts neither in t nor in C."""
        points = inputs[0].detach().cpu().double()
        if points.shape[-1] != self.dims:
            raise ValueError(f"points have {points.shape[-1]} coordinates, but the frame has {self.dims} dimensions")
        weight = torch.ones_like(points[..., :1]) if mask is None else mask.cpu().double()[..., None]
        centre = (points * weight).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True).clamp(min=1)
        centre = centre if self.shifts else torch.zeros_like(centre)
        apart = (points - centre) * weight
        values, axes = torch.linalg.eigh(apart.mT @ apart)
        gap = self._gap(values)
        vectors = [x.detach().cpu().double() for x, kind in zip(inputs, kinds, strict=False) if kind == "vector"]
        weak = gap < GAP
        if bool(weak.any()):
            extra = [vector * weight for vector in vectors]
            if self.jitter:
                noise = torch.randn(apart.shape, generator=torch.Generator().manual_seed(0), dtype=apart.dtype)
                extra.append(self.jitter * apart.norm(dim=(-2, -1), keepdim=True) * noise * weight)
            for more in extra:
                apart = torch.cat([apart, more * weak[..., None, None]], -2)
            values, axes = torch.linalg.eigh(apart.mT @ apart)
            gap = self._gap(values)
        empty = values <= _EMPTY * values[..., -1:]
        hidden = empty & (empty.sum(-1, keepdim=True) > 1)
        signs = self.signs.view(self.copies, *[1] * (axes.ndim - 2), -1)
        if not self.reflections:
            last = torch.linalg.det(axes).sign()[..., None] * signs.prod(-1, keepdim=True)
            signs = torch.cat([signs.expand(*last.shape[:-1], -1), last], -1)
        turn = axes * signs[..., None, :]
        seen = (~hidden[..., None, :]).double()
        return Turns(*(part.to(inputs[0]) for part in (turn, centre, gap, seen)))

    def _gap(self, values: Tensor) -> Tensor:
        if self.dims == 1:
            return torch.ones_like(values[..., 0])
        largest = values[..., -1].clamp(min=torch.finfo(values.dtype).tiny)
        return values.diff(dim=-1).amin(-1) / largest

    def act(self, elements: Turns, x: Tensor, kind: str) -> Tensor:
        if kind == "scalar":
            return x
        turned = (x * elements.seen) @ elements.turn.mT
        return turned + elements.centre if kind == "point" else turned

    def act_inverse(self, elements: Turns, x: Tensor, kind: str) -> Tensor:
        if kind == "scalar":
            return x.expand(self.copies, *x.shape)
        return (x - elements.centre if kind == "point" else x) @ elements.turn

    def lead(self, x: Tensor, kind: str) -> int:
        return x.ndim - 2


class WholeGroup(Frame):
    """The largest frame: a finite group itself, given as permutations of the entries along the last dimension.

    permutations: (group, n) int64, closed under composition: (g x)[permutation[i]] = x[i].
    Kinds: "sequence", (*lead, n), and "scalar".
    """

    def __init__(self, permutations: Tensor) -> None:
        self.permutations, self.inverses = permutations, permutations.argsort(1)

    def elements(self, *inputs: Tensor, kinds: Sequence[str] = (), mask: Tensor | None = None) -> Tensor:
        return self.permutations

    def act(self, elements: Tensor, x: Tensor, kind: str) -> Tensor:
        if kind == "scalar":
            return x
        index = self.inverses.view(len(x), *[1] * (x.ndim - 2), -1)
        return x.gather(-1, index.expand_as(x))

    def act_inverse(self, elements: Tensor, x: Tensor, kind: str) -> Tensor:
        return x.expand(len(elements), *x.shape) if kind == "scalar" else x[..., elements].movedim(-2, 0)

    def lead(self, x: Tensor, kind: str) -> int:
        return x.ndim - 1


class Symmetrized(nn.Module):
    """The average of a network over a frame; see `symmetrize`."""

    def __init__(
        self,
        net: Callable[..., Any],
        frame: Frame,
        inputs: Sequence[str],
        output: str | Sequence[str],
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        self.net, self.frame, self.inputs, self.output, self.chunk = net, frame, tuple(inputs), output, chunk

    def forward(self, *inputs: Tensor, mask: Tensor | None = None, **others: Any) -> Any:
        """Inputs of the kinds announced, all with the same leading dimensions. A mask goes to the frame and to the
        network, other keywords to the network as they are."""
        if len(inputs) != len(self.inputs):
            raise ValueError(f"{len(inputs)} inputs were given, but {len(self.inputs)} kinds are known: {self.inputs}")
        elements = self.frame.elements(*inputs, kinds=self.inputs, mask=mask)
        count = self.frame.lead(inputs[0], self.inputs[0])
        framed = [self.frame.act_inverse(elements, x, kind) for x, kind in zip(inputs, self.inputs, strict=True)]
        copies, lead = len(framed[0]), framed[0].shape[1 : 1 + count]
        if mask is not None:
            framed.append(mask.expand(copies, *mask.shape))
        stacked = [x.flatten(0, count) for x in framed]
        rows = len(stacked[0]) // copies * (self.chunk or copies)
        answers = []
        for part in zip(*(x.split(rows) for x in stacked), strict=True):
            given = others if mask is None else {**others, "mask": part[-1]}
            answers.append(self.net(*part[: len(inputs)], **given))
        kinds = (self.output,) if isinstance(self.output, str) else self.output
        pieces = zip(*(answer if isinstance(answer, tuple) else (answer,) for answer in answers), strict=True)
        averages = []
        for kind, piece in zip(kinds, pieces, strict=True):
            y = torch.cat(piece).unflatten(0, (copies, *lead))
            averages.append((y if kind == "invariant" else self.frame.act(elements, y, kind)).mean(0))
        return averages[0] if isinstance(self.output, str) else tuple(averages)


def symmetrize(
    net: Callable[..., Any],
    frame: Frame,
    inputs: Sequence[str] = ("point",),
    output: str | Sequence[str] = "point",
    chunk: int | None = None,
) -> Symmetrized:
    """`net` made exactly symmetric under the group of `frame`, by averaging over its elements.

    net:    a function or module of as many tensors as `inputs` has kinds, each (batch, ...): the copies are stacked in
            the batch. It returns a tensor (batch, ...) or a tuple of them
    inputs: the kind of each input, as the frame knows them: "point", "vector", "scalar" for `OrthogonalFrame`
    output: the kind of the answer (of each one, for a tuple), or "invariant"
    chunk:  copies computed at once, to bound memory; all by default

    The result takes inputs with any leading dimensions, also none.
    """
    return Symmetrized(net, frame, inputs if not isinstance(inputs, str) else (inputs,), output, chunk)


def neighbourhoods(points: Tensor, k: int) -> Tensor:
    """Each point and its k nearest others, (points, k + 1, dims) from (points, dims), the point itself first.

    Local frames are frames of these: `symmetrize(net, frame, output="vector")(neighbourhoods(points, k))` gives a
    vector per neighbourhood that turns with it, such as a normal. Raises ValueError for k of all points or more.
    """
    if not 1 <= k < len(points):
        raise ValueError(f"{len(points)} points have between 1 and {len(points) - 1} neighbours each, not {k}")
    near = knn_graph(points, k)[0].view(len(points), k)
    return points[torch.cat([torch.arange(len(points), device=points.device)[:, None], near], 1)]


def least_axis(points: Tensor) -> Tensor:
    """The axis along which each cloud is thinnest, (*lead, dims) from (*lead, points, dims), up to its sign: the normal
    of a surface, by the frame alone."""
    frame = OrthogonalFrame(points.shape[-1])
    return frame.elements(points).turn[0, ..., 0]
