"""ReynoldsFlow: the theorem on a grid, manufactured solutions, and what each part answers to."""

import pytest
import torch
from PIL import Image

from pathline.core.errors import MethodError
from pathline.data import Pairs
from pathline.nn.warp import pixel_grid
from pathline.perceive.encodings import (
    correction_encoding,
    difference_encoding,
    frame_encoding,
    hue_encoding,
    network_encoding,
    optical_flow_encoding,
)
from pathline.perceive.flow_baselines import ZeroFlow
from pathline.perceive.reynoldsflow import (
    ReynoldsFlow,
    length,
    mean_translation,
    poisson_correction,
    residual,
    stretched,
)
from pathline.spaces.helmholtz import centred, edge_gradient, helmholtz, spectral_divergence, weighted_laplacian
from tests.perceive.moving import waves


def frames(first, second):
    return torch.stack([first, second])[None, :, None]


def smooth(height=48, width=56, seed=0):
    """A bright texture without hard edges, between 0.3 and 0.7."""
    return 0.3 + 0.4 * waves(torch.zeros(1, 2), (height, width), seed)[0, 0, 0]


@pytest.mark.parametrize("variant", ["local", "poisson"])
@pytest.mark.parametrize("options", [{}, {"steady": True, "evened": True, "solenoidal": True}])
def test_nothing_moves_between_identical_frames(variant, options):
    method = ReynoldsFlow(variant, **options)
    still = frames(smooth(), smooth())
    assert all(float(part.abs().max()) == 0 for part in method.parts(still))
    red, green, blue = method.encoded(still)[0]
    assert float(red.max()) == float(green.max()) == 0
    assert float(blue.std()) > 0.1


