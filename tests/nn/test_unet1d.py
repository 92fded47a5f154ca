"""The U-Net for signals in time."""

from itertools import pairwise

import pytest
import torch

from pathline.nn import UNet1d
from pathline.nn.unet1d import even_padding

DRAW = torch.Generator().manual_seed(0)


def settled(**options) -> UNet1d:
    """A network whose batch normalisations have seen data, in eval mode."""
    torch.manual_seed(0)
    net = UNet1d(3, 3, **options)
    for _ in range(3):
        net(torch.randn(8, 3, 1024, generator=DRAW))
    return net.eval()


def test_it_has_the_parameters_of_the_paper_s_plan():
    def layer(inputs: int, outputs: int, kernel: int = 7) -> int:
        return inputs * outputs * kernel + 2 * outputs  # and the two numbers of its normalisation

    widths = [8, 16, 32, 64, 128]
    expected = layer(3, 8) + layer(8, 8) + sum(layer(a, b) for a, b in pairwise(widths))
    expected += sum(layer(w, w) for w in widths[:-1]) + sum(2 * layer(2 * w, w) for w in widths[:-1]) + 8 * 3 + 3
    assert sum(p.numel() for p in UNet1d(3, 3).parameters()) == expected == 268_435


@pytest.mark.parametrize("samples", [3000, 2999, 3001, 1024, 77, 1])
def test_output_is_as_long_as_input(samples):
    net = settled()
    assert net(torch.randn(2, 3, samples)).shape == (2, 3, samples)


def test_levels_have_the_paper_s_lengths():
    net, lengths = settled(), []
    for shrink in net.shrink:
        shrink.register_forward_hook(lambda *seen: lengths.append(seen[2].shape[-1]))
    net(torch.randn(1, 3, 3000))
    assert lengths == [750, 188, 47, 12]


def test_a_shift_by_a_multiple_of_all_strides_shifts_the_interior():
    net = settled()
    long = torch.randn(1, 3, 6000 + 256, generator=DRAW)
    with torch.no_grad():
        here, there = net(long[..., :6000]), net(long[..., 256:])
    inner = slice(2048, 4000)  # further from both ends than the network sees
    moved = slice(2048 - 256, 4000 - 256)
    difference = (here[..., inner] - there[..., moved]).abs().max()
    assert difference < 1e-3 < here.std()
    wrong = (here[..., inner] - there[..., 2048 - 250 : 4000 - 250]).abs().max()
    assert wrong > 0.1  # the test can fail


def test_padding_is_even_and_gives_the_length_rounded_up():
    for samples in range(1, 40):
        before, behind = even_padding(samples, 7, 4)
        assert (samples + before + behind - 7) // 4 + 1 == -(-samples // 4)
        assert behind - before in (0, 1) and samples + before + behind - 1 < 4 * -(-samples // 4) + 6


def test_folding_the_normalisations_in_changes_no_number():
    net = settled()
    for samples in (3000, 1001):
        x = torch.randn(2, 3, samples, generator=DRAW)
        with torch.no_grad():
            torch.testing.assert_close(net.folded()(x), net(x), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in net.folded().modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in net.modules())


def test_no_convolution_before_a_normalisation_has_a_bias_and_gaps_are_refused():
    names = [name for name, _ in UNet1d(3, 3).named_parameters() if name.endswith("bias")]
    assert all(".norm." in name or name == "leave.bias" for name in names) and "leave.bias" in names
    with pytest.raises(ValueError, match="kernel >= stride"):
        UNet1d(3, 3, kernel=3, stride=4)
