"""Tiny data for the contract: for every container a set that is made in a moment, and one of another kind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from pathline.core.tiny_graphs import TINY_TASKS, tiny_graph
from pathline.data.affinities import Affinities
from pathline.data.clips import Clips
from pathline.data.environment import Environment
from pathline.data.equation import Equation
from pathline.data.events import Events
from pathline.data.fields import Fields
from pathline.data.graph_batch import GraphData
from pathline.data.graph_signal import GraphSignal
from pathline.data.interactions import Interactions
from pathline.data.meshes import Meshes
from pathline.data.pairs import Pairs
from pathline.data.rollouts import Rollouts
from pathline.data.samples import Samples
from pathline.data.sequences import Sequences
from pathline.data.series import Series
from pathline.data.snapshots import Snapshots, snapshots_of
from pathline.data.tracks import Tracks
from pathline.data.waveforms import Waveforms
from pathline.sims.environments.continuous import ContinuousEnvironment


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


def tiny_signal() -> GraphSignal:
    """Twenty-four steps of a wave that runs along a ring of ten nodes, with noise."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.arange(10) / 10
    values = torch.sin(angle[:, None] - 0.5 * torch.arange(24)) + 0.1 * torch.randn(10, 24, generator=generator)
    ring = torch.roll(torch.eye(10), 1, dims=1)
    return GraphSignal(
        values=values,
        seen=torch.ones(10, 24, dtype=torch.bool),
        adjacency=ring + ring.T,
        positions=torch.stack([angle.cos(), angle.sin()], 1),
        name="tiny-signal",
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


def tiny_interactions() -> Interactions:
    """Thirty users of two tastes, who each had nine of twenty items, most of them to their taste, one after another."""
    generator = torch.Generator().manual_seed(0)
    taste = torch.arange(30)[:, None] % 2 == torch.arange(20) % 2
    chance = torch.rand(30, 20, generator=generator) + 0.8 * taste
    item = chance.topk(9, 1).indices
    user = torch.arange(30)[:, None].expand_as(item)
    rating = torch.where(taste.gather(1, item), 5.0, 2.0)
    time = torch.rand(30, 9, generator=generator, dtype=torch.float64)
    return Interactions(
        user=user.flatten(),
        item=item.flatten(),
        rating=rating.flatten(),
        time=time.flatten(),
        users=tuple(f"user {number}" for number in range(30)),
        items=tuple(f"item {number}" for number in range(20)),
        threshold=3.0,
        name="tiny-interactions",
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


def tiny_of(cls: Any) -> list[Any]:
    """Tiny data for a class of methods: of its container, or one for each task where it is for several."""
    if issubclass(cls.container, GraphData):
        return [TINY_TASKS[task]() for task in cls.tasks]
    return [TINY[cls.container]()]


def tiny_events() -> Events:
    """Twelve nodes that mostly meet their neighbours on a ring, 260 times at whole seconds of the year 2010."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(0, 12, (260,), generator=generator)
    hop = torch.where(torch.rand(260, generator=generator) < 0.8, 1, torch.randint(2, 11, (260,), generator=generator))
    return Events(
        source=source,
        target=(source + hop) % 12,
        time=1_291_597_340 + torch.randint(0, 40, (260,), generator=generator).cumsum(0),
        nodes=12,
        directed=False,
        name="tiny-events",
    )


def tiny_affinities() -> Affinities:
    """Whom the nodes of the tiny events meet in the next five minutes, asked every five minutes."""
    return Affinities(events=tiny_events(), period=300.0, name="tiny-affinities")


def tiny_tracks() -> Tracks:
    """Twelve scenes of four walkers on arcs of several speeds and turns, who come and go; 16 steps of 0.4 s."""
    generator = torch.Generator().manual_seed(0)
    start, (speed, angle, turn) = (
        10 * torch.rand(48, 1, 2, generator=generator),
        torch.rand(3, 48, 1, generator=generator),
    )
    course = 2 * torch.pi * angle + 0.2 * (turn - 0.5) * torch.arange(16)
    moved = 0.4 * (0.5 + speed)[..., None] * torch.stack([course.cos(), course.sin()], -1)
    positions = start + moved.cumsum(1) + 0.01 * torch.randn(48, 16, 2, generator=generator)
    observed = torch.ones(48, 16, dtype=torch.bool)
    observed[::4, 14:] = False
    return Tracks(
        positions=positions,
        observed=observed,
        interval=0.4,
        first=torch.arange(48) % 3,
        scene=torch.arange(48) // 4,
        scenes=tuple(f"square {i}" for i in range(12)),
        history=5,
        horizon=6,
        neighbours=2,
        name="tiny-tracks",
    )


TINY: dict[type, Callable[[], Any]] = {
    Series: tiny_series,
    GraphSignal: tiny_signal,
    Samples: tiny_samples,
    Pairs: tiny_pairs,
    Events: tiny_events,
    Affinities: tiny_affinities,
    Rollouts: tiny_rollouts,
    Fields: tiny_fields,
    Interactions: tiny_interactions,
    Meshes: tiny_meshes,
    Snapshots: tiny_snapshots,
    Waveforms: tiny_waveforms,
    Clips: tiny_clips,
    Sequences: tiny_sequences,
    Environment: tiny_environment,
    Equation: tiny_equation,
    Tracks: tiny_tracks,
    ContinuousEnvironment: tiny_densities,
    GraphData: tiny_graph,
}
WRONG_CONTAINER: dict[type, Callable[[], Any]] = {
    Series: tiny_samples,
    GraphSignal: tiny_series,
    Samples: tiny_series,
    Pairs: tiny_samples,
    Events: tiny_samples,
    Affinities: tiny_samples,
    Rollouts: tiny_samples,
    Fields: tiny_samples,
    Interactions: tiny_samples,
    Meshes: tiny_samples,
    Snapshots: tiny_samples,
    Waveforms: tiny_samples,
    Clips: tiny_samples,
    Sequences: tiny_samples,
    Environment: tiny_samples,
    Equation: tiny_samples,
    Tracks: tiny_samples,
    ContinuousEnvironment: tiny_samples,
    GraphData: tiny_samples,
}
