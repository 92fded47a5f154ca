"""What all velocity networks promise: net(x, t, r, label)."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp

from pathline.nn import DiT, ResidualMLP, UNet, set_math_attention

CLASSES = 3
Build = Callable[..., nn.Module]
CASES: dict[str, tuple[Build, tuple[int, ...]]] = {
    "mlp on vectors": (lambda **k: ResidualMLP(5, width=32, blocks=2, **k), (5,)),
    "mlp on images": (lambda **k: ResidualMLP((1, 4, 3), width=32, blocks=2, **k), (1, 4, 3)),
    "unet 8x8": (lambda **k: UNet(1, width=8, **k), (1, 8, 8)),
    "unet 28x28": (lambda **k: UNet(1, width=8, **k), (1, 28, 28)),
    "unet odd": (lambda **k: UNet(3, width=8, multipliers=(1, 2), blocks=2, **k), (3, 7, 9)),
    "dit": (lambda **k: DiT((2, 8, 4), width=16, depth=2, heads=2, **k), (2, 8, 4)),
}


def built(case: str, **options: object) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with no weight at zero, a batch and times."""
    torch.manual_seed(0)
    build, shape = CASES[case]
    net = build(**options).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net, torch.randn(4, *shape), torch.linspace(0.1, 0.6, 4)


@pytest.mark.parametrize("case", CASES)
def test_output_has_the_shape_of_the_input_and_every_condition_changes_it(case: str) -> None:
    net, x, t = built(case, num_classes=CLASSES, interval=True)
    label = torch.tensor([0, 1, 2, 0])
    plain = net(x, t, t + 0.3, label)
    assert plain.shape == x.shape and plain.isfinite().all()
    for other in (
        net(x, t + 0.1, t + 0.4, label),
        net(x, t, t + 0.2, label),
        net(x, t, t + 0.3, (label + 1) % 3),
        net(x + 0.1, t, t + 0.3, label),
    ):
        assert ((other - plain).flatten(1).norm(dim=1) > 1e-4).all()


@pytest.mark.parametrize("case", CASES)
def test_samples_of_a_batch_do_not_see_each_other(case: str) -> None:
    net, x, t = built(case, interval=True)
    torch.testing.assert_close(net(x, t, t + 0.1)[1:2], net(x[1:2], t[1:2], t[1:2] + 0.1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_out_means_the_null_class_and_an_empty_interval(case: str) -> None:
    net, x, t = built(case, num_classes=CLASSES, interval=True)
    null = torch.full((4,), CLASSES)
    assert torch.equal(net(x, t), net(x, t, t, null))
    assert not torch.equal(net(x, t), net(x, t, t, null - 1))


@pytest.mark.parametrize("case", CASES)
def test_forward_derivative_equals_a_finite_difference(case: str) -> None:
    net, x, t = built(case, num_classes=CLASSES, interval=True)
    set_math_attention(net.double())
    x, t, r, label = x.double(), t.double(), t.double() + 0.3, torch.tensor([0, 1, 2, 3])
    direction = torch.randn_like(x)
    with torch.no_grad():
        _, forward = jvp(
            lambda x, t, r: net(x, t, r, label),
            (x, t, r),
            (direction, torch.ones_like(t), torch.zeros_like(r)),
        )
        step = 1e-5
        ahead, behind = (net(x + s * direction, t + s, r, label) for s in (step, -step))
    difference = (ahead - behind) / (2 * step)
    assert difference.norm() > 1e-2
    assert (forward - difference).norm() < 1e-6 * difference.norm()


@pytest.mark.parametrize("case", CASES)
def test_conditions_a_network_was_not_built_for_are_refused(case: str) -> None:
    net, x, t = built(case)
    with pytest.raises(ValueError, match="interval=True"):
        net(x, t, t)
    with pytest.raises(ValueError, match="num_classes"):
        net(x, t, label=torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("case", ["mlp on images", "dit"])
def test_a_wrong_shape_is_named(case: str) -> None:
    net, _, t = built(case)
    with pytest.raises(ValueError, match=r"shape .* got \(1, 5, 5\)"):
        net(torch.randn(4, 1, 5, 5), t)


@pytest.mark.parametrize("case", CASES)
def test_networks_run_under_bfloat16_autocast(case: str) -> None:
    net, x, t = built(case)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(x, t)
    assert (low.float() - net(x, t)).norm() < 0.05 * net(x, t).norm()


def test_unet_gives_the_same_in_channels_last_layout() -> None:
    net, x, t = built("unet odd")
    expected = net(x, t)
    last = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last), t)
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def test_a_fresh_dit_is_zero_and_its_blocks_are_the_identity() -> None:
    torch.manual_seed(0)
    net = DiT((1, 8, 8), width=16, depth=2)
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2)
    assert torch.equal(net(x, t), torch.zeros_like(x))
    tokens = torch.randn(2, 16, 16)
    assert torch.equal(net.blocks[0](tokens, torch.randn(2, 16)), tokens)


def test_dit_refuses_patches_that_do_not_tile() -> None:
    with pytest.raises(ValueError, match="do not tile an image of 7 x 8"):
        DiT((1, 7, 8))


def test_the_desk_network_of_digits_has_0_6_million_parameters() -> None:
    assert 0.55e6 < sum(p.numel() for p in ResidualMLP(64).parameters()) < 0.7e6


def test_dropout_disturbs_training_alone() -> None:
    net, x, t = ResidualMLP(3, width=16, blocks=1, dropout=0.5), torch.randn(4, 3), torch.rand(4)
    assert not torch.equal(net.train()(x, t), net(x, t)) and torch.equal(net.eval()(x, t), net(x, t))
