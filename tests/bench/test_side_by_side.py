"""What bench/ measures: ratios, order, refusals, the file of results. A clock is handed in; no time is asserted."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import __main__ as command
from bench import side_by_side
from bench.side_by_side import Side, in_turn, parameters, table, write


class Clock:
    """Time passes only while a side works: `costs` seconds for its calls one after another, the last one for ever."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, []

    def __call__(self) -> float:
        return self.now

    def side(self, name: str, *costs: float, parameters: int = 100) -> Side:
        left = list(costs)

        def run() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return Side(name, run, parameters, "fp32")


def test_the_ratio_is_the_median_over_pairs_of_what_the_peer_took_for_each_second_of_ours() -> None:
    clock = Clock()
    ours, peer = clock.side("ours", 50.0, 1.0, 1.0, 2.0, 1.0, 1.0), clock.side("peer", 99.0, 3.0, 4.0, 4.0, 9.0, 5.0)
    line = in_turn(ours, peer, "work", required=4.0, clock=clock)
    assert line.our_seconds == [1.0, 1.0, 2.0, 1.0, 1.0], "the warm-up is not counted"
    assert (line.ratio, line.lowest, line.highest) == (4.0, 2.0, 9.0), "of 3, 4, 2, 9, 5"
    assert line.verdict == "holds"


def test_the_sides_take_turns_in_going_first() -> None:
    clock = Clock()
    in_turn(clock.side("ours", 1.0), clock.side("peer", 1.0), "work", clock=clock, warm_up=0)
    assert clock.order == ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours", "ours", "peer"]


def test_seconds_are_of_one_piece_of_work_and_a_ratio_below_what_is_wanted_falls_short() -> None:
    clock = Clock()
    line = in_turn(clock.side("ours", 6.0), clock.side("peer", 9.0), "work", required=2.0, calls=3, clock=clock)
    assert set(line.our_seconds) == {2.0} and set(line.peer_seconds) == {3.0}
    assert line.ratio == pytest.approx(1.5) and line.verdict == "falls short"
    assert "1.50 (1.50 .. 1.50)" in table([line]) and "falls short" in table([line])


def test_too_few_pairs_and_networks_of_other_sizes_are_refused() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="4 pairs are too few"):
        in_turn(clock.side("ours", 1.0), clock.side("peer", 1.0), "work", pairs=4)
    with pytest.raises(ValueError, match="106 against 100 parameters"):
        in_turn(clock.side("ours", 1.0, parameters=106), clock.side("peer", 1.0), "work")
    assert clock.order == [], "nothing was run"
    other = clock.side("ours", 1.0, parameters=106)
    assert in_turn(other, clock.side("peer", 2.0), "work", same_size=False, clock=clock).ratio == 2.0


def test_only_what_is_learned_counts_as_a_parameter() -> None:
    layer = torch.nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert parameters(layer) == 6


def test_results_are_replaced_whole_and_other_pairs_stay(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "results.json"
    line = in_turn(clock.side("ours", 1.0), clock.side("peer", 2.0), "work", clock=clock)
    write("b", {"threads": 2}, [line], path)
    write("a", {"threads": 2}, [line, line], path)
    write("b", {"threads": 1}, [line], path)
    known = json.loads(path.read_text())
    assert list(known) == ["a", "b"] and known["b"]["where"] == {"threads": 1}
    assert [entry["ratio"] for entry in known["a"]["lines"]] == [2.0, 2.0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_the_command_measures_what_is_asked_and_refuses_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, written, threads = Clock(), [], torch.get_num_threads()
    line = in_turn(clock.side("ours", 1.0), clock.side("peer", 2.0), "mowing", clock=clock)
    where: dict[str, Any] = {"processor": "abacus", "threads": 1, "versions": {}}
    pair = SimpleNamespace(measure=lambda: (where, [line]))
    monkeypatch.setattr(command, "importlib", SimpleNamespace(import_module=lambda name: pair))
    monkeypatch.setattr(command, "write", lambda *arguments: written.append(arguments))
    monkeypatch.setenv("BENCH_THREADS", str(threads))
    assert command.main(["torchgfn"]) == 0
    assert written == [("torchgfn", where, [line])] and "mowing" in capsys.readouterr().out
    assert command.main(["abacus"]) == 2 and "there is no pair 'abacus'" in capsys.readouterr().err


def test_every_line_says_where_it_was_measured() -> None:
    where = side_by_side.conditions("numpy")
    assert where["threads"] == torch.get_num_threads() and {"pathline", "torch", "numpy"} <= set(where["versions"])
    assert where["processor"]
