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
from pathline.data.clips import Clips
from pathline.data.container import Split
from pathline.data.environment import Environment
from pathline.data.equation import Equation
from pathline.data.fields import Fields
from pathline.data.meshes import Meshes
from pathline.data.pairs import Pairs
from pathline.data.rollouts import Rollouts
from pathline.data.samples import Samples
from pathline.data.sequences import Sequences
from pathline.data.series import Series
from pathline.data.snapshots import Snapshots, snapshots_of
from pathline.data.waveforms import Waveforms
from pathline.sims.environments.continuous import ContinuousEnvironment

STEPS = 40


def tiny_series() -> Series:
    """Eight days of five sensors every hour: a daily wave that travels along a ring, with noise and gaps."""
    generator = torch.Generator().manual_seed(0)
    hours = torch.arange(24 * 8)
    phase = torch.arange(5) / 5
    values = 50 + 20 * torch.sin(2 * torch.pi * (hours[:, None] / 24 - phase))
    values = values + torch.randn(values.shape, generator=generator)
    observed = torch.rand(values.shape, generator=generator) > 0.05
    adjacency = torch.roll(torch.eye(5), 1, dims=1) + torch.eye(5)
    return Series(
        values=values[..., None],
        observed=observed[..., None],
        start=0,
        interval=3600,
        adjacency=adjacency,
        history=6,
        horizon=4,
        name="tiny-series",
    )


def tiny_samples() -> Samples:
    """Two clouds in the plane, labelled."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 2
    values = torch.randn(240, 2, generator=generator) * 0.3 + torch.tensor([[-1.0, 0.0], [1.0, 0.5]])[labels]
    return Samples(values=values, labels=labels, name="tiny-samples")


def tiny_rollouts() -> Rollouts:
    """Four bodies in a common harmonic well, exact, three frames."""
    generator = torch.Generator().manual_seed(0)
    start, speed = torch.randn(2, 60, 1, 4, 3, generator=generator)
    time = torch.arange(3).view(1, 3, 1, 1) * 0.5
    edge_index = torch.nonzero(~torch.eye(4, dtype=torch.bool)).T
    charge = torch.ones(60, 4, 1)
    return Rollouts(
        positions=start * time.cos() + speed * time.sin(),
        velocities=speed * time.cos() - start * time.sin(),
        edge_index=edge_index,
        features=charge,
        edge_features=torch.ones(60, edge_index.shape[1], 1),
        interval=0.5,
        name="tiny-rollouts",
    )


def tiny_fields() -> Fields:
    """Waves that travel over a sea with an island, of a depth that sets their speed; sixteen seas, five frames."""
    generator = torch.Generator().manual_seed(0)
    depth, phase = 0.5 + torch.rand(2, 16, 1, 1, 1, generator=generator)
    x, y = torch.meshgrid(torch.arange(12) / 12, torch.arange(10) / 10, indexing="xy")
    moved = 2 * torch.pi * (x + phase - 0.1 * depth * torch.arange(5)[:, None, None])
    inside = (x - 0.5).square() + (y - 0.5).square() > 0.03
    return Fields(
        values=torch.stack([moved.sin(), moved.cos() * y], 2) * inside,
        inputs=(depth[:, 0] * (1 + 0.1 * y))[:, None],
        inside=inside.expand(16, -1, -1),
        channels=("height", "current"),
        given=("depth",),
        interval=0.5,
        name="tiny-fields",
    )


def tiny_meshes() -> Meshes:
    """A square of 3 x 3 nodes whose plane swings about its held edge: six trajectories of six frames."""
    generator = torch.Generator().manual_seed(0)
    column, row = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="xy")
    mesh = torch.stack([column.flatten(), row.flatten()], 1)
    corner = torch.tensor([0, 1, 3, 4])
    cells = torch.cat(
        [torch.stack([corner, corner + 1, corner + 4], 1), torch.stack([corner, corner + 4, corner + 3], 1)]
    )
    phase, swing = torch.rand(2, 6, 1, 1, generator=generator)
    angle = (0.3 + swing) * torch.sin(0.4 * torch.arange(6).view(1, 6, 1) + 6 * phase)
    across, up = mesh.T
    return Meshes(
        mesh=mesh,
        cells=cells,
        positions=torch.stack([across * angle.cos(), up.expand(6, 6, 9), across * angle.sin()], -1),
        node_type=torch.where(across == 0, 3, 0),
        features=swing.expand(6, 9, 1).clone(),
        name="tiny-meshes",
    )


def tiny_snapshots() -> Snapshots:
    """A cloud in the plane that drifts, widens and grows by half, seen at four times."""
    generator = torch.Generator().manual_seed(0)
    clouds = [
        torch.randn(count, 2, generator=generator) * (0.3 + 0.1 * k) + torch.tensor([1.0 * k, 0.3 * k**2])
        for k, count in enumerate((40, 44, 52, 60))
    ]
    return snapshots_of(clouds, [0.0, 1.0, 2.0, 3.5], name="tiny-snapshots")


def tiny_environment() -> Environment:
    """Three of five items, whose half-chosen sets have energies."""
    from pathline.sims.environments import Sets

    return Sets(items=5, size=3, energies=torch.linspace(-1, 1, 5, dtype=torch.float64), name="tiny-environment")


def tiny_densities() -> Environment:
    """A box whose steps are long."""
    from pathline.sims.environments import Box

    return Box(delta=0.5, waves=1, name="tiny-densities")


def tiny_equation() -> Equation:
    """A wave that is carried once around and fades."""
    x = torch.arange(32) * (2 * torch.pi / 32)
    return Equation(initial=x.sin(), speed=1.0, viscosity=0.1, frames=9, name="tiny-equation")


def tiny_waveforms() -> Waveforms:
    """Twenty-four simulated records of 12 stations, 15 seconds each, P and S close together."""
    from pathline.sims.seismograms import simulate_seismograms

    data = simulate_seismograms(24, seed=0, samples=1500, stations=12, snr=(10.0, 30.0), first=0.4)
    return replace(data, name="tiny-waveforms")


def tiny_clips() -> Clips:
    """Twelve clips of a bright square that moves over a torus of six pixels."""
    line = torch.arange(6)
    place = (torch.arange(12)[:, None] + torch.arange(6)) % 6
    bright = (((line - place[..., None]) % 6) < 2).float()
    return Clips(
        frames=(bright[..., None, :] * bright[..., :, None])[:, :, None], history=2, horizon=2, name="tiny-clips"
    )


def tiny_sequences() -> Sequences:
    """Sines and cosines of two rates in noise, of unequal lengths, from four users."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    time = torch.arange(20)
    angle = time * (0.3 + 0.4 * labels[:, None])
    values = torch.stack([angle.sin(), angle.cos(), 0 * angle], -1)
    values = values + 0.3 * torch.randn(values.shape, generator=generator)
    return Sequences(
        values=values,
        lengths=torch.randint(10, 21, (64,), generator=generator),
        labels=labels,
        classes=("slow", "fast"),
        groups=torch.arange(64) // 16,
        name="tiny-sequences",
    )


