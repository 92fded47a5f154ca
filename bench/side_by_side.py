"""Measure two ways to do the same work in turn, and say how many times as fast the one is as the other.

A pair is one call of each, the one that goes first alternating from pair to pair, so that a machine that grows slower
during the run slows both. What is reported is the median over pairs of peer's seconds / our seconds, with the extremes.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).with_name("results.json")
PAIRS = 5


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    name:       what a reader knows it by
    run:        does the work; what it returns is not looked at
    parameters: of the network it works on
    precision:  the number format it multiplies in
    """

    name: str
    run: Callable[[], Any]
    parameters: int
    precision: str


@dataclass(frozen=True)
class Measured:
    """One line of the table.

    work:       what was done, in words
    ours, peer: name, precision, parameters
    our_seconds, peer_seconds: of one piece of work each, pair by pair
    ratio, lowest, highest:    peer's seconds / ours: median, least and greatest of the pairs
    required:   the ratio that we want at least, or None for a line that only informs
    outputs:    how the two outputs compare, in words
    """

    work: str
    ours: dict[str, Any]
    peer: dict[str, Any]
    our_seconds: list[float]
    peer_seconds: list[float]
    ratio: float
    lowest: float
    highest: float
    required: float | None
    outputs: str

    @property
    def verdict(self) -> str:
        """Whether the ratio is what we want: "holds", "falls short", or "informs"."""
        if self.required is None:
            return "informs"
        return "holds" if self.ratio >= self.required else "falls short"


def in_turn(
    ours: Side,
    peer: Side,
    work: str,
    required: float | None = None,
    outputs: str = "",
    calls: int = 1,
    pairs: int = PAIRS,
    warm_up: int = 1,
    same_size: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Time `pairs` pairs after `warm_up` calls of each side; `calls` pieces of the work are done in one `run`.

    Raises:
        ValueError: fewer than 5 pairs, or networks whose numbers of parameters differ by more than 5 %, unless the work
            is defined by something else than its size and says so (same_size=False).
    """
    if pairs < PAIRS:
        raise ValueError(f"{pairs} pairs are too few; a median of fewer than {PAIRS} says little")
    if same_size and abs(ours.parameters - peer.parameters) > 0.05 * peer.parameters:
        raise ValueError(
            f"{work}: {ours.parameters} against {peer.parameters} parameters is not the same work; choose sizes within "
            "5 % of each other"
        )
    for side in (ours, peer):
        for _ in range(warm_up):
            side.run()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for pair in range(pairs):
        order = [("ours", ours), ("peer", peer)]
        for key, side in order if pair % 2 == 0 else reversed(order):
            began = clock()
            side.run()
            seconds[key].append((clock() - began) / calls)
    ratios = [theirs / own for own, theirs in zip(seconds["ours"], seconds["peer"], strict=True)]

    def described(side: Side) -> dict[str, Any]:
        return {"name": side.name, "precision": side.precision, "parameters": side.parameters}

    return Measured(
        work,
        described(ours),
        described(peer),
        seconds["ours"],
        seconds["peer"],
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        required,
        outputs,
    )


def parameters(module: torch.nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def conditions(*packages: str) -> dict[str, Any]:
    """Where a line was measured: processor, threads, what it multiplies natively, versions of `packages`."""
    able = torch.cpu.get_capabilities()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "amx": bool(able.get("amx_bf16")),
        "avx512_bf16": bool(able.get("avx512_bf16")),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("pathline", "torch", *packages)},
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(lines: list[Measured]) -> str:
    """The lines for a terminal."""
    rows = [("work", "ours", "peer", "peer / ours", "wanted", "")]
    for line in lines:
        rows.append(
            (
                line.work,
                f"{_seconds(line.our_seconds)} {line.ours['precision']}",
                f"{_seconds(line.peer_seconds)} {line.peer['precision']}",
                f"{line.ratio:.2f} ({line.lowest:.2f} .. {line.highest:.2f})",
                "" if line.required is None else f"{line.required:g}",
                line.verdict,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _seconds(values: list[float]) -> str:
    median = statistics.median(values)
    return f"{median:.2f} s" if median >= 1 else f"{1e3 * median:.1f} ms"


def write(pair: str, where: dict[str, Any], lines: list[Measured], path: Path = RESULTS) -> None:
    """Put the lines of `pair` into the file of results, which is replaced whole; other pairs stay as they are."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[pair] = {"where": where, "lines": [asdict(line) | {"verdict": line.verdict} for line in lines]}
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")
    beside.replace(path)
