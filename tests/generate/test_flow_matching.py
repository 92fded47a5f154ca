"""Flow matching in the room: what a fitted flow samples, how likely it says data are, and what it costs."""

import math

import pytest
import torch
from torch import Tensor, nn

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.data import Samples
from pathline.generate.flow_matching import FlowMatching
from pathline.sims.points import points

CLOUDS = points("eight-gaussians", 2000, 0)
MEAN, ROOT = torch.tensor([3.0, -1.0]), torch.tensor([[2.0, 0.0], [0.6, 0.3]])


class StandardNormalField(nn.Module):
    """The exact velocity of the straight path from N(0, I) to N(0, I): x (2t - 1) / (t^2 + (1 - t)^2)."""

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        t = t.reshape(-1, *[1] * (x.ndim - 1))
        return x * (2 * t - 1) / (t**2 + (1 - t) ** 2)


def exact(values: Tensor, **config) -> FlowMatching:
    """A flow whose scaled law is standard normal."""
    method = FlowMatching.seeded(Samples(values=values), 0, width=8, depth=1, **config).eval()
    method.network = StandardNormalField()
    return method


def trained(data: Samples = CLOUDS, count: int = 300, seed: int = 0, **config) -> FlowMatching:
    method = FlowMatching.seeded(data, seed, width=64, depth=2, **config)
    return method.fit(data, steps(count), seed=seed, batch_size=256, lr=3e-3, warmup=20, ema=0.98, precision="fp32")


@pytest.mark.parametrize(
    ("path", "objective"), [("ot", "velocity"), ("vp", "velocity"), ("vp", "noise"), ("ve", "noise")]
)
def test_every_path_and_objective_learns_eight_clouds(path, objective):
    method = trained(classes=0, path=path, objective=objective, steps=32)
    centres = torch.stack([CLOUDS.values[CLOUDS.labels == k].mean(0) for k in range(8)])
    distance, nearest = torch.cdist(method.sample(1500), centres).min(1)
    assert torch.bincount(nearest, minlength=8).min() > 0.4 * 1500 / 8  # no cloud is missed
    assert (distance < 1).float().mean() > 0.6  # of noise with the mean and variance of the data it is 0.2


def test_network_calls_are_counted_as_they_are_made():
    method = FlowMatching.seeded(CLOUDS, 0, width=8, depth=1).eval()
    seen = []
    method.network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    for options in ({"steps": 5}, {"steps": 3, "solver": "euler"}, {"steps": 4, "guidance": 2.0}, {"solver": "dopri5"}):
        seen.clear()
        assert method.draw(10, **options).evaluations == sum(seen) / 10, options
    assert method.draw(10, steps=5).evaluations == 10


def test_the_density_is_in_the_units_of_the_data():
    generator = torch.Generator().manual_seed(0)
    method = exact(torch.randn(20_000, 2, generator=generator) * torch.tensor([30.0, 0.2]) + MEAN)
    x = MEAN + torch.randn(50, 2, generator=generator) * torch.tensor([30.0, 0.2])
    law = torch.distributions.Independent(torch.distributions.Normal(method.shift, method.scale), 1)
    assert torch.allclose(method.log_density(x), law.log_prob(x), atol=2e-3)


def test_the_density_of_a_trained_flow_integrates_to_one_and_prefers_its_data():
    method = trained(classes=0, count=150)
    axis = torch.linspace(-7, 7, 71)
    density = method.log_density(torch.cartesian_prod(axis, axis), solver="midpoint", steps=20).exp()
    assert float(density.sum()) * 0.2**2 == pytest.approx(1, abs=0.03)
    normal = torch.distributions.Normal(CLOUDS.values.mean(0), CLOUDS.values.std(0))
    gain = method.log_density(CLOUDS.values[:200]) - normal.log_prob(CLOUDS.values[:200]).sum(1)
    assert gain.mean() > 0.3


def test_bits_per_dimension_follow_from_the_density_of_a_level():
    generator = torch.Generator().manual_seed(1)
    grey = torch.randint(0, 16, (400, 3), generator=generator).float()
    data = Samples(values=grey, bounds=(0.0, 15.0))
    method = FlowMatching.seeded(data, 0, width=8, depth=1, levels=16).eval()
    method.network = StandardNormalField()
    # Scaled to [-1, 1] a level is 2 / 15 wide; E log N(x; 0, 1) over uniform levels, spread over their width.
    second = float(((torch.arange(16) - 7.5) / 7.5).square().mean()) + (2 / 15) ** 2 / 12
    expected = (0.5 * math.log(2 * math.pi) + 0.5 * second - math.log(2 / 15)) / math.log(2)
    assert method.bits_per_dimension(data) == pytest.approx(expected, abs=0.05)
    spread = method.dequantised(grey) - grey
    assert spread.abs().max() <= 0.5 and float(spread.std()) == pytest.approx(1 / math.sqrt(12), rel=0.1)
    with pytest.raises(DataError, match="levels"):
        exact(grey).bits_per_dimension(data)


def test_labels_choose_the_cloud_and_guidance_goes_further():
    method = trained(count=400)
    centres = torch.stack([CLOUDS.values[CLOUDS.labels == k].mean(0) for k in range(8)])
    plain, guided = method.draw(1500), method.draw(1500, guidance=2.0)
    assert torch.equal(plain.labels, guided.labels)
    assert (torch.cdist(plain.values, centres).argmin(1) == plain.labels).float().mean() > 0.85

    def reach(drawn):
        """How far samples lie in the direction of their own cloud, which is 4 from the middle."""
        return float((drawn.values * centres[drawn.labels] / 4).sum(1).mean())

    assert reach(guided) > reach(plain) + 0.15


def test_optimal_transport_within_batches_straightens_the_paths():
    def detour(coupling: str) -> float:
        paths = trained(classes=0, coupling=coupling, steps=16).paths(400)
        length = (paths[1:] - paths[:-1]).norm(dim=-1).sum(0)
        return float((length / (paths[-1] - paths[0]).norm(dim=-1)).median()) - 1

    assert detour("ot") < 0.5 * detour("independent")


def test_training_hides_labels_as_often_as_it_says():
    method = FlowMatching.seeded(CLOUDS, 0, width=8, depth=1, drop_label=0.3)
    seen = []
    method.network.register_forward_hook(lambda m, i, k, o: seen.append(k["label"]), with_kwargs=True)
    torch.manual_seed(0)
    for batch in CLOUDS.batches(500, torch.Generator().manual_seed(0)):
        method.loss(batch)
    hidden = (torch.cat(seen) == 8).float().mean()
    assert float(hidden) == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 2000))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"objective": "noise"}, "path=vp"),
        ({"path": "ve"}, "objective=noise"),
        ({"path": "cosine"}, "choose one of ot, vp, ve"),
        ({"solver": "rk45"}, "dopri5"),
        ({"coupling": "greedy"}, "independent, ot"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_way_out(config, message):
    with pytest.raises(MethodError, match=message):
        FlowMatching(shape=[2], **config)


def test_unknown_settings_of_sampling_and_wrong_values_are_named():
    method = FlowMatching.seeded(CLOUDS, 0, width=8, depth=1).eval()
    with pytest.raises(MethodError, match="'temperature'"):
        method.sample(2, temperature=0.5)
    with pytest.raises(DataError, match="finite"):
        method.log_density(torch.full((2, 2), math.nan))
