"""Cost that does not depend on the machine: multiply-accumulates of one forward pass, counted exactly.

What is counted are the tensor operations as they run, whatever modules they come from: matrix products (linear layers,
recurrent cells, graph filters, einsum), convolutions, attention (both of its products, unmasked), and sparse matrix
products, which cost one multiply-accumulate per stored entry and column. Elementwise work is not counted. A training
step costs about three times its forward pass.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def _product(left: Tensor, right: Tensor, *_: Any) -> int:
    """left @ right, (..., m, k) by (..., k, n); a sparse `left` works on its stored entries only."""
    entries = left.numel() if left.layout == torch.strided else left._nnz()
    return entries * right.shape[-1]


def _sum_and_product(_: Tensor, left: Tensor, right: Tensor, *__: Any) -> int:
    """input + left @ right."""
    return _product(left, right)


def _convolution(
    x: Tensor, weight: Tensor, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool,
    _output_padding: Any, _groups: int, *_: Any, out: Tensor,
) -> int:  # fmt: skip
    """Each output entry (transposed: each input entry) meets one filter: weight.numel() / its first size."""
    return (x if transposed else out).numel() * (weight.numel() // weight.shape[0])


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    """query (..., L, d), key (..., S, d), value (..., S, e): L S d for the scores and L S e for the mean."""
    return query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _recurrent(x: Tensor, from_input: Tensor, from_state: Tensor, *_: Any) -> int:
    """One layer of the fused LSTM kernel; x: (time, batch, features)."""
    return x.shape[:2].numel() * (from_input.numel() + from_state.numel())


_COUNTS: Mapping[Any, Callable[..., int]] = {
    aten.mm: _product,
    aten.bmm: _product,
    aten._sparse_addmm: _sum_and_product,
    aten.addmm: _sum_and_product,
    aten.baddbmm: _sum_and_product,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten.mkldnn_rnn_layer: _recurrent,
}


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        operation = func._overloadpacket
        if operation is aten.convolution:
            self.total += _convolution(*args, out=out)
        elif operation in _COUNTS:
            self.total += _COUNTS[operation](*args)
        return out


def macs(function: Callable[..., Any], *inputs: Any) -> int:
    """Multiply-accumulates of `function(*inputs)`; a module runs in eval mode and is left as it was."""
    modules = [m for m in function.modules() if m.training] if isinstance(function, nn.Module) else []
    for module in modules:
        module.training = False
    try:
        with torch.no_grad(), _Counter() as counter:
            function(*inputs)
    finally:
        for module in modules:
            module.training = True
    return counter.total
