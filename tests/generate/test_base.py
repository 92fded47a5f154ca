"""What every generator of the room promises, tested on a generator that is one formula."""

import math
from dataclasses import replace

import pytest
import torch

from pathline.core.errors import DataError, MethodError
from pathline.data import Samples
from pathline.data.sets import load
from pathline.generate.base import PART, Generator, distances
from pathline.generate.baselines import Gaussian
from pathline.generate.flow_matching import FlowMatching
from pathline.generate.networks import velocity_network
from pathline.nn import DiT, ResidualMLP, UNet
from pathline.sims.points import points

MOONS = points("two-moons", 600, 0)


@pytest.fixture(scope="module")
def moons() -> Generator:
    return FlowMatching.seeded(MOONS, 0, width=16, depth=1, steps=2).eval()


def test_the_seed_decides_the_samples_and_nothing_else_does(moons):
    state = torch.get_rng_state()
    first = moons.sample(30, seed=4)
    torch.manual_seed(99)
    assert torch.equal(first, moons.sample(30, seed=4))
    assert not torch.equal(first, moons.sample(30, seed=5))
    torch.set_rng_state(state)
    moons.sample(3)
    assert torch.equal(state, torch.get_rng_state())


def test_large_draws_are_carried_in_parts_that_change_nothing(moons):
    noise, labels, steps = moons._prepare(PART + 7, None, 3, None)
    whole = moons.unscaled(moons.carry(noise, labels, steps).states[-1])
    assert torch.allclose(moons.sample(PART + 7, seed=3), whole, atol=1e-5)


def test_paths_begin_at_the_noise_and_end_at_the_samples(moons):
    paths = moons.paths(20, steps=3, seed=8)
    assert paths.shape == (4, 20, 2)
    assert torch.allclose(paths[-1], moons.sample(20, steps=3, seed=8), atol=1e-6)
    noise = moons._prepare(20, 3, 8, None)[0]
    assert torch.allclose(moons.scaled(paths[0]), noise, atol=1e-5)


def test_labels_are_drawn_as_often_as_in_training_or_as_asked(moons):
    skewed = replace(MOONS, labels=(torch.arange(600) % 4 == 0).long())
    method = Gaussian.for_data(skewed)
    drawn = method.draw(4000).labels
    assert float(drawn.float().mean()) == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 4000))
    assert (method.draw(5, labels=1).labels == 1).all()
    assert method.draw(2, labels=torch.tensor([1, 0])).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(0), "asked for 0 samples"),
        (lambda m: m.sample(3, steps=0), "0 steps"),
        (lambda m: m.sample(3, labels=2), r"labels 2 \.\. 2"),
        (lambda m: m.sample(3, labels=torch.tensor([0, 1])), r"expected \(3,\)"),
        (lambda m: m.evaluate(MOONS.take(torch.tensor([0]))), "at least 2"),
        (lambda m: m.evaluate(load("digits")), "made for"),
        (lambda m: Gaussian.for_data(MOONS, classes=0).sample(3, labels=1), "without classes"),
        (lambda m: Gaussian.for_data(replace(MOONS, labels=None), classes=2), "no labels"),
    ],
)
def test_what_cannot_be_done_is_said(moons, call, message):
    with pytest.raises(DataError, match=message):
        call(moons)


def test_data_are_scaled_by_their_bounds_or_by_their_spread():
    digits = Gaussian.for_data(replace(load("digits").take(torch.arange(50)), bounds=(-3.0, 5.0)))
    assert torch.equal(digits.scaled(torch.tensor(5.0)), torch.ones(1, 8, 8))
    table = Gaussian.for_data(replace(MOONS, values=MOONS.values * torch.tensor([100.0, 0.0]) + 7))
    scaled = table.scaled(MOONS.values * torch.tensor([100.0, 0.0]) + 7)
    assert torch.allclose(scaled.std(0, correction=0), torch.tensor([1.0, 0.0]), atol=1e-4)  # a constant column stays
    assert torch.allclose(table.unscaled(scaled), MOONS.values * torch.tensor([100.0, 0.0]) + 7, atol=1e-4)


def test_evaluation_prefers_real_samples_and_puts_the_frechet_distance_first_where_there_are_features():
    digits = load("digits")
    near = distances(digits.values[:900], digits)
    far = distances(digits.values[:900].roll(2, dims=-1), digits)
    assert list(near) == ["frechet_distance", "sliced_w2"]
    assert far["frechet_distance"] > 10 * near["frechet_distance"] and far["sliced_w2"] > 2 * near["sliced_w2"]
    assert list(Gaussian.for_data(MOONS).evaluate(MOONS)) == ["sliced_w2", "network_calls"]
    assert distances(torch.full((3, 2), math.nan), MOONS) == {"sliced_w2": math.inf}


def test_a_table_has_a_row_per_item_and_the_same_labels(moons):
    table = moons.predict(MOONS)
    assert list(table.columns) == ["x", "y", "label"] and len(table) == 600
    assert table["label"].tolist() == MOONS.labels.tolist()
    pictures = load("digits").take(torch.arange(4))
    assert Gaussian.for_data(pictures, classes=0).predict(pictures).shape == (4, 64)


@pytest.mark.parametrize(
    ("shape", "network", "kind"),
    [
        ((2,), "auto", ResidualMLP),
        ((1, 8, 8), "auto", ResidualMLP),
        ((1, 12, 12), "auto", UNet),
        ((1, 8, 8), "unet", UNet),
        ((1, 8, 8), "dit", DiT),
    ],
)
def test_the_network_follows_the_shape_unless_it_is_chosen(shape, network, kind):
    net = velocity_network(shape, network, width=16, depth=1, classes=3, interval=True)
    assert isinstance(net, kind)
    x, t = torch.randn(2, *shape), torch.rand(2)
    assert net(x, t, t, torch.tensor([0, 2])).shape == x.shape


def test_a_network_that_does_not_fit_is_refused():
    with pytest.raises(MethodError, match="needs images"):
        velocity_network((5,), "unet")
    with pytest.raises(MethodError, match="do not tile"):
        velocity_network((1, 7, 7), "dit")
    with pytest.raises(MethodError, match="choose auto"):
        velocity_network((5,), "resnet")


@pytest.mark.parametrize("data", [MOONS, load("digits").take(torch.arange(60))], ids=["plane", "images"])
def test_pictures_are_drawn_for_points_and_images(data: Samples):
    flow = FlowMatching.seeded(data, 0, width=16, depth=1, steps=2)
    methods = {"gaussian": Gaussian.for_data(data), "flow-matching": flow}
    samples, journey, calls = Generator.figures(methods, data)
    assert journey.animation is not None and journey.animation.count == 17
    assert len(journey.animation.draw(3).axes) == 2
    assert len(samples.picture.axes) == 3 and "real" in samples.picture.axes[0].get_title()
    (curve,) = [line for line in calls.picture.axes[0].lines if line.get_marker() == "o"]
    assert curve.get_xdata().tolist() == [2, 4, 8, 16, 32] if hasattr(curve.get_xdata(), "tolist") else True
