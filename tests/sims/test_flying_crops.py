"""Flying crops and tiny movers: the motion that is said is the motion that is shown."""

import pytest
import torch
from torch.nn import functional as F

from pathline.nn.warp import pixel_grid, sample_at
from pathline.perceive.flow_estimation import photometric_error
from pathline.sims.flying_crops import PARTS, PHOTOGRAPHS, flying_crops, flying_crops_in_parts, tiles
from pathline.sims.tiny_targets import tiny_targets

pytest.importorskip("skimage")


def test_the_second_picture_drawn_back_along_the_flow_is_the_first():
    """Where it is not hidden: half of all pixels differ by less than interpolation blurs; without motion many do."""
    crops = flying_crops(24, seed=1, light=0.0)
    batch = crops.gather(torch.arange(24))
    errors = {}
    for name, flow in (("true", batch.flow), ("still", 0 * batch.flow), ("opposite", -batch.flow)):
        back = sample_at(batch.images[:, 1], pixel_grid(64, 64) + flow, "border")
        errors[name] = 255 * (back - batch.images[:, 0]).abs().mean(1)
    assert float(errors["true"].median()) < 2
    true, still, opposite = (float(error.mean()) for error in errors.values())
    assert true < 0.5 * still < 0.5 * opposite


def test_no_point_moves_farther_than_said_and_motion_breaks_at_edges():
    crops = flying_crops(32, seed=2, largest=5.0)
    assert 4 < float(crops.flow.norm(dim=1).max()) <= 5 + 1e-4
    assert float(crops.flow.diff(dim=-1).abs().max()) > 1
    smooth = crops.flow.diff(dim=-1).abs().amax(1)
    assert float((smooth < 0.3).float().mean()) > 0.8


def test_light_may_change_between_the_pictures():
    dark, plain = (flying_crops(8, seed=3, light=light) for light in (0.3, 0.0))
    assert torch.equal(dark.images[:, 0], plain.images[:, 0]) and torch.equal(dark.flow, plain.flow)
    assert float((dark.images[:, 1].float() - plain.images[:, 1].float()).abs().mean()) > 5


def test_no_photograph_serves_two_parts_and_a_split_takes_them_apart():
    names = [name for part in PARTS for name in PHOTOGRAPHS[part]]
    assert len(names) == len(set(names))
    crops = flying_crops_in_parts(6, 2, 3, size=32, seed=4)
    split = crops.split()
    assert [len(part) for part in (split.train, split.validation, split.test)] == [6, 2, 3]
    assert torch.equal(split.test.images, flying_crops(3, 32, 4, "test").images)


def test_the_same_seed_draws_the_same_pairs_whatever_the_global_generator_did():
    torch.manual_seed(1)
    first = flying_crops(3, 32, seed=5)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(flying_crops(3, 32, seed=5).images, first.images)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(flying_crops(3, 32, seed=6).images, first.images)


def test_textures_are_no_plain_walls():
    for part in PARTS:
        assert len(tiles(part)) > 20 and float(tiles(part).float().std((1, 2, 3)).min()) > 5


# -- tiny movers ------------------------------------------------------------------------------------------------------


def test_without_jitter_flicker_and_noise_only_the_mover_changes_and_it_is_where_it_is_said():
    scenes = tiny_targets(16, seed=0, flicker=0.0, jitter=0.0, noise=0.0, contrast=(0.1, 0.1))
    change = (scenes.frames[:, 1] - scenes.frames[:, 0])[:, 0].abs()
    distance = (pixel_grid(64, 64) - scenes.centre[..., None, None]).norm(dim=1)
    assert float(change[distance > 8].max()) < 1e-5
    assert float(change.flatten(1).amax(1).median()) > 0.05
    near = torch.where(distance <= 2, change, 0).flatten(1).amax(1)
    assert float((near > 0.04).float().mean()) == 1


def test_the_area_of_a_mover_is_two_to_three_pixels_squared():
    with_, without = (
        tiny_targets(32, seed=1, flicker=0.0, noise=0.0, contrast=(size, size)).frames[:, 0] for size in (0.05, 0.0)
    )
    area = (with_ - without).abs().sum((1, 2, 3)) / 0.05
    assert 3.9 < float(area.median()) < 9.1 and float(area.max()) < 9.1


def test_flicker_changes_the_light_of_the_whole_second_frame():
    scenes = tiny_targets(64, seed=2, jitter=0.0, noise=0.0)
    bright = scenes.frames.flatten(2).mean(2)
    ratio = bright[:, 1] / bright[:, 0]
    assert 0.79 < float(ratio.min()) < 0.9 and 1.1 < float(ratio.max()) < 1.21


def test_jitter_shifts_the_scene_by_less_than_a_pixel():
    scenes = tiny_targets(16, seed=3, flicker=0.0, noise=0.0)
    assert float(photometric_error(scenes.frames, torch.zeros(16, 2, 64, 64)).mean()) > 0.5
    assert float(F.l1_loss(scenes.frames[:, 0], scenes.frames[:, 1])) < 0.1
