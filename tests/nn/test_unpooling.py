"""Decoders that put maxima back, and decoders that do not know of each other."""

import pytest
import torch

from pathline.nn.unpooling import Autoencoder, UnpoolingUNet


def unet(separate: bool = True, layers: int = 2) -> UnpoolingUNet:
    torch.manual_seed(0)
    return UnpoolingUNet(3, 3, [4, 6, 8], 3, layers, separate)


@pytest.mark.parametrize("grid", [(40, 96), (17, 23), (8, 8)])
@pytest.mark.parametrize("separate", [True, False])
def test_fields_come_out_on_the_grid_they_went_in_on(grid, separate):
    x = torch.randn(2, 3, *grid)
    assert unet(separate)(x).shape == x.shape
    assert Autoencoder(3, 2, [4, 6], 5, separate)(x).shape == (2, 2, *grid)


@pytest.mark.parametrize("build", [unet, lambda: Autoencoder(3, 3, [4, 6], 5, separate=True)])
def test_separate_decoders_are_independent(build):
    network = build()
    out = network(torch.randn(2, 3, 16, 24))
    for place in range(3):
        network.zero_grad()
        out[:, place].square().sum().backward(retain_graph=True)
        for other, decoder in enumerate(network.decoders):
            gradient = sum(float(p.grad.abs().sum()) for p in decoder.parameters() if p.grad is not None)
            assert gradient > 0 if other == place else gradient == 0, (place, other)


def test_a_single_decoder_mixes_the_outputs():
    network = unet(separate=False)
    network(torch.randn(2, 3, 16, 24))[:, 0].square().sum().backward()
    assert len(network.decoders) == 1 and all(p.grad is not None for p in network.decoders[0].parameters())


def test_the_way_up_puts_maxima_where_they_stood():
    """Blocks that pass on the unpooled half: what comes out is zero but where the maximum of each square was."""
    network = UnpoolingUNet(1, 1, [1], 1, 1, False)
    with torch.no_grad():
        network.down[0][0].weight.fill_(1.0)
        network.down[0][0].bias.zero_()
        last = network.decoders[0][0][0]
        last.weight.copy_(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))  # of the skip, of the unpooled
        last.bias.zero_()
    x = torch.tensor([[1.0, 5.0, 2.0, 0.5], [3.0, 4.0, 7.0, 6.0]]).view(1, 1, 2, 4)
    expected = torch.tensor([[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]]).view(1, 1, 2, 4)
    assert torch.equal(network(x), expected)


def test_skips_carry_what_pooling_loses():
    """With the unpooled half cut off everywhere, a U-Net still sees the fine structure through its skip."""
    network = unet()
    with torch.no_grad():
        for decoder in network.decoders:
            for block, width in zip(decoder, (8, 6, 4), strict=True):
                block[0].weight[:, width:] = 0
    x = torch.randn(1, 3, 16, 24)
    shifted = x.clone()
    shifted[0, 0, 3, 5] += 1
    assert (network(x) - network(shifted)).abs().max() > 1e-4


def test_the_sizes_are_those_of_the_published_network():
    """Three layers of 5 x 5 with 8, 16, 32, 32 filters: weights counted by hand."""
    filters, layers = [8, 16, 32, 32], 3
    network = UnpoolingUNet(3, 3, filters, 5, layers, True)
    encoder = sum(
        25 * (i * o + (layers - 1) * o * o) + layers * o for i, o in zip([3, *filters], filters, strict=False)
    )
    after = [1, *filters[:-1]]
    decoder = sum(
        25 * (2 * w * w + (layers - 2) * w * w + w * a) + (layers - 1) * w + a
        for w, a in zip(filters, after, strict=True)
    )
    assert sum(p.numel() for p in network.parameters()) == encoder + 3 * decoder
