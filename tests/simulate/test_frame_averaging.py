"""Frame averaging as a simulator: symmetric for any scene and at any layer; its rivals share its network."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.tiny import tiny_rollouts
from pathline.data import Step
from pathline.graph import complete_graph
from pathline.simulate.frame_averaging import FrameAveraging
from pathline.simulate.rivals import GNN, Augmented, Plain


def state(nodes: int = 5, dims: int = 3, batch: int = 4, dtype: torch.dtype = torch.float64) -> Step:
    edge_index = complete_graph(nodes)
    position, velocity = torch.randn(2, batch, nodes, dims, dtype=dtype)
    charge = torch.randn(batch, nodes, 1, dtype=dtype)
    product = charge[:, edge_index[0]] * charge[:, edge_index[1]]
    return Step(position, velocity, charge, edge_index, product, position + velocity, 0.5)


def in_units(method: FrameAveraging) -> FrameAveraging:
    for name, value in (("length", 0.7), ("speed", 1.6), ("motion", 0.4), ("bend", 0.3), ("duration", 0.5)):
        getattr(method.units, name).fill_(value)
    return method


def error(method: FrameAveraging, start: Step, determinant: float) -> float:
    dims = start.position.shape[-1]
    turn = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    turn[:, 0] *= determinant * torch.linalg.det(turn).sign()
    turn, shift = turn.to(start.position), 2 * torch.randn(dims).to(start.position)
    moved = replace(start, position=start.position @ turn.T + shift, velocity=start.velocity @ turn.T)
    with torch.no_grad():
        return float((method.step(moved)[0] - method.step(start)[0] @ turn.T - shift).abs().max())


@pytest.mark.parametrize("levels", ["input", "all"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("nodes", "dims"), [(5, 3), (5, 2), (3, 3), (2, 3), (1, 3), (9, 4)])
def test_predictions_turn_flip_and_shift_with_the_input(levels: str, residual: bool, nodes: int, dims: int) -> None:
    """Also two bodies and one, whose frames positions alone do not define."""
    torch.manual_seed(dims)
    method = in_units(FrameAveraging(dims, 1, 1, 12, 3, levels=levels, residual=residual)).double()  # type: ignore[arg-type]
    for determinant in (1.0, -1.0):
        assert error(method, state(nodes, dims), determinant) < 1e-10


@pytest.mark.parametrize("levels", ["input", "all"])
def test_in_single_precision_too(levels: str) -> None:
    torch.manual_seed(0)
    method = in_units(FrameAveraging(3, 1, 1, 12, 2, levels=levels))  # type: ignore[arg-type]
    assert error(method, state(dtype=torch.float32), -1.0) < 1e-5


@pytest.mark.parametrize("levels", ["input", "all"])
def test_without_flips_a_mirror_image_is_another_scene(levels: str) -> None:
    torch.manual_seed(0)
    method = in_units(FrameAveraging(3, 1, 1, 12, 2, group="SE", levels=levels)).double()  # type: ignore[arg-type]
    assert error(method, state(), 1.0) < 1e-10
    assert error(method, state(), -1.0) > 1e-3


def test_the_same_network_without_frames_is_not_symmetric() -> None:
    torch.manual_seed(0)
    for kind in (Plain, Augmented):
        assert error(in_units(kind(3, 1, 1, 12, 2, levels="input")).double().eval(), state(), 1.0) > 1e-3


def test_the_order_of_the_bodies_does_not_matter() -> None:
    torch.manual_seed(0)
    method, start, order = FrameAveraging(3, 1, 0, 12, 2).double(), state(), torch.randperm(5)
    moved = replace(start, **{n: getattr(start, n)[:, order] for n in ("position", "velocity", "features")})
    with torch.no_grad():
        assert torch.allclose(method.step(moved)[0], method.step(start)[0][:, order], atol=1e-12)


def test_frames_at_all_layers_are_another_function_with_the_same_weights() -> None:
    torch.manual_seed(0)
    deep = FrameAveraging(3, 1, 1, 12, 3).double()
    shallow = FrameAveraging(3, 1, 1, 12, 3, levels="input").double()
    shallow.load_state_dict(deep.state_dict())
    start = state()
    with torch.no_grad():
        assert not torch.allclose(deep.step(start)[0], shallow.step(start)[0], atol=1e-4)


def test_the_mean_of_the_copies_is_the_definition() -> None:
    """g Phi(g^-1 x) for each g by hand: the plain network on scenes turned by the elements of the frame."""
    torch.manual_seed(0)
    method = in_units(FrameAveraging(3, 1, 1, 12, 2, levels="input")).double()
    plain = in_units(Plain(3, 1, 1, 12, 2, levels="input")).double()
    plain.load_state_dict(method.state_dict())
    start = state(batch=1)
    turns = method.elements(start.position / 0.7, start.velocity / 1.6).turn[:, 0]
    assert len(turns) == 8
    with torch.no_grad():
        ends = []
        for turn in turns:
            seen = replace(start, position=start.position @ turn, velocity=start.velocity @ turn)
            ends.append(plain.step(seen)[0] @ turn.T)
        assert torch.allclose(torch.stack(ends).mean(0), method.step(start)[0], atol=1e-12)


def test_rivals_have_its_network_and_the_augmented_one_its_cost() -> None:
    """The network is that of the room's GNN as well."""
    method, gnn = FrameAveraging(3, 1, 1, 12, 2, levels="input"), GNN(3, 1, 1, 12, 2)
    assert method.parameter_count() == gnn.parameter_count() == Augmented(3, 1, 1, 12, 2).parameter_count()
    start = state(dtype=torch.float32)
    assert len(Augmented(3, 1, 1, 12, 2, levels="input").copies(start)) == len(method.copies(start)) == 8
    plain = Plain(3, 1, 1, 12, 2, levels="input")
    gnn = GNN(3, 1, 1, 12, 2, residual=True)
    names = dict(zip(gnn.state_dict(), plain.state_dict().values(), strict=True))
    gnn.load_state_dict(names)
    assert torch.allclose(plain.step(start)[0], gnn.step(start)[0], atol=1e-6)


def test_an_augmented_network_learns_each_copy_and_answers_with_their_mean() -> None:
    torch.manual_seed(0)
    method, start = Augmented(3, 1, 1, 12, 2, levels="input").train(), state(dtype=torch.float32)
    torch.manual_seed(5)
    copies = method.copies(start)
    torch.manual_seed(5)
    assert torch.allclose(method.loss(start), (copies - start.target).square().mean())
    method.eval()
    with torch.no_grad():
        before = torch.get_rng_state()
        assert torch.equal(method.step(start)[0], method.step(start)[0])
        assert torch.equal(before, torch.get_rng_state())
        assert torch.allclose(method.step(start)[0], method.copies(start).mean(0))


@pytest.mark.parametrize(
    ("options", "word"), [({"group": "O"}, "'O'"), ({"levels": "some"}, "'some'"), ({"width": 32}, "multiple of 3")]
)
def test_unknown_options_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(MethodError, match=word):
        FrameAveraging(3, **options)


def test_states_of_other_dimensions_are_refused() -> None:
    method = FrameAveraging.for_data(tiny_rollouts())
    flat: Tensor = state(4, 2, dtype=torch.float32).position
    with pytest.raises(DataError, match="learned in 3 dimensions"):
        method.rollout(replace(state(4, 2, dtype=torch.float32), position=flat), 1)
