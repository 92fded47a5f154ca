"""A forward pass of RAFT's published size on a pair of 320 x 448 pictures, beside torchvision's raft_large.

Both run 12 updates from random weights without gradients. torchvision returns the full flow after each update, as it
always does; ours returns the last one, as it always does outside of training. Line one runs ours in the precision
that `pathline` picks on this processor and the peer in float32, its default; line two runs both in float32. For line
three the volume of all pairs is not kept. Beforehand our weights are copied into the peer, and its flow must be ours.

torchvision's wheels on PyPI are built for torch with CUDA; beside a torch without it their compiled operators, which
RAFT does not use, cannot be loaded. Their names are made known first, so that the package can be imported.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.precision import precision_mode
from pathline.perceive.raft import RAFT

HEIGHT, WIDTH, UPDATES = 320, 448, 12
WANTED = 1.5
OPERATORS = (
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """Three lines: default precision, float32, and float32 with correlations on the fly."""
    torch.manual_seed(0)
    peer = torchvision_raft().eval()
    where = conditions("torchvision")
    ours = RAFT(size="full", test_iterations=UPDATES).eval()
    copied(ours, peer)
    images = torch.rand(1, 2, 3, HEIGHT, WIDTH)
    low = precision_mode("auto", "auto", torch.device("cpu")) != "32-true"
    worst = agreement(ours, peer, images)
    outputs = f"from the same weights the flows in float32 differ by {worst:.1e} pixels at most"
    light = RAFT(size="full", test_iterations=UPDATES, on_the_fly=True).eval()
    light.load_state_dict(ours.state_dict())
    theirs = Side("torchvision, raft_large", peer_flow(peer, images), parameters(peer), "fp32")
    work = f"RAFT forward, {HEIGHT} x {WIDTH}, {UPDATES} updates"
    lines = []
    for name, method, bf16, wanted in (
        ("pathline, RAFT(size='full')", ours, low, WANTED),
        ("pathline, RAFT(size='full')", ours, False, WANTED),
        ("pathline, RAFT(size='full', on_the_fly=True)", light, False, None),
    ):
        side = Side(name, our_flow(method, images, bf16), parameters(method), "bf16" if bf16 else "fp32")
        how = "on the fly" if method is light else side.precision
        lines.append(in_turn(side, theirs, f"{work}, {how}", wanted, outputs))
    return where, lines


def torchvision_raft() -> nn.Module:
    """The peer's network with random weights."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        with contextlib.suppress(RuntimeError):  # they are there where the compiled part could be loaded
            library.define(operator)
    from torchvision.models.optical_flow import raft_large

    network: nn.Module = raft_large(weights=None)
    network.kept = library  # as long as the network lives
    return network


def our_flow(method: RAFT, images: Tensor, bf16: bool) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return method.estimate(images)

    return run


def peer_flow(peer: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """torchvision takes pictures from -1 to 1."""
    first, second = (2 * images - 1).unbind(1)

    def run() -> Tensor:
        with torch.no_grad():
            flow: Tensor = peer(first, second, num_flow_updates=UPDATES)[-1]
            return flow

    return run


def copied(ours: RAFT, peer: Any) -> None:
    """Our weights in the peer: convolutions in order, and the recurrent units gate by gate."""
    for own, other in ((ours.features, peer.feature_encoder), (ours.start, peer.context_encoder)):
        modules = [[m for m in net.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)] for net in (own, other)]
        for one, two in zip(*modules, strict=True):
            two.load_state_dict(one.state_dict())
    block = peer.update_block
    pairs = [
        (ours.motion.looked[0], block.motion_encoder.convcorr1[0]),
        (ours.motion.looked[2], block.motion_encoder.convcorr2[0]),
        (ours.motion.flow[0], block.motion_encoder.convflow1[0]),
        (ours.motion.flow[2], block.motion_encoder.convflow2[0]),
        (ours.motion.merged, block.motion_encoder.conv[0]),
        (ours.head[0], block.flow_head.conv1),
        (ours.head[2], block.flow_head.conv2),
        (ours.mask[0], peer.mask_predictor.convrelu[0]),  # type: ignore[index]
        (ours.mask[2], peer.mask_predictor.conv),  # type: ignore[index]
    ]
    for one, two in pairs:
        two.load_state_dict(one.state_dict())
    side = 2 * ours.radius + 1
    with torch.no_grad():  # the peer's windows are transposed: x changes from row to row
        looked = block.motion_encoder.convcorr1[0].weight
        looked.copy_(looked.unflatten(1, (-1, side, side)).transpose(2, 3).flatten(1, 3))
    unit: Any = ours.unit
    hidden, recurrent = ours.hidden, block.recurrent_block
    for one, two in ((unit.along_rows, recurrent.convgru1), (unit.along_columns, recurrent.convgru2)):
        for number, gate in enumerate((two.convz, two.convr, two.convq)):
            rows = slice(number * hidden, (number + 1) * hidden)
            changing = one.gates.weight[rows] if number < 2 else one.candidate.weight
            fixed = one.fixed.weight[rows]
            with torch.no_grad():  # the peer concatenates state, context, motion
                gate.weight.copy_(torch.cat([changing[:, :hidden], fixed, changing[:, hidden:]], 1))
                gate.bias.copy_(one.fixed.bias[rows])


def agreement(ours: RAFT, peer: nn.Module, images: Tensor) -> float:
    """Largest difference of the flows, in pixels, where no neighbour is beyond the border (zero there)."""
    one, two = our_flow(ours, images, False)(), peer_flow(peer, images)()
    return float((one - two)[..., 16:-16, 16:-16].abs().max())
