"""A training step of flow matching on 32 x 32 images, beside torchcfm and its own U-Net.

Both steps are whole: draw noise and times, mix, run the network, propagate back, clip, AdamW, average the weights. The
peer's step is that of its own CIFAR-10 example, with the fused optimiser and the fused average that ours has, so that
the networks and the loop around them are what differs. Same channels, same number of residual blocks, attention in the
middle only on both sides; and once more with the peer's attention where its authors put it, at 16 x 16 pixels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.budget import steps
from pathline.core.precision import fast_precision
from pathline.core.train import train
from pathline.data import Samples
from pathline.generate.flow_matching import FlowMatching

WIDTH, BATCH, STEPS = 64, 16, 1
CLIP, DECAY = 1.0, 0.999


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """Ours as it is by default and in fp32, each against the peer, which knows fp32 only."""
    torch.manual_seed(0)
    images = Samples(name="images", values=torch.rand(512, 3, 32, 32), bounds=(0.0, 1.0))
    fast = bool(torch.cpu.get_capabilities().get("amx_bf16"))
    native = fast_precision(torch.device("cpu")) == "bf16-mixed"
    method = FlowMatching.for_data(images, width=WIDTH)
    where = conditions("torchcfm")
    lines = []
    for attention, words in (("1", "attention in the middle"), ("16", "the peer attends at 16 x 16 too")):
        peer = own_unet(attention)
        other = Side("torchcfm, its UNetModelWrapper", peer_steps(peer, images), parameters(peer), "fp32")
        for precision in ("auto", "fp32"):
            shown = "bf16" if precision == "auto" and native else "fp32"
            ours = Side("pathline, flow-matching", our_steps(method, images, precision), parameters(method), shown)
            work = f"training step, {BATCH} images 32 x 32, {WIDTH} channels; {words}"
            wanted = 3.0 if fast and precision == "auto" else 1.0
            outputs = "other networks, so outputs are not the same numbers; parameters, channels and batch are"
            lines.append(in_turn(ours, other, work, wanted, outputs, calls=STEPS))
    return where, lines


def our_steps(method: FlowMatching, images: Samples, precision: str) -> Callable[[], None]:
    """Steps of `pathline fit flow-matching`, from making the loop to its end."""

    def run() -> None:
        train(method, images, steps(STEPS), precision=precision, batch_size=BATCH, clip=CLIP, ema=DECAY)

    return run


def own_unet(attention: str) -> nn.Module:
    """The U-Net of torchcfm at the channels, levels and blocks of ours."""
    from torchcfm.models.unet.unet import UNetModelWrapper

    net: nn.Module = UNetModelWrapper(
        (3, 32, 32), WIDTH, 1, channel_mult=(1, 2, 2), num_heads=4, attention_resolutions=attention
    )
    return net


def peer_steps(net: nn.Module, images: Samples) -> Callable[[], None]:
    """Steps as in torchcfm's examples/images/cifar10, on the same images."""
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher

    matcher = ConditionalFlowMatcher(sigma=0.0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    weights = list(net.parameters())
    average = [weight.detach().clone() for weight in weights]
    values = 2 * images.values - 1

    def run() -> None:
        for _ in range(STEPS):
            x1 = values[torch.randint(len(values), (BATCH,))]
            optimizer.zero_grad()
            t, xt, ut = matcher.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
            loss = torch.mean((net(t, xt) - ut) ** 2)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, CLIP)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, weights, 1 - DECAY)

    return run
