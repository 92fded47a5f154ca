"""Which network carries samples of a given shape.

vectors, and images up to 8 x 8     ResidualMLP, 4 blocks of 256
larger images                       UNet, 32 channels at the finest of three levels
on request                          DiT, patches of 2, 4 blocks of 128
"""

from collections.abc import Sequence

from torch import nn

from pathline.core.errors import MethodError
from pathline.nn import DiT, ResidualMLP, UNet

SMALL = 8  # up to this height and width an MLP sees an image as a vector
WIDTHS = {"mlp": 256, "unet": 32, "dit": 128}


def velocity_network(
    shape: Sequence[int],
    network: str = "auto",
    width: int | None = None,
    depth: int = 4,
    classes: int = 0,
    interval: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """A network net(x, t, r, label) for samples of `shape`.

    network:  "auto", "mlp", "unet" or "dit"; the last two need images (channels, height, width)
    width:    of the hidden layers, the finest level or the tokens; None for the defaults above
    depth:    blocks of an MLP or a DiT; a U-Net has three levels whatever it says
    classes:  0 for a network without labels
    interval: whether it is told the end r of an interval [t, r]
    dropout:  share of hidden values set to 0 in training, of an MLP
    """
    image = len(shape) == 3
    if network == "auto":
        network = "unet" if image and max(shape[1:]) > SMALL else "mlp"
    if network not in WIDTHS:
        raise MethodError(f"network is '{network}'; choose auto, {', '.join(WIDTHS)}")
    if network != "mlp" and not image:
        raise MethodError(
            f"a {network} needs images (channels, height, width), but one sample is {tuple(shape)}; use network=mlp"
        )
    width, labels = width or WIDTHS[network], classes or None
    try:
        if network == "mlp":
            return ResidualMLP(shape, width, depth, num_classes=labels, interval=interval, dropout=dropout)
        if network == "unet":
            return UNet(shape[0], width, num_classes=labels, interval=interval)
        return DiT(shape, width=width, depth=depth, num_classes=labels, interval=interval)
    except ValueError as error:
        raise MethodError(f"network={network}: {error}") from None
