"""Invertible layers: round trips, determinants against brute force, and smoothness where it is promised."""

import pytest
import torch

from pathline.nn import (
    Affine,
    BoxToSpace,
    Coupling,
    InvertibleSequence,
    Residual,
    Rotation,
    ShallowResidual,
    SpaceToBox,
    Stretch,
    SumOfSigmoids,
    jacobian_of,
)

CONDITION = 3
LAYERS = {
    "coupling": lambda: Coupling(3, CONDITION, width=16),
    "coupling, flipped": lambda: Coupling(3, CONDITION, width=16, flip=True),
    "rotation": lambda: Rotation(3, CONDITION),
    "affine": lambda: Affine(3, CONDITION),
    "shift": lambda: Affine(3, CONDITION, scales=False),
    "sigmoids": lambda: SumOfSigmoids(3, CONDITION),
    "residual": lambda: Residual(3, CONDITION, width=16),
    "torus": lambda: Residual(3, CONDITION, width=16, periodic=True),
    "box to space": lambda: BoxToSpace([-4.0] * 3, [4.0] * 3),
    "space to box": lambda: SpaceToBox([-1.0, 0, 2], [1.0, 3, 4]),
    "shallow residual": lambda: ShallowResidual(3, CONDITION, width=16),
    "stretch": lambda: Stretch(3, CONDITION),
    "sequence": lambda: InvertibleSequence([Coupling(3, CONDITION), Rotation(3, CONDITION), Residual(3, CONDITION)]),
}


def built(name):
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    for parameter in layer.parameters():  # larger than at the start, so that nothing is nearly the identity
        parameter.data.mul_(2.0)
    return layer


def points():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(50, 3, generator=generator).double(), torch.randn(50, CONDITION, generator=generator).double()


@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back(name):
    layer, (x, c) = built(name), points()
    z, _ = layer(x, c)
    assert (z - x).abs().max() > 0.01
    torch.testing.assert_close(layer.inverse(z, c), x, atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_the_determinant_is_that_of_the_jacobian(name):
    layer, (x, c) = built(name), points()
    _, found = layer(x, c)
    whole = torch.func.vmap(torch.func.jacrev(lambda p, q: layer(p[None], q[None])[0][0]))(x, c)
    torch.testing.assert_close(found, torch.linalg.slogdet(whole)[1], atol=1e-9, rtol=0)
    if name not in ("rotation", "shift"):
        assert found.std() > 1e-3


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in ("box to space", "space to box")])
def test_the_condition_matters_and_may_be_absent(name):
    layer, (x, c) = built(name), points()
    assert (layer(x, c)[0] - layer(x, -c)[0]).abs().max() > 1e-3
    torch.manual_seed(0)
    free = Coupling(3).double() if name == "coupling" else Residual(3).double()
    torch.testing.assert_close(free.inverse(free(x)[0]), x, atol=1e-8, rtol=0)


def test_only_layers_with_a_formula_say_so():
    assert InvertibleSequence([Coupling(2), Rotation(2), Affine(2)]).analytic
    assert not InvertibleSequence([Coupling(2), Residual(2)]).analytic
    assert not SumOfSigmoids(2).analytic


def test_a_residual_layer_stays_a_contraction_whatever_its_weights():
    layer = built("residual")
    for parameter in layer.layers.parameters():
        parameter.data.mul_(30.0)
    x, c = points()
    _, jacobian = jacobian_of(lambda y: layer.change(y, c), x)
    largest = torch.linalg.matrix_norm(jacobian, 2).max()
    assert 0.05 < largest < layer.contraction


def test_a_torus_map_closes_at_its_seam():
    layer, (x, c) = built("torus"), points()
    turned = x + 2 * torch.pi * torch.tensor([1.0, 0, -2]).double()
    torch.testing.assert_close(layer(turned, c)[0] - layer(x, c)[0], turned - x, atol=1e-9, rtol=0)


def test_a_box_is_filled_and_never_left():
    layer = SpaceToBox([-1.0, 0.0], [1.0, 3.0])
    z, _ = layer(10 * torch.randn(1000, 2))
    assert ((z >= torch.tensor([-1.0, 0])) & (z <= torch.tensor([1.0, 3.0]))).all() and z[:, 1].std() > 1
    with pytest.raises(ValueError, match="low < high"):
        BoxToSpace([0.0], [0.0])
    with pytest.raises(ValueError, match="two dimensions"):
        Coupling(1)
