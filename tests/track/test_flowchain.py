"""FlowChain: densities that are densities, and an update that asks no network."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.core.tiny import tiny_tracks
from pathline.nn.step_flows import StepBatchNorm, StepFlow
from pathline.sims.walks import simulate_walks
from pathline.track.baselines import ConstantVelocity
from pathline.track.densities import binned, grid_centres
from pathline.track.density_chain import DensityChain
from pathline.track.flowchain import FlowChain
from pathline.track.local_frame import HistoryEncoder

GAUSS = math.log(2 * math.pi)


class Moving(StepFlow):
    """x_t = x_{t-1} + m_t."""

    def __init__(self, moves: Tensor) -> None:
        super().__init__()
        self.moves = moves[:, None]

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = slice(None)) -> tuple[Tensor, Tensor]:
        return x - self.moves[at], x.new_zeros(x.shape[:-1])

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = slice(None)) -> tuple[Tensor, Tensor]:
        return z + self.moves[at], z.new_zeros(z.shape[:-1])


def random_chain(**config: object) -> DensityChain:
    """Weights large enough to bend, and running statistics."""
    torch.manual_seed(0)
    chain = DensityChain(2, 4, 3, width=16, **config)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in chain.flow.named_parameters():
            if "beta" not in name and "gamma" not in name:
                parameter.add_(0.25 * torch.randn_like(parameter))
    for layer in chain.modules():
        if isinstance(layer, StepBatchNorm):
            layer.variance.fill_(0.8)
    return chain.eval()


def normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * ((x - mean).square() / variance + variance.log() + GAUSS).sum(-1)


def test_a_chain_of_shifts_gives_gaussians_and_follows_an_observation() -> None:
    torch.manual_seed(0)
    moves = torch.randn(5, 2)
    chain = DensityChain(2, 5, 1).double()
    chain.flow = Moving(moves.double())
    with torch.no_grad():
        chain.variance.copy_(torch.rand(5, 2) + 0.1)
    start, c = torch.tensor([[0.5, -1.0]]).double(), torch.zeros(1, 1).double()
    samples = chain.sample(c, start, 300, torch.Generator().manual_seed(0))
    for t in range(5):
        exact = normal(samples.states[:, :, t], start + moves[: t + 1].sum(0), chain.variance[0])
        assert torch.allclose(samples.log_density()[..., t], exact, atol=1e-5)
    seen = torch.tensor([[1.3, 0.2]]).double()
    updated = chain.update(samples, 2, seen, renormalise=False)
    for t in range(2, 5):
        exact = normal(samples.states[:, :, t], seen + moves[2 : t + 1].sum(0), chain.variance[2])
        assert torch.allclose(updated[..., t - 2], exact.clamp(min=-60), atol=1e-5)
    scaled = chain.update(samples, 2, seen)
    assert torch.allclose(torch.logsumexp(scaled[..., 0], 1), torch.logsumexp(samples.base, 1), atol=1e-6)
    gap = (scaled - updated)[updated > -50]
    assert (gap - gap[0]).abs().max() < 1e-6, "renormalising changes no ratio"
    averaged = samples.log_density(average=True)
    assert torch.allclose(averaged, samples.log_density()), "with volumes of 0 their mean is their sum"


@pytest.mark.parametrize("kind", ["coupling", "coupling with batch norm", "autoregressive"])
def test_without_index_samples_and_densities_are_one_law(kind: str) -> None:
    chain = random_chain(architecture=kind.split()[0], batch_norm="norm" in kind)
    with torch.no_grad():
        chain.variance.fill_(0.5)
    c, start = torch.randn(1, 3), torch.zeros(1, 2)
    samples = chain.sample(c, start, 40_000, torch.Generator().manual_seed(1))
    for t in (0, 3):
        drawn = samples.states[0, :, t].detach()
        low, high = drawn.quantile(0.001, 0) - 0.8, drawn.quantile(0.999, 0) + 0.8
        places = grid_centres(low, high, 60)
        at = torch.full((len(places),), t)
        with torch.no_grad():
            density = chain.log_density(places, at, c.expand(len(places), -1), start.expand(len(places), -1)).exp()
        mass = density * ((high - low) / 60).prod()
        assert mass.sum().item() == pytest.approx(1, abs=0.02)
        coarse = mass.view(20, 3, 20, 3).sum((1, 3)).flatten()
        assert 0.5 * (coarse - binned(drawn, low, high, 20)).abs().sum() < 0.05
        # and the density that comes with each sample is that of the grid's formula
        few = samples.states[0, :50, t]
        found = chain.log_density(few, torch.full((50,), t), c.expand(50, -1), start.expand(50, -1))
        assert torch.allclose(found, samples.log_density()[0, :50, t], atol=1e-3)
    shares = samples.volumes[0, :50].cumsum(-1) / torch.arange(1, 5)
    assert torch.allclose(samples.log_density(average=True)[0, :50], samples.base[0, :50, None] + shares, atol=1e-5)


def test_the_encoder_sees_neighbours_and_not_their_padding() -> None:
    data = tiny_tracks()
    torch.manual_seed(0)
    encoder = HistoryEncoder(data.dims, 8, 4)
    given = data.gather(torch.arange(40))
    unit = torch.tensor(1.0)
    known = encoder(given, unit)
    seen = given.past_observed[:, 1:].any(-1)
    moved = given.past.clone()
    moved[:, 1:] += seen[..., None, None] * 1.0
    changed = (encoder(replace(given, past=moved), unit) - known).abs().amax(1) > 1e-5
    assert torch.equal(changed, seen.any(1))
    padded = given.past.clone()
    padded[:, 1:] += ~given.past_observed[:, 1:, :, None] * 9.0
    assert torch.equal(encoder(replace(given, past=padded), unit), known)


def test_samples_of_velocities_are_weighed_by_densities_of_velocities() -> None:
    torch.manual_seed(0)
    method = FlowChain.for_data(tiny_tracks(), state="velocity", width=8, condition=4, hidden=8, index=0).eval()
    given = tiny_tracks().gather(torch.arange(2))
    forecast = method.densities(given, 200)
    seen = given.future[:, 0, :2]
    weights = method.importance(forecast, seen)
    new = method._updated(forecast, seen, renormalise=False)[..., 0]
    old = forecast.samples.log_density()[..., 2]
    assert torch.allclose(weights, torch.softmax(new - old, 1)) and weights.std() > 0
    with pytest.raises(MethodError, match="only with state='position'"):
        method.update(forecast, seen)


def test_the_transition_is_the_density_of_one_link() -> None:
    chain = random_chain()
    c, start, x = torch.randn(6, 3), torch.randn(6, 2), torch.randn(6, 4, 2)
    found = chain.transitions(x, c, start)
    for t in range(4):
        u, volume = chain.flow(x[None, :, t], c[None], slice(t, t + 1))
        before = start if not t else x[:, t - 1]
        exact = normal(u[0], before, chain.variance[t].clamp(min=1e-4)) + volume[0]
        assert torch.allclose(found[:, t], exact, atol=1e-5)


def test_with_previous_a_flow_sees_earlier_states_only() -> None:
    chain = random_chain(previous=True, index=None)
    c, start, x = torch.randn(6, 3), torch.randn(6, 2), torch.randn(6, 4, 2)
    found = chain.transitions(x, c, start)
    later = x.clone()
    later[:, 2] += 1
    moved = chain.transitions(later, c, start) - found
    assert torch.equal(moved[:, :2], torch.zeros(6, 2)) and (moved[:, 3].abs() > 1e-4).all()
    with pytest.raises(ValueError, match="what came before it is not known"):
        chain.log_density(x[:, 0], torch.zeros(6).long(), c, start)
    shown = chain._given(c, x)
    samples = chain.sample(c, start, 2, torch.Generator().manual_seed(0))
    assert shown.shape == (4, 6, 3 + 8) and samples.states.isfinite().all()
    # what a chain is shown while it samples is what it has sampled
    states = samples.states[:, 0]
    given = chain._given(c, states)
    u, _ = chain.flow(states.transpose(0, 1), given)
    assert torch.allclose(u[1:].transpose(0, 1), states[:, :-1], atol=1e-3)


@pytest.fixture(scope="module")
def fitted() -> FlowChain:
    data = simulate_walks("fork", 200, seed=1).tracks()
    return FlowChain.seeded(data, 0, width=16, condition=6, hidden=16).fit(data, steps(60))


def test_an_update_asks_neither_the_encoder_nor_a_flow(fitted: FlowChain) -> None:
    window = simulate_walks("fork", 5, seed=2).tracks().gather(torch.arange(3))
    forecast = fitted.densities(window, 500)
    before = fitted.encodings, fitted.chain.calls
    assert before[1] >= 12
    updated = fitted.update(forecast, window.future[:, 0, :3])
    assert (fitted.encodings, fitted.chain.calls) == before
    assert updated.shape == (3, 500, 9) and updated.isfinite().all()
    weights = fitted.importance(forecast, window.future[:, 0, :3])
    assert torch.allclose(weights.sum(1), torch.ones(3)) and (fitted.encodings, fitted.chain.calls) == before
    with pytest.raises(MethodError, match="see 1 or more"):
        fitted.update(forecast, window.future[:, 0])


def test_what_was_seen_moves_the_weight_to_samples_that_went_there(fitted: FlowChain) -> None:
    window = simulate_walks("fork", 5, seed=3).tracks().gather(torch.arange(1))
    forecast = fitted.densities(window, 4000)
    path = forecast.positions[:, 17, :4]
    weights = fitted.importance(forecast, path)
    before = (forecast.positions[:, :, 4] - path[:, None, 3]).norm(dim=-1)
    assert (weights * before).sum() < 0.9 * before.mean()


def test_densities_in_metres_are_densities_in_metres(fitted: FlowChain) -> None:
    """On a grid of square metres in the world, the density at a step sums to 1."""
    walks = simulate_walks("crossroads", 30, seed=4)
    window = walks.tracks().gather(torch.tensor([3]))
    drawn = fitted.densities(window, 4000).positions[0, :, 5]
    low, high = drawn.amin(0) - 0.7, drawn.amax(0) + 0.7
    places = grid_centres(low, high, 40)
    many = window.map(lambda tensor: tensor.expand(len(places), *tensor.shape[1:]))
    future = many.future.clone()
    future[:, 0, 5] = places
    with torch.no_grad():
        found = fitted.log_density(replace(many, future=future), torch.Generator().manual_seed(0))[:, 5]
    mass = found.exp() * ((high - low) / 40).prod()
    assert mass.sum().item() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    "config",
    [
        {"index": 0},
        {"previous": True},
        {"state": "velocity"},
        {"architecture": "autoregressive"},
        {"chain_weight": 0.0, "dequantise": 0.01, "batch_norm": True},
        {"average": True},
    ],
)
def test_every_variant_learns_and_forecasts(config: dict[str, object]) -> None:
    data = tiny_tracks()
    method = FlowChain.seeded(data, 0, width=8, condition=4, hidden=8, **config)
    batch = data.gather(torch.arange(64))

    def loss() -> float:
        torch.manual_seed(3)
        return float(method.train().loss(batch)["loss"].detach())

    before = loss()
    method.fit(data, steps(60))
    assert loss() < before - 0.1
    found = method.forecast(batch, 7)
    assert found.positions.shape == (64, 7, 1, 6, 2) and found.log_density is not None
    truth = method.log_density(batch, torch.Generator().manual_seed(0))
    assert truth.shape == (64, 6) and truth.isfinite().all()


def test_velocities_accumulate_to_the_positions_they_came_from() -> None:
    method = FlowChain.for_data(tiny_tracks(), state="velocity", width=8, condition=4, hidden=8)
    local = torch.randn(3, 5, 6, 2)
    assert torch.allclose(method._positions(method._states(local)), local, atol=1e-5)


def test_turning_and_moving_the_world_turns_and_moves_the_forecast(fitted: FlowChain) -> None:
    window = simulate_walks("fork", 5, seed=5).tracks().gather(torch.arange(4))
    angle = torch.tensor(0.7)
    turn = torch.tensor([[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]])
    moved = replace(window, past=window.past @ turn + 5)
    gap = fitted.forecast(moved, 6).positions - (fitted.forecast(window, 6).positions @ turn + 5)
    assert gap.abs().max() < 1e-3


def test_unknown_words_are_named() -> None:
    check: Callable[..., FlowChain] = FlowChain.for_data
    with pytest.raises(MethodError, match="state is 'speed'; choose position or velocity"):
        check(tiny_tracks(), state="speed")
    with pytest.raises(MethodError, match="choose coupling or autoregressive"):
        check(tiny_tracks(), architecture="spline")


def test_a_fork_is_forecast_as_two_ways() -> None:
    """The density lies between the truth and the best single Gaussian, and holds little between the ways."""
    walks = simulate_walks("fork", 900, seed=6)
    data = walks.tracks()
    train, test = data.select(torch.arange(800)), data.select(torch.arange(800, 900))
    method = FlowChain.seeded(train, 0, width=16, condition=8, hidden=16).fit(train, steps(200), lr=1e-2)
    window = test.gather(torch.arange(100))
    with torch.no_grad():
        found = -float(method.log_density(window, torch.Generator().manual_seed(0)).mean())
    one = ConstantVelocity.for_data(train).fit(train)
    gaussian = -float(one.log_density(window, torch.Generator()).mean())
    truth = -float(walks.future_density(torch.arange(800, 900)).log_density(walks.positions[800:, 8:]).mean())
    assert truth < found < gaussian - 0.3, (truth, found, gaussian)
    last = method.densities(window.part(0, 100), 2000).positions[0, :, -1]
    way = torch.atan2(*(last - window.past[0, 0, -1]).T.flip(0)).rad2deg()
    assert (way > 15).float().mean() > 0.3 and (way < -15).float().mean() > 0.2
    assert (way.abs() < 10).float().mean() < 0.3, (truth, found, gaussian)
