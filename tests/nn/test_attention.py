import pytest
import torch
from torch import nn

from pathline.nn import MLP, MultiHeadAttention, set_math_attention


@pytest.mark.parametrize("masked", [False, True])
def test_math_attention_equals_the_fused_kernel(masked: bool) -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(8, heads=2, context_width=6)
    x, context = torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    mask = torch.rand(3, 1, 4, 5) < 0.6 if masked else None
    if mask is not None:
        mask[..., 0] = True
    fused = layer(x, context, mask)
    set_math_attention(layer)
    torch.testing.assert_close(layer(x, context, mask), fused)


def test_masked_keys_have_no_influence() -> None:
    torch.manual_seed(0)
    layer = MultiHeadAttention(8)
    x = torch.randn(1, 4, 8)
    changed = x.clone()
    changed[:, 3] += 1
    allowed = torch.tensor([True, True, True, False])
    for enabled in (False, True):
        set_math_attention(layer, enabled)
        torch.testing.assert_close(layer(x, mask=allowed)[:, :3], layer(changed, mask=allowed)[:, :3])
        assert not torch.allclose(layer(x)[:, :3], layer(changed)[:, :3])


def test_the_switch_reaches_every_layer_of_a_tree_and_goes_back() -> None:
    tree = nn.Sequential(MultiHeadAttention(4), nn.ModuleDict({"deep": MultiHeadAttention(4)}))
    layers = [layer for layer in tree.modules() if isinstance(layer, MultiHeadAttention)]
    set_math_attention(tree)
    assert [layer.use_math_attention for layer in layers] == [True, True]
    set_math_attention(tree, False)
    assert [layer.use_math_attention for layer in layers] == [False, False]


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="not divisible by 3 heads"):
        MultiHeadAttention(8, heads=3)


def test_a_plain_mlp_activates_between_its_layers_only() -> None:
    net = MLP((3, 8, 2), activation=nn.ReLU)
    assert [type(layer) for layer in net] == [nn.Linear, nn.ReLU, nn.Linear]
    assert (MLP((3, 2), activation=nn.ReLU, final_activation=True)(torch.randn(50, 3)) >= 0).all()
    with pytest.raises(ValueError, match="input and an output"):
        MLP((3,))
