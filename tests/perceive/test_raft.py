"""RAFT: its sizes, what its parts must do whatever the weights, and that refinement refines."""

import copy

import pytest
import torch
from torch import nn

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.data import Pairs
from pathline.nn.correlation import AllPairs
from pathline.nn.upsampling import convex_upsampled
from pathline.nn.warp import pixel_grid
from pathline.perceive.raft import RAFT
from tests.perceive.moving import moved_pairs, waves


@pytest.fixture
def pairs():
    return moved_pairs(4 * torch.rand(6, 2, generator=torch.Generator().manual_seed(0)) - 2)


def built(seed=0, **options):
    torch.manual_seed(seed)
    return RAFT(**options).eval()


@pytest.mark.parametrize(("size", "parameters", "stride"), [("full", 5_257_536, 8), ("small", 990_162, 8)])
def test_the_published_sizes_have_exactly_the_official_number_of_weights(size, parameters, stride):
    method = RAFT(size=size)
    assert method.parameter_count() == parameters and method.stride == stride
    assert any(isinstance(module, nn.InstanceNorm2d) for module in method.features.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in method.start.modules()) == (size == "full")
    assert (method.iterations, method.test_iterations) == (12, 24)


@torch.no_grad()
def test_every_size_gives_a_flow_for_every_pixel():
    images = waves(torch.ones(1, 2), (64, 72), channels=3)
    for size in ("small", "desk"):
        assert built(size=size, iterations=2).estimate(images).shape == (1, 2, 64, 72)


def test_a_size_that_does_not_exist_is_named():
    with pytest.raises(MethodError, match=r"no size 'huge'.*desk"):
        RAFT(size="huge")