def tiny_pairs() -> Pairs:
    """Twenty small textures of waves, each shifted by up to two pixels, in grey."""
    generator = torch.Generator().manual_seed(0)
    shift = 4 * torch.rand(20, 2, 1, 1, generator=generator) - 2
    waves = torch.rand(20, 6, 2, 1, 1, generator=generator) - 0.5
    phase = 6 * torch.rand(20, 6, 1, 1, generator=generator)
    grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="xy"))
    frames = [
        0.5 + torch.sin((waves * (grid - moved)[:, None]).sum(2) + phase).mean(1) / 2 for moved in (0 * shift, shift)
    ]
    return Pairs(
        images=torch.stack(frames, 1)[:, :, None],
        flow=shift.expand(-1, -1, 32, 32).contiguous(),
        name="tiny-pairs",
    )


TINY: dict[type, Callable[[], Any]] = {
    Series: tiny_series,
    Samples: tiny_samples,
    Pairs: tiny_pairs,
    Rollouts: tiny_rollouts,
    Fields: tiny_fields,
    Meshes: tiny_meshes,
    Snapshots: tiny_snapshots,
    Waveforms: tiny_waveforms,
    Clips: tiny_clips,
    Sequences: tiny_sequences,
    Environment: tiny_environment,
    Equation: tiny_equation,
    ContinuousEnvironment: tiny_densities,
}
WRONG_CONTAINER: dict[type, Callable[[], Any]] = {
    Series: tiny_samples,
    Samples: tiny_series,
    Pairs: tiny_samples,
    Rollouts: tiny_samples,
    Fields: tiny_samples,
    Meshes: tiny_samples,
    Snapshots: tiny_samples,
    Waveforms: tiny_samples,
    Clips: tiny_samples,
    Sequences: tiny_samples,
    Environment: tiny_samples,
    Equation: tiny_samples,
    ContinuousEnvironment: tiny_samples,
}


def check_method(cls: type[Method], data: Any = None) -> None:
    """Run every check of the contract on `cls`, on `data` or the tiny set of its container.

    Raises:
        AssertionError: a sentence that names the class and what it breaks.
    """
    tiny = TINY[cls.container]() if data is None else data
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

    optimizer = torch.optim.AdamW(method.parameters(), lr=method.recipe.lr)
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
    if isinstance(data, Samples):
        return replace(data, values=data.values[..., :-1], columns=(), name="odd-samples")
    if isinstance(data, Snapshots):
        return replace(data, positions=data.positions[:, :-1], name="odd-snapshots")
    if isinstance(data, Fields):
        assert data.inputs is not None and data.inside is not None
        fewer: dict[str, Any] = {name: getattr(data, name)[..., :-1, :] for name in ("values", "inputs", "inside")}
        return replace(data, **fewer, y=None, name="odd-fields")
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
    if isinstance(data, Clips):
        return replace(data, frames=data.frames.repeat(1, 1, 2, 1, 1), name="odd-clips")
    if isinstance(data, Sequences):
        return replace(data, values=data.values[..., :-1], channels=(), name="odd-sequences")
    if isinstance(data, Pairs):
        return replace(data.crops(24, 16), name="odd-pairs")
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