def test_the_poisson_variant_returns_a_manufactured_potential():
    f = 0.2 + 0.8 * torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = pixel_grid(40, 48).double()
    phi = torch.cos(x / 7) * torch.sin(y / 5 + 1) + 0.01 * x
    rho = -weighted_laplacian(phi, f[0, 0])[None, None]
    found = poisson_correction(rho, f, 20)[0]
    expected = centred(*edge_gradient(phi))
    assert float((found - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("variant", ["local", "poisson"])
def test_a_rigid_shift_leaves_little_to_correct(variant):
    """Away from the border, where the second frame shows what the first does not."""
    images = 0.3 + 0.4 * waves(torch.tensor([[0.4, 0.3]]), (48, 56), seed=3)
    _, flow, rest, _ = ReynoldsFlow(variant, warps=4, iterations=60).parts(images)
    inside = (..., slice(6, -6), slice(6, -6))
    assert float(length(rest)[inside].mean()) < 0.15 * float(length(flow)[inside].mean())
    assert float(length(flow)[inside].mean()) == pytest.approx(0.5, rel=0.15)


def test_a_light_that_appears_moves_nothing_but_asks_for_a_correction_where_it_is():
    first = smooth()
    x, y = pixel_grid(48, 56)
    spot = torch.exp(-((x - 30) ** 2 + (y - 20) ** 2) / (2 * 2.5**2))
    images = frames(first, first + 0.2 * spot)
    _, flow, rest, rho = ReynoldsFlow("poisson", alpha=1.0, solenoidal=True).parts(images)
    at = int(length(rest).flatten().argmax())
    assert (at % 56 - 30) ** 2 + (at // 56 - 20) ** 2 <= 6**2  # the flux is steepest on the rim of the spot
    assert float(length(flow).mean()) < 0.2 * float(length(rest).mean())
    place = int(rho.flatten().argmax())
    assert (place % 56 - 30) ** 2 + (place // 56 - 20) ** 2 <= 2**2


def test_the_projected_flow_has_no_divergence_and_is_what_the_projection_leaves():
    images = 0.3 + 0.4 * waves(torch.tensor([[0.4, 0.3]]), (48, 56), seed=3)
    plain, projected = (ReynoldsFlow(solenoidal=solenoidal).parts(images)[1] for solenoidal in (False, True))
    torch.testing.assert_close(projected, helmholtz(plain)[0])
    assert float(spectral_divergence(projected).abs().max()) < 1e-3 * float(spectral_divergence(plain).abs().max())


def test_a_uniform_change_of_light_is_its_own_residual_and_moves_nothing():
    first = smooth().double()
    change = 0.1
    images = frames(first, (1 + change) * first)
    f = images.mean(1)
    rho, _ = residual(images[:, 0], images[:, 1], torch.zeros(1, 2, 48, 56).double())
    torch.testing.assert_close(rho[0, 0], change * first)
    potential_flux = poisson_correction(rho, f, 30)
    assert float(length(potential_flux).max()) > 0
    # on the grid itself: div(f grad phi) = -c f + its mean
    from pathline.spaces.helmholtz import weighted_poisson

    phi = weighted_poisson(-rho[:, 0], f[:, 0], 30)
    expected = -change * first + change * first.mean()
    torch.testing.assert_close(weighted_laplacian(phi, f[:, 0])[0], expected, atol=1e-6, rtol=0)
    stiff = ReynoldsFlow(alpha=1.0).parts(images.float())[1]
    assert float(length(stiff).mean()) < 0.1
    evened = ReynoldsFlow(evened=True).parts(images.float())
    assert float(evened[3].abs().max()) < 1e-5 and float(length(evened[1]).max()) < 1e-3


def test_reynolds_transport_theorem_holds_on_a_moving_box_to_second_order():
    """d/dt of the integral of f over a box that moves with v is the integral of f_t + div(f v), by sums on grids."""
    velocity = (0.3, -0.2)  # the box moves rigidly, f changes for reasons of its own
    errors = []
    for count in (32, 64):
        h = 1 / count
        centre = (torch.arange(count, dtype=torch.float64) + 0.5) * h
        y, x = torch.meshgrid(centre, centre, indexing="ij")

        def f(x, y, t):
            return 1 + torch.sin(3 * x + 2 * t) * torch.cos(2 * y - t)

        def total(t, f=f, x=x, y=y, h=h):
            return float(f(x + velocity[0] * t, y + velocity[1] * t, torch.tensor(t)).sum() * h * h)

        step = h
        left = (total(step) - total(-step)) / (2 * step)
        time = (f(x, y, torch.tensor(step)) - f(x, y, torch.tensor(-step))) / (2 * step)
        wide = torch.arange(-1, count + 1, dtype=torch.float64).add(0.5) * h
        yy, xx = torch.meshgrid(wide, wide, indexing="ij")
        around = f(xx, yy, torch.tensor(0.0))
        flux = velocity[0] * (around[1:-1, 2:] - around[1:-1, :-2]) / (2 * h)
        flux = flux + velocity[1] * (around[2:, 1:-1] - around[:-2, 1:-1]) / (2 * h)
        right = float((time + flux).sum() * h * h)
        errors.append(abs(left - right))
    assert errors[0] < 1e-2 and errors[1] < errors[0] / 3  # a factor 4 for h / 2


def test_the_residual_is_the_theorems_for_a_flow_without_divergence():
    """A frame carried by a rigid shift: f_t + v . grad f vanishes with the shift, and not without it."""
    images = (0.3 + 0.4 * waves(torch.tensor([[0.2, 0.1]]), (48, 56), seed=1)).double()
    inside = (..., slice(2, -2), slice(2, -2))
    true = torch.tensor([0.2, 0.1]).view(1, 2, 1, 1).expand(1, 2, 48, 56).double()
    left = float(residual(images[:, 0], images[:, 1], true)[0][inside].abs().mean())
    without = float(residual(images[:, 0], images[:, 1], 0 * true)[0][inside].abs().mean())
    assert left < 0.05 * without


def test_the_cameras_translation_is_found_and_taken_out():
    images = waves(torch.tensor([[0.7, -0.4], [1.2, 0.3]]), (48, 56), seed=3)
    found = mean_translation(images[:, 0], images[:, 1])[..., 0, 0]
    torch.testing.assert_close(found, torch.tensor([[0.7, -0.4], [1.2, 0.3]]), atol=0.02, rtol=0)
    steady, plain = (ReynoldsFlow(steady=steady) for steady in (True, False))
    camera, flow, _, _ = steady.parts(images)
    assert float(length(flow).mean()) < 0.1 * float(length(plain.parts(images)[1]).mean())
    whole = steady.estimate(images.expand(-1, -1, 3, -1, -1))[..., 8:-8, 8:-8].mean((2, 3))
    torch.testing.assert_close(whole, camera[..., 0, 0], atol=0.1, rtol=0)


def test_a_tiny_mover_stands_out_in_the_correction():
    first = smooth()
    x, y = pixel_grid(48, 56)

    def square(at):
        return (1.5 - (x - at[0]).abs()).clamp(0, 1) * (1.5 - (y - at[1]).abs()).clamp(0, 1)

    images = frames(first + 0.15 * square((20, 25)), first + 0.15 * square((22, 25)))
    speed = length(ReynoldsFlow(alpha=0.3).parts(images)[2])[0, 0]
    at = int(speed.flatten().argmax())
    assert abs(at % 56 - 21) <= 3 and abs(at // 56 - 25) <= 3
    assert float(speed.max()) > 5 * float(speed.flatten().quantile(0.9))


def test_stretching_has_a_floor_and_is_a_percentile_scale_above_it():
    ramp = torch.linspace(0, 2, 1001).view(1, 1, 1, -1)
    out = stretched(ramp, 0.05)
    assert float(out.min()) == 0 and float(out.max()) == 1
    torch.testing.assert_close(out[0, 0, 0, 500], torch.tensor(0.5))
    assert float(stretched(0.001 * ramp, 0.05).max()) <= 0.05


def test_a_film_is_stretched_as_one_and_written_as_the_picture_for_a_detector(tmp_path):
    slow, fast = (0.3 + 0.4 * waves(torch.tensor([[move, 0.0]]), (48, 56), seed=3) for move in (0.2, 0.8))
    images = torch.cat([slow, fast])
    method = ReynoldsFlow()
    alone, film = method.encoded(images)[:, 0], method.encoded(images, clip=True)[:, 0]
    assert float(film[0].mean()) < 0.5 * float(film[1].mean())
    assert float(alone[0].mean()) > 2 * float(film[0].mean())
    method.writers()[".png"](Pairs(images=images, consecutive=True), tmp_path / "seen.png", 0)
    with Image.open(tmp_path / "seen.png") as picture:
        expected = (255 * method.encoded(images, clip=True)[1, :, 5, 7]).round()
        assert picture.size == (56, 96) and list(picture.getpixel((7, 48 + 5))) == expected.tolist()


def test_every_encoding_is_a_picture_and_shows_what_it_says():
    images = 0.3 + 0.4 * waves(torch.tensor([[1.0, 0.5]]), (48, 56), seed=3)
    method = ReynoldsFlow()
    made = {
        "frame": frame_encoding(images),
        "difference": difference_encoding(images),
        "flow": optical_flow_encoding(images),
        "reynolds": method.encoded(images),
        "correction": correction_encoding(images, method),
        "network": network_encoding(images, ZeroFlow()),
    }
    for name, picture in made.items():
        assert picture.shape == (1, 3, 48, 56), name
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1, name
    assert float(made["network"].min()) == 1  # nothing moves: white
    change = (images[:, 1, 0] - images[:, 0, 0]).flatten()
    seen = made["difference"][:, 0].flatten()
    assert bool(((seen > 0.5) == (change > 0)).all()) and float(seen.max() - seen.min()) > 0.9
    grey = made["reynolds"][0, 2]
    assert float(torch.corrcoef(torch.stack([grey.flatten(), images[0, 0, 0].flatten()]))[0, 1]) > 0.99


def test_hue_is_that_of_the_direction():
    """HSV: to the right red, down (90 degrees) between yellow and green, to the left cyan."""
    flow = torch.zeros(1, 2, 1, 200)
    flow[0, 0, 0, 40:100], flow[0, 0, 0, 100:] = 1.0, -1.0
    picture = hue_encoding(flow)[0, :, 0]
    torch.testing.assert_close(picture[:, 50], torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(picture[:, 150], torch.tensor([0.0, 1.0, 1.0]), atol=1e-5, rtol=0)
    assert float(picture[:, 0].max()) == 0


def test_settings_without_meaning_are_named():
    with pytest.raises(MethodError, match="no variant 'spectral'"):
        ReynoldsFlow("spectral")
    with pytest.raises(MethodError, match="epsilon"):
        ReynoldsFlow(epsilon=0.0)
