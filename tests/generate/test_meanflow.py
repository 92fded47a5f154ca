"""Mean flows in the room: one network call does the work of an integral."""

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.data import Samples
from pathline.generate.flow_matching import FlowMatching
from pathline.generate.meanflow import MeanFlow
from pathline.nn import set_math_attention
from pathline.sims.points import points

MEAN, DEVIATION = torch.tensor([1.0, -0.5]), 0.5
CLOUDS = points("eight-gaussians", 2000, 0)
QUICK = {"batch_size": 256, "lr": 3e-3, "warmup": 20, "ema": 0.98}


@pytest.fixture(scope="module")
def normal() -> MeanFlow:
    """Trained both ways on N(MEAN, DEVIATION^2 I); bounds of [-1, 1] leave the data as they are."""
    values = torch.randn(8192, 2, generator=torch.Generator().manual_seed(0))
    values = (values - values.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(values.T))).T
    data = Samples(values=MEAN + DEVIATION * values, bounds=(-1.0, 1.0))  # of exactly these moments
    wide = {"distinct": 0.75, "time_mean": 0.0, "time_deviation": 2.0}  # t = 0 and r = 1 are seen in training
    method = MeanFlow.seeded(data, 0, width=64, depth=1, reversed_share=0.4, **wide)
    return method.fit(data, steps(900), ema=0.99, batch_size=1024, lr=3e-3, warmup=20)


def noise(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))


def test_one_call_equals_the_closed_form_of_a_gaussian(normal):
    x0 = noise(4000)
    with torch.no_grad():
        found = normal.network(x0, torch.zeros(4000), torch.ones(4000))
    exact = MEAN + DEVIATION * x0 - x0  # phi(x0) - x0, since the flow map from t = 0 to 1 is affine
    assert (found - exact).abs().mean() < 0.05
    drawn = normal.sample(20_000)
    assert torch.allclose(drawn.mean(0), MEAN, atol=0.03)
    assert torch.allclose(torch.cov(drawn.T), DEVIATION**2 * torch.eye(2), atol=0.03)  # the noise has variance 1


def test_a_network_trained_both_ways_runs_backwards(normal):
    x0 = noise(2000)
    x1 = normal.unscaled(normal.carry(x0, None, 1).states[-1])
    back = normal.invert(x1)
    assert (back - x0).norm(dim=1).mean() < 0.15
    assert (normal.invert(x1, steps=4) - x0).norm(dim=1).mean() < 0.15


def test_the_same_network_is_an_ordinary_flow_when_a_solver_is_named(normal):
    one, ode = normal.draw(3000, seed=2), normal.draw(3000, steps=16, seed=2, solver="midpoint")
    assert (one.evaluations, ode.evaluations, normal.draw(5, steps=3).evaluations) == (1, 32, 3)
    assert (one.values - ode.values).norm(dim=1).mean() < 0.1


def test_one_step_and_two_steps_agree_where_a_plain_flow_s_do_not():
    options = {"classes": 0, "width": 64, "depth": 1}
    mean_flow = MeanFlow.seeded(CLOUDS, 0, distinct=0.5, **options).fit(CLOUDS, steps(300), **QUICK)
    flow = FlowMatching.seeded(CLOUDS, 0, solver="euler", **options).fit(CLOUDS, steps(300), precision="fp32", **QUICK)

    def gap(method) -> float:
        one, two = method.sample(1500, steps=1), method.sample(1500, steps=2)
        return float(((one - two).norm(dim=1) / two.norm(dim=1)).mean())

    assert gap(mean_flow) <= 0.5 * gap(flow)


def test_guidance_is_inside_the_one_call():
    def reach(**guidance) -> float:
        """How far samples lie in the direction of their own cloud, which is 4 from the middle."""
        method = MeanFlow.seeded(CLOUDS, 0, width=64, depth=1, **guidance).fit(CLOUDS, steps(250), **QUICK)
        centres = torch.stack([CLOUDS.values[CLOUDS.labels == k].mean(0) for k in range(8)])
        drawn = method.draw(1500)
        assert drawn.evaluations == 1
        return float((drawn.values * centres[drawn.labels] / 4).sum(1).mean())

    assert reach(omega=1.5, kappa=0.25) > reach() + 0.2  # an effective scale of 2


def test_training_refuses_a_network_that_cannot_be_differentiated_forwards():
    images = Samples(values=torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    method = MeanFlow.seeded(images, 0, network="dit", width=16, depth=1)
    method.fit(images, steps(1))
    set_math_attention(method.network, False)
    with pytest.raises(MethodError, match="set_math_attention"):
        method.fit(images, steps(1))


def test_with_p_1_the_logged_error_goes_down_while_the_loss_hardly_moves():
    values = MEAN + 0.05 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    data = Samples(values=values, bounds=(-1.0, 1.0))  # so narrow that a place on the way tells the velocity
    method = MeanFlow.seeded(data, 0, width=64, depth=2, power=1.0)
    batch = data.gather(torch.arange(2000))
    torch.manual_seed(0)
    before = method.loss(batch)
    method.fit(data, steps(150), **QUICK)
    torch.manual_seed(0)
    after = method.loss(batch)
    assert 0.7 < after["loss"].item() < 1.05 and 0.95 < before["loss"].item() < 1.05
    assert after["error"] < 0.1 * before["error"]
    names = [name for name in after if name.startswith("error ")]
    assert len(names) == 4 and all(torch.isfinite(after[name]) for name in names)


def test_settings_that_cannot_work_are_refused_with_the_way_out():
    with pytest.raises(MethodError, match="labels"):
        MeanFlow(shape=[2], omega=2.0)
    with pytest.raises(MethodError, match="effective scale"):
        MeanFlow(shape=[2], classes=2, kappa=1.0)
    with pytest.raises(MethodError, match="reversed_share"):
        MeanFlow(shape=[2]).invert(torch.zeros(1, 2))
    with pytest.raises(MethodError, match="part of its training"):
        MeanFlow(shape=[2]).sample(1, guidance=2.0)
