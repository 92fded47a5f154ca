"""From an ObsPy stream to picks with PhaseNet, beside seisbench's PhaseNet.

Both get the same stream of ten minutes at each of some stations and give picks above 0.3, from windows of 3001 samples
that overlap by half and are averaged. Both networks have the same layout and the same weights, learned here in a minute
on simulated records. Ours normalises a running window, the peer each window by itself, so that picks are near each
other and not the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import obspy
import torch
from torch import Tensor, nn

import bench.torchvision_names  # noqa: F401  first: seisbench imports torchvision
from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.budget import steps
from pathline.core.precision import fast_precision
from pathline.perceive.phasenet import PhaseNet
from pathline.sims.seismograms import simulate_seismograms

from seisbench.models import PhaseNet as PeerPhaseNet  # isort: skip

STATIONS, SAMPLES, EVENT, WINDOW, STEPS = 24, 60_000, 6000, 3001, 250
THRESHOLD, NEAR = 0.3, 0.1


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """Ours in fp32, which is what it reads records in by default, and under bf16 where the processor has it."""
    torch.manual_seed(0)
    where = conditions("seisbench", "obspy")
    data = simulate_seismograms(160, seed=1, snr=(5.0, 30.0), vertical_only=0.0)
    method = PhaseNet.seeded(data, 0, window=WINDOW, threshold=THRESHOLD, combine="mean").fit(data, steps(STEPS))
    peer = PeerPhaseNet(phases="NPS", norm="std")
    copied(method, peer)
    stream = records()
    worst = agreement(method, peer)
    ours, theirs = picks(method, stream), peer_picks(peer, stream)
    outputs = (
        f"probabilities of equal windows differ by {worst:.1e} at most; {len(ours)} and {len(theirs)} picks, of which "
        f"{near(theirs, ours):.0%} of the peer's have one of ours within {NEAR} s"
    )
    work = f"{STATIONS} stations of {SAMPLES / 100 / 60:g} minutes, from ObsPy stream to picks"
    other = Side("seisbench, PhaseNet.classify", lambda: peer.classify(stream), parameters(peer), "fp32")
    lines = []
    for precision in ("fp32", "bf16"):
        if precision == "bf16" and fast_precision(torch.device("cpu")) != "bf16-mixed":
            continue
        side = Side("pathline, PhaseNet.perceive", reading(method, stream, precision), parameters(method), precision)
        wanted = 2.0 if precision == "fp32" else None  # records are read in fp32 unless told otherwise
        lines.append(in_turn(side, other, work, wanted, f"in fp32 {outputs}; {rate(len(ours), side)}"))
    return where, lines


def records() -> obspy.Stream:
    """Simulated events one after the other, at every station others."""
    events = simulate_seismograms(
        STATIONS * SAMPLES // EVENT, seed=2, samples=EVENT, snr=(5.0, 30.0), vertical_only=0.0
    )
    signals = events.signals / events.signals.abs().amax((1, 2), keepdim=True)
    long = signals.view(STATIONS, -1, 3, EVENT).transpose(1, 2).reshape(STATIONS, 3, SAMPLES).numpy()
    traces = []
    for station in range(STATIONS):
        for component, values in zip("ENZ", long[station], strict=True):
            header = {
                "network": "XX",
                "station": f"S{station:03d}",
                "channel": f"HH{component}",
                "sampling_rate": 100.0,
            }
            traces.append(obspy.Trace(np.ascontiguousarray(values), header))
    return obspy.Stream(traces)


def reading(method: PhaseNet, stream: obspy.Stream, precision: str) -> Callable[[], Any]:
    def run() -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return method.perceive(stream)

    return run


def rate(count: int, side: Side) -> str:
    """Picks a second of one call."""
    import time

    side.run()
    began = time.perf_counter()
    side.run()
    return f"{count / (time.perf_counter() - began):.0f} picks a second"


def picks(method: PhaseNet, stream: obspy.Stream) -> set[tuple[str, str, float]]:
    """Station, phase and seconds since 1970."""
    found = method.perceive(stream)
    begins = found.waveforms.first_times[found.arrivals.item] + found.seconds()
    stations = [found.waveforms.station_of(record) for record in found.arrivals.item.tolist()]
    phases = ["PS"[phase] for phase in found.arrivals.phase.tolist()]
    return set(zip(stations, phases, begins.tolist(), strict=True))


def peer_picks(peer: PeerPhaseNet, stream: obspy.Stream) -> set[tuple[str, str, float]]:
    return {
        (pick.trace_id.rpartition(".")[0].rstrip("."), pick.phase, pick.peak_time.timestamp)
        for pick in peer.classify(stream).picks
    }


def near(some: set[tuple[str, str, float]], others: set[tuple[str, str, float]]) -> float:
    """Share of `some` that have one of `others` of the same station and phase within `NEAR` seconds."""
    hits = [any(a[:2] == b[:2] and abs(a[2] - b[2]) <= NEAR for b in others) for a in some]
    return sum(hits) / max(len(hits), 1)


def copied(method: PhaseNet, peer: PeerPhaseNet) -> None:
    """Our weights in the peer's network, layer by layer; its first bias, which ours lacks, is 0."""
    net = method.network
    pairs: list[tuple[nn.Module, nn.Module]] = [(net.enter.convolution, peer.inc), (net.enter.norm, peer.in_bn)]
    for level, (conv, bn, down, down_bn) in enumerate(peer.down_branch):
        pairs += [(net.refine[level].convolution, conv), (net.refine[level].norm, bn)]
        if down is not None:
            pairs += [(net.shrink[level].convolution, down), (net.shrink[level].norm, down_bn)]
    for level, (rise, bn, join, join_bn) in enumerate(peer.up_branch):
        up = net.up[level]
        pairs += [(up.rise, rise), (up.norm, bn), (up.join.convolution, join), (up.join.norm, join_bn)]
    pairs.append((net.leave, peer.out))
    with torch.no_grad():
        for ours, theirs in pairs:
            for name, tensor in ours.state_dict().items():
                theirs.state_dict()[name].copy_(tensor.squeeze(2) if tensor.ndim == 4 else tensor)
            if hasattr(ours, "eps"):
                theirs.eps = ours.eps
        peer.inc.bias.zero_()
    peer.eval()
    method.eval()


@torch.no_grad()
def agreement(method: PhaseNet, peer: PeerPhaseNet) -> float:
    """Largest difference of the probabilities of both on the same normalised windows."""
    x: Tensor = torch.randn(4, 3, WINDOW, generator=torch.Generator().manual_seed(0))
    return float((method.network(x).softmax(1) - peer(x)).abs().max())