@torch.no_grad()
def test_both_ways_to_look_up_give_the_same_flow():
    images = waves(torch.ones(2, 2), channels=3)
    full, light = built(), built(on_the_fly=True)
    light.load_state_dict(full.state_dict())
    flow = full.estimate(images)
    assert float(flow.std()) > 1e-3
    torch.testing.assert_close(light.estimate(images), flow, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", ["desk", "small"])
def test_without_increments_the_flow_stays_where_it_started(size):
    method = built(size=size)
    nn.init.zeros_(method.head[-1].weight)
    nn.init.zeros_(method.head[-1].bias)
    images = waves(torch.ones(1, 2), channels=3)
    coarse = images.shape[-2] // method.stride, images.shape[-1] // method.stride
    start = torch.tensor([1.5, -0.5]).view(1, 2, 1, 1).expand(1, 2, *coarse)
    fine, last = method.refined(images, iterations=3, start=start)
    assert torch.equal(last, start)
    expected = method.stride * torch.tensor([1.5, -0.5]).view(1, 2, 1, 1)
    torch.testing.assert_close(fine[0], expected.expand_as(fine[0]))
    assert float(method.estimate(images).abs().max()) == 0


@torch.no_grad()
def test_moving_both_pictures_by_the_stride_moves_the_flow_and_changes_nothing_else():
    """Inside; at the border the pictures differ. Instance norms see the whole picture, so they are fixed here."""
    method = built(iterations=2)
    for module in method.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.forward = lambda x: x
    whole = waves(torch.tensor([[1.0, 2.0]]), (96, 112), channels=3)
    shift = method.stride
    here, there = (method.estimate(whole[..., move : 88 + move, move : 104 + move]) for move in (0, shift))
    inside = slice(32, 56), slice(32, 72)
    moved = slice(32 - shift, 56 - shift), slice(32 - shift, 72 - shift)
    expected = here[..., inside[0], inside[1]]
    # the lookup reaches 2^2 x (3 + 1) coarse pixels, beyond the border; what is left of it is small
    torch.testing.assert_close(there[..., moved[0], moved[1]], expected, atol=0.1 * float(expected.std()), rtol=0)
    assert float(expected.std()) > 1e-3


def test_no_gradient_flows_through_where_one_looks():
    """The derivative of the flow with respect to the head's bias is that of one increment, however many there are."""
    method = built(iterations=3).train()
    images = waves(torch.ones(1, 2), channels=3)
    fine, _ = method.refined(images, every=True)
    assert len(fine) == 3
    bias = method.head[-1].bias
    nn.init.zeros_(method.mask[-1].weight)
    one, three = (method.refined(images, iterations=n, every=False)[0][0].sum() for n in (1, 3))
    first, last = (torch.autograd.grad(total, bias)[0] for total in (one, three))
    torch.testing.assert_close(first, last)  # three increments, but only the last one's is differentiated directly
    assert float(first.abs().min()) > 0


def test_the_loss_is_the_weighted_sum_over_iterations_of_what_is_known(pairs):
    method = built(gamma=0.5, iterations=3, noise=0.0).train()
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    batch = pairs.gather(torch.arange(2))
    valid = torch.rand(batch.valid.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    flow = batch.flow.clone()
    flow[0, 0, 0, 0] = 1000.0  # too far to be counted
    batch = type(batch)(batch.images, flow, valid)
    terms = method.loss(batch)
    fine = method.sequence(batch.images.expand(-1, -1, 3, -1, -1))
    counted = valid.clone()
    counted[0, 0, 0] = False
    expected = sum(0.5 ** (2 - i) * (one - flow).abs().mean(1)[counted].mean() for i, one in enumerate(fine))
    torch.testing.assert_close(terms["loss"], expected)


def test_noise_is_drawn_in_training_only(pairs):
    method = built(noise=20.0)
    batch = pairs.gather(torch.arange(2))
    with torch.no_grad():
        assert method.loss(batch)["loss"] == method.loss(batch)["loss"]
        method.train()
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        assert method.loss(batch)["loss"] != method.loss(batch)["loss"]


def test_batch_statistics_can_be_kept():
    method = RAFT(frozen_norm=True).train()
    before = copy.deepcopy(method.start.state_dict())
    method.refined(waves(torch.ones(2, 2), channels=3), iterations=1)
    assert all(torch.equal(value, before[name]) for name, value in method.start.state_dict().items())
    thawed = RAFT().train()
    before = copy.deepcopy(thawed.start.state_dict())
    thawed.refined(waves(torch.ones(2, 2), channels=3), iterations=1)
    assert not all(torch.equal(value, before[name]) for name, value in thawed.start.state_dict().items())


@torch.no_grad()
def test_a_film_is_followed_from_the_flow_before():
    images = waves(torch.tensor([[2.0, 1.0]]), channels=3).expand(3, -1, -1, -1, -1)
    film = Pairs(images=images.contiguous(), consecutive=True)
    cold, warm = built(iterations=2), built(iterations=2, warm_start=True)
    first, second = cold.perceive(film), warm.perceive(film)
    torch.testing.assert_close(first[0], second[0])
    assert float((first[1] - second[1]).abs().max()) > 1e-4
    torch.testing.assert_close(warm.perceive(film), second)  # no trace of the film before


def test_after_training_more_iterations_are_better():
    """Also that it learns at all: the shifts of these textures, to a fraction of what standing still would miss."""
    generator = torch.Generator().manual_seed(0)
    shifts = 8 * torch.rand(64, 2, generator=generator) - 4
    data = moved_pairs(shifts, size=(32, 32), seed=1)
    method = RAFT.seeded(data, 0, iterations=4, noise=0.0)
    method.fit(data, steps(100), seed=0, lr=2e-3, batch_size=8)
    held = moved_pairs(shifts[:16].flip(0), size=(32, 32), seed=2)
    errors = {}
    for iterations in (1, 4):
        method.test_iterations = iterations
        errors[iterations] = method.evaluate(held)["epe"]
    still = float(shifts[:16].norm(dim=1).mean())
    assert errors[4] < errors[1] < still
    assert errors[4] < 0.6 * still


def test_one_iteration_is_the_update_of_the_paper():
    """Written out: tanh and relu of the first picture's features, one lookup, one unit, logits damped by 1/4."""
    raft, images = built().eval(), torch.rand(2, 2, 3, 32, 48)
    shown = []
    raft.start.register_forward_hook(lambda _, given, said: shown.append(given[0]))
    with torch.no_grad():
        found, coarse = raft.refined(images, 1)
        scaled = 2 * images - 1
        assert torch.equal(shown[0], scaled[:, 0])  # the context knows nothing of the second picture
        first, second = raft.features(scaled[:, 0]), raft.features(scaled[:, 1])
        hidden, context = raft.start(scaled[:, 0]).split([raft.hidden, raft.context], 1)
        hidden, share = hidden.tanh(), raft.unit.share(context.relu())
        flow = torch.zeros(2, 2, *first.shape[-2:])
        looked = AllPairs(first, second, raft.levels, raft.radius).lookup(pixel_grid(*first.shape[-2:]) + flow)
        hidden = raft.unit(hidden, raft.motion(looked, flow), share)
        flow = raft.head(hidden)
        fine = convex_upsampled(flow, 0.25 * raft.mask(hidden), raft.stride)
    assert torch.allclose(coarse, flow, atol=1e-5) and torch.allclose(found[0], fine, atol=1e-4)
    assert flow.abs().max() > 1e-4
