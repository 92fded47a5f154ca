"""Products of a sparse matrix with dense rows, several times as fast as torch.sparse, with own backward passes.

    y = A x          dL/dx = A^T dL/dy          dL/dA_rc = <dL/dy_r, x_c>  where A has an entry

Rows are summed by `embedding_bag` over entries that were sorted once, forwards and backwards; the gradient of learned
entries is a sampled product, which never builds what it does not need. The transpose is sorted once, when first used.
"""

import warnings
from typing import Any

import torch
from torch import Tensor


class SparseMatrix:
    """Entries of a (rows, columns) matrix, sorted by row and then column.

    row, column: (E,) int64;  value: (E,) float, ones if not given; entries at one place stay apart and are added
    symmetric:   the caller knows that the matrix equals its transpose, which is then not sorted again

    Attributes `row`, `column` and `value` are the sorted entries; `order` (E,) says which given entry each one was.
    """

    def __init__(
        self, row: Tensor, column: Tensor, value: Tensor | None, shape: tuple[int, int], symmetric: bool = False
    ) -> None:
        for index, size, what in ((row, shape[0], "row"), (column, shape[1], "column")):
            if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
                raise IndexError(f"{what}s run from {int(index.min())} to {int(index.max())}; there are {size}")
        self.shape, self.symmetric = shape, symmetric
        self.order = (row * max(1, shape[1]) + column).argsort(stable=True)
        self.row, self.column = row[self.order], column[self.order]
        self.value = torch.ones(len(row), device=row.device) if value is None else value[self.order]
        self.pointer = torch.zeros(shape[0] + 1, dtype=torch.int64, device=row.device)
        torch.cumsum(torch.bincount(self.row, minlength=shape[0]), 0, out=self.pointer[1:])
        self._indices = self.column.int(), self.pointer.int()
        self._transpose: SparseMatrix | None = self if symmetric else None
        self._places: Tensor | None = None
        self._patterns: dict[torch.dtype, Tensor] = {}

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.row)

    @property
    def T(self) -> "SparseMatrix":  # noqa: N802
        """The transpose; its `order` refers to this matrix's sorted entries."""
        if self._transpose is None:
            self._transpose = SparseMatrix(self.column, self.row, self.value, (self.shape[1], self.shape[0]))
            self._transpose._transpose = self
        return self._transpose

    @property
    def transposed(self) -> Tensor:
        """(E,) which sorted entry stands at each place of the transpose: for a symmetric pattern, the reverse edge."""
        if self._places is None:
            self._places = (self.column * max(1, self.shape[0]) + self.row).argsort(stable=True)
        return self._places

    def __matmul__(self, x: Tensor) -> Tensor:
        """A x for x (columns, width): (rows, width), differentiable in x."""
        product: Tensor = _Product.apply(x, self)
        return product

    def product(self, x: Tensor, value: Tensor) -> Tensor:
        """A x with the learned entries `value` (E,), in the order of the sorted ones; differentiable in both."""
        product: Tensor = _LearnedProduct.apply(x, value, self)
        return product

    def raw(self, x: Tensor, value: Tensor) -> Tensor:
        """The product itself, without a gradient."""
        if not len(self) or x.shape[1] == 0:
            return x.new_zeros(self.shape[0], x.shape[1])
        return torch.embedding_bag(x.contiguous(), *self._indices, False, 0, False, value.to(x.dtype), True)[0]

    def sampled(self, left: Tensor, right: Tensor) -> Tensor:
        """(E,) <left_r, right_c> for every entry (r, c): left (rows, width), right (columns, width)."""
        if not len(self):
            return left.new_zeros(0)
        if left.dtype not in self._patterns:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
                column, pointer = self._indices
                zeros = left.new_zeros(len(self))
                self._patterns[left.dtype] = torch.sparse_csr_tensor(pointer, column, zeros, self.shape)
        pattern = self._patterns[left.dtype]
        return torch.sparse.sampled_addmm(pattern, left.contiguous(), right.contiguous().T, beta=0.0).values()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.raw(x, matrix.value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Product.apply(gradient, ctx.matrix.T), None


class _LearnedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(x, value)
        return matrix.raw(x, value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        matrix: SparseMatrix = ctx.matrix
        x, value = ctx.saved_tensors
        along = matrix.T.raw(gradient, value.index_select(0, matrix.transposed)) if ctx.needs_input_grad[0] else None
        entries = matrix.sampled(gradient, x) if ctx.needs_input_grad[1] else None
        return along, entries, None


def polynomial(matrix: SparseMatrix, x: Tensor, coefficients: list[float]) -> Tensor:
    """sum_l coefficients[l] A^l x for a symmetric A; its gradient is the same polynomial of the gradient.

    Nothing but x's gradient is kept, however many powers there are.
    """
    if not matrix.symmetric:
        raise ValueError("a polynomial needs a symmetric matrix, for its backward pass is itself")
    result: Tensor = _Polynomial.apply(x, matrix, coefficients)
    return result


class _Polynomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: SparseMatrix, coefficients: list[float]) -> Tensor:
        ctx.matrix, ctx.coefficients = matrix, coefficients
        return _horner(matrix, x, coefficients)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _horner(ctx.matrix, gradient, ctx.coefficients), None, None


def _horner(matrix: SparseMatrix, x: Tensor, coefficients: list[float]) -> Tensor:
    total = coefficients[-1] * x
    for coefficient in reversed(coefficients[:-1]):
        total = torch.add(matrix.raw(total, matrix.value), x, alpha=coefficient)
    return total
