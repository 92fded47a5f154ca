"""check_method: the contract that every catalogued method passes (the idea is scikit-learn's estimator checks).

Each check is a function of a class and tiny data that raises `AssertionError` with a sentence when the contract is
broken. `check_method(cls)` runs them all; use it on your own method as the tests use it on ours.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Method
from pathline.core.tiny import WRONG_CONTAINER, tiny_of
from pathline.data.affinities import Affinities
from pathline.data.clips import Clips
from pathline.data.container import Split
from pathline.data.environment import Environment
from pathline.data.equation import Equation
from pathline.data.events import Events
from pathline.data.fields import Fields
from pathline.data.graph_batch import GraphData
from pathline.data.graph_signal import GraphSignal
from pathline.data.interactions import Interactions
from pathline.data.meshes import Meshes
from pathline.data.pairs import Pairs
from pathline.data.samples import Samples
from pathline.data.sequences import Sequences
from pathline.data.series import Series
from pathline.data.snapshots import Snapshots
from pathline.data.tracks import Tracks
from pathline.data.waveforms import Waveforms

STEPS = 40


def check_method(cls: type[Method], data: Any = None) -> None:
    """Run every check of the contract on `cls`, on `data` or the tiny set of its container.

    Raises:
        AssertionError: a sentence that names the class and what it breaks.
    """
    for tiny in tiny_of(cls) if data is None else [data]:
        for check in CHECKS:
            check(cls, tiny)


def _fitted(cls: type[Method], split: Split[Any], seed: int = 0, **options: Any) -> Method:
    method = cls.seeded(split.train, seed)
    return method.fit(split.train, Budget(steps=5) if cls.trains else None, seed=seed, **options)


def check_is_built_from_data(cls: type[Method], data: Any) -> None:
    """`for_data` works on a container and on a split, and the config it leaves rebuilds the same shapes."""
    split = data.split()
    method, other = cls.for_data(split.train), cls.for_data(split)
    assert method.config == other.config, f"{cls.__name__}: for_data reads other sizes off a Split than off its train"
    again = cls(**method.config)
    shapes = {name: tensor.shape for name, tensor in method.state_dict().items()}
    rebuilt = {name: tensor.shape for name, tensor in again.state_dict().items()}
    assert shapes == rebuilt, f"{cls.__name__}: its config does not rebuild it: {set(shapes) ^ set(rebuilt)}"


def check_loss_goes_down(cls: type[Method], data: Any) -> None:
    """Some steps on one batch reduce the loss on that batch."""
    if not cls.trains:
        return
    split = data.split()
    method = cls.seeded(split.train, 0)
    batch = next(iter(method.batches(split.train, 32, torch.Generator().manual_seed(0))))

    def loss() -> Tensor:
        torch.manual_seed(1)
        terms = method.loss(batch)
        return terms if isinstance(terms, Tensor) else terms["loss"]

    optimizer = method.optimizer(method.recipe) or torch.optim.AdamW(method.parameters(), lr=method.recipe.lr)
    method.train()
    before = loss().item()
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    after = loss().item()
    assert after < before, f"{cls.__name__}: {STEPS} steps on one batch took the loss from {before:.4g} to {after:.4g}"


def check_same_seed_same_numbers(cls: type[Method], data: Any) -> None:
    """Two fits with one seed give equal weights and metrics."""
    split = data.split()
    first, second = _fitted(cls, split, seed=3), _fitted(cls, split, seed=3)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), f"{cls.__name__}: seed 3 gave two different '{name}'"
    assert first.evaluate(split.test) == second.evaluate(split.test), f"{cls.__name__}: evaluate is not repeatable"


def check_saves_and_loads(cls: type[Method], data: Any) -> None:
    """A saved and loaded method gives identical numbers and tables."""
    split = data.split()
    method = _fitted(cls, split)
    with tempfile.TemporaryDirectory() as folder:
        method.save(folder)
        loaded = cls.load(folder)
    assert loaded.config == method.config, f"{cls.__name__}: config changed on disk"
    assert loaded.evaluate(split.test) == method.evaluate(split.test), f"{cls.__name__}: loaded, it gives other metrics"
    assert loaded.predict(split.test).equals(method.predict(split.test)), (
        f"{cls.__name__}: loaded, it predicts otherwise"
    )


def check_metrics_are_finite(cls: type[Method], data: Any) -> None:
    """`evaluate` gives finite floats, `score` too, and neither touches torch's global generator."""
    split = data.split()
    method = _fitted(cls, split)
    state = torch.get_rng_state()
    metrics = method.evaluate(split.test)
    score = method.score(split.validation)
    assert torch.equal(state, torch.get_rng_state()), f"{cls.__name__}: evaluating draws from the global generator"
    assert metrics, f"{cls.__name__}: evaluate returns no metric"
    for name, value in {**metrics, "score": score}.items():
        assert isinstance(value, float), f"{cls.__name__}: metric '{name}' is {type(value).__name__}, not float"
        assert value == value and abs(value) < float("inf"), f"{cls.__name__}: metric '{name}' is {value}"


def check_predicts_a_table(cls: type[Method], data: Any) -> None:
    """`predict` gives a table with rows and finite numbers."""
    table = _fitted(cls, data.split()).predict(data)
    assert len(table) or cls.may_find_nothing, f"{cls.__name__}: predict gives no rows"
    values = torch.tensor(table.select_dtypes("number").to_numpy(float))
    assert torch.isfinite(values).all(), f"{cls.__name__}: predict gives numbers that are not finite"


def check_bad_data_is_named(cls: type[Method], data: Any) -> None:
    """Data of the wrong kind, or too little of it, raises a DataError that names it."""
    wrong = WRONG_CONTAINER[cls.container]()
    _raises_naming(cls, wrong.name, "for_data on data of another kind", lambda: cls.for_data(wrong))
    method = _fitted(cls, data.split())
    _raises_naming(cls, wrong.name, "evaluate on data of another kind", lambda: method.evaluate(wrong))
    _raises_naming(cls, wrong.name, "predict on data of another kind", lambda: method.predict(wrong))
    odd = _misshapen(data)
    _refuses_or_works(cls, odd.name, "evaluate on data of another size", lambda: method.evaluate(odd))
    _refuses_or_works(cls, odd.name, "predict on data of another size", lambda: method.predict(odd))
    if isinstance(data, Series):
        empty = replace(data.slice(0, 3), name="empty-series")
        _raises_naming(cls, empty.name, "for_data on a series without a window", lambda: cls.for_data(empty))


def _misshapen(data: Any) -> Any:
    """`data` with one sensor or column fewer, or one feature more."""
    if isinstance(data, Series):
        adjacency = None if data.adjacency is None else data.adjacency[:-1, :-1]
        shorter: dict[str, Any] = {
            "values": data.values[:, :-1],
            "observed": data.observed[:, :-1],
            "nodes": data.nodes[:-1],
        }
        return replace(data, **shorter, adjacency=adjacency, positions=None, name="odd-series")
    if isinstance(data, GraphSignal):
        one_less: dict[str, Any] = {"values": data.values[:-1], "seen": data.seen[:-1], "asked": None}
        return replace(data, **one_less, adjacency=None, positions=None, nodes=(), name="odd-signal")
    if isinstance(data, Samples):
        return replace(data, values=data.values[..., :-1], columns=(), name="odd-samples")
    if isinstance(data, Snapshots):
        return replace(data, positions=data.positions[:, :-1], name="odd-snapshots")
    if isinstance(data, Fields):
        assert data.inputs is not None and data.inside is not None
        fewer: dict[str, Any] = {name: getattr(data, name)[..., :-1, :] for name in ("values", "inputs", "inside")}
        return replace(data, **fewer, y=None, name="odd-fields")
    if isinstance(data, Events):
        return replace(data, features=torch.ones(len(data.source), 2), name="odd-events")
    if isinstance(data, Affinities):
        return replace(data, events=replace(_misshapen(data.events), name="odd-affinities"), name="odd-affinities")
    if isinstance(data, Waveforms):
        return replace(data, rate=data.rate / 2, name="odd-waveforms")
    if isinstance(data, Environment):
        from pathline.sims.environments import Hypergrid

        return Hypergrid(name="odd-environment")
    if isinstance(data, Equation):
        return replace(data, initial=data.initial[:-1], name="odd-equation")
    if isinstance(data, Meshes):
        assert data.positions is not None
        return replace(data, positions=data.positions[..., :2], name="odd-meshes")
    if isinstance(data, Interactions):
        strangers = tuple(f"stranger {number}" for number in range(len(data.users)))
        return replace(data, users=strangers, name="odd-interactions")
    if isinstance(data, Clips):
        return replace(data, frames=data.frames.repeat(1, 1, 2, 1, 1), name="odd-clips")
    if isinstance(data, Sequences):
        return replace(data, values=data.values[..., :-1], channels=(), name="odd-sequences")
    if isinstance(data, Pairs):
        return replace(data.crops(24, 16), name="odd-pairs")
    if isinstance(data, GraphData):
        wider: dict[str, Any] = {"features": torch.ones(data.node_count, data.width + 1)}
        return replace(data, **wider, name="odd-graph")
    if isinstance(data, Tracks):
        higher = torch.cat([data.positions, data.positions[..., :1]], -1)
        return replace(data, positions=higher, name="odd-tracks")
    more = torch.ones(*data.positions.shape[:3:2], 3)
    return replace(data, features=more, name="odd-rollouts")


def _refuses_or_works(cls: type[Method], name: str, what: str, call: Callable[[], Any]) -> None:
    """A DataError that names the data, or finite numbers from a method to which its size is indifferent."""
    try:
        result = call()
    except DataError as error:
        assert name in str(error) or cls.__name__ in str(error), f"{cls.__name__}: {what} is not named in: {error}"
        return
    numbers = list(result.values()) if isinstance(result, dict) else result.select_dtypes("number").to_numpy(float)
    assert torch.isfinite(torch.as_tensor(numbers)).all(), f"{cls.__name__}: {what} was accepted and is not finite"


def _raises_naming(cls: type[Method], name: str, what: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except DataError as error:
        assert name in str(error) or cls.__name__ in str(error), f"{cls.__name__}: {what} is not named in: {error}"
    else:
        raise AssertionError(f"{cls.__name__}: {what} was accepted")


def check_runs_in_bf16(cls: type[Method], data: Any) -> None:
    """Training runs under bf16 autocast with a finite loss, unless the class declares precision = "fp32"."""
    if not cls.trains or cls.precision == "fp32":
        return
    split = data.split()
    method = _fitted(cls, split, precision="bf16")
    assert method.training_record is not None and method.training_record.precision == "bf16-mixed"
    for name, value in method.evaluate(split.test).items():
        assert value == value, f"{cls.__name__}: after training in bf16, '{name}' is nan"


CHECKS: tuple[Callable[[type[Method], Any], None], ...] = (
    check_is_built_from_data,
    check_loss_goes_down,
    check_same_seed_same_numbers,
    check_saves_and_loads,
    check_metrics_are_finite,
    check_predicts_a_table,
    check_bad_data_is_named,
    check_runs_in_bf16,
)
