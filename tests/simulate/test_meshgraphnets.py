"""MeshGraphNets: symmetries, noise bookkeeping, integration, boundaries, world edges, and the rival without a mesh."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.tiny import tiny_meshes
from pathline.data import Meshes, MeshStep, NodeType
from pathline.graph.mesh import mesh_edges, world_edges
from pathline.sims.cloth import Cloth, simulated_cloth
from pathline.simulate.mesh_rivals import RadiusGraphNet, equal_radius
from pathline.simulate.meshgraphnets import MeshGraphNets

SHEET = simulated_cloth(4, 8, cloth=Cloth(rows=4, columns=5))


def flow() -> Meshes:
    tiny = tiny_meshes()
    generator = torch.Generator().manual_seed(0)
    return Meshes(
        mesh=tiny.mesh,
        cells=tiny.cells,
        fields={
            "velocity": torch.randn(4, 6, 9, 2, generator=generator),
            "pressure": torch.randn(4, 6, 9, 1, generator=generator),
        },
        predicted="velocity",
        outputs=("pressure",),
        node_type=torch.tensor([4, 0, 5, 6, 0, 6, 4, 0, 5]),
        name="flow",
    )


def built(data: Meshes, **config) -> MeshGraphNets:
    """Small, in float64, with normalisers that saw the data, and weights under which everything matters."""
    method = MeshGraphNets.seeded(data, 0, **({"width": 8, "layers": 2} | config))
    method.warm_up(data, 0, 4)
    return method.double().eval()


def state_of(data: Meshes, count: int = 3) -> MeshStep:
    step = data.gather(torch.arange(count) * 2)
    return step.map(lambda t: t.double() if t.is_floating_point() else t)


@pytest.mark.parametrize("radius", [None, 0.2])
def test_moving_everything_in_space_or_on_the_mesh_moves_the_prediction(radius: float | None) -> None:
    method, state = built(SHEET, radius=radius), state_of(SHEET)
    shift = torch.tensor([10.0, -3.0, 5.0], dtype=torch.float64)
    moved = replace(state, state=state.state + shift, previous=state.previous + shift, mesh=state.mesh + 7.0)
    assert torch.allclose(method.step(moved)[0], method.step(state)[0] + shift, atol=1e-8)
    stretched = replace(state, mesh=1.5 * state.mesh)
    assert not torch.allclose(method.output(stretched), method.output(state), atol=1e-5)


@pytest.mark.parametrize("radius", [None, 0.2])
def test_nodes_may_be_renumbered(radius: float | None) -> None:
    method, state = built(SHEET, radius=radius), state_of(SHEET)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    assert state.features is not None
    moved = replace(
        state,
        state=state.state[:, order],
        previous=state.previous[:, order],
        features=state.features[:, order],
        mesh=state.mesh[order],
        node_type=state.node_type[order],
        edge_index=mesh_edges(place[state.cells]),
    )
    assert torch.allclose(method.step(moved)[0], method.step(state)[0][:, order], atol=1e-9)
    listed = replace(state, edge_index=state.edge_index.flip(1))
    assert torch.allclose(method.step(listed)[0], method.step(state)[0], atol=1e-9)


def test_items_of_a_batch_do_not_meet() -> None:
    method, state = built(SHEET, radius=0.3), state_of(SHEET)
    alone = method.step(state.part(1, 3))[0]
    assert torch.allclose(method.step(state)[0][1:2], alone, atol=1e-9)


@pytest.mark.parametrize("layers", [1, 2])
def test_what_a_node_does_depends_on_nodes_within_that_many_edges(layers: int) -> None:
    method, state = built(SHEET, layers=layers), state_of(SHEET, 1)
    joined = torch.eye(20, dtype=torch.bool)
    joined[state.edge_index[0], state.edge_index[1]] = True
    reach = torch.linalg.matrix_power(joined.double(), layers) > 0

    def output(x: Tensor) -> Tensor:
        return method.output(replace(state, state=x))[0]

    jacobian = torch.autograd.functional.jacobian(output, state.state).abs().sum((1, 2, 4))
    assert torch.equal(jacobian > 0, reach) and not reach.all()


def silent(method: MeshGraphNets) -> MeshGraphNets:
    for parameter in method.network.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    return method


def test_a_silent_decoder_leaves_fields_constant_and_motion_uniform() -> None:
    still = silent(MeshGraphNets.seeded(flow(), 0)).eval()
    start = flow().starts(torch.arange(4))
    assert start.script is not None
    held = replace(start, script=None)
    path = still.rollout(held, 4)
    assert torch.equal(path, start.state[:, None].expand_as(path))
    flying = silent(MeshGraphNets.seeded(SHEET, 0)).eval()
    state = replace(state_of(SHEET), node_type=torch.zeros(20, dtype=torch.int64))
    path, velocity = flying.double().rollout(state, 4), state.state - state.previous
    for k in range(5):
        assert torch.allclose(path[:, k], state.state + k * velocity, atol=1e-12)


class Oracle(torch.nn.Module):
    """A network that answers with the target it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.empty(0)

    def forward(self, *graph: object) -> Tensor:
        return self.answer.flatten(0, 1)


@pytest.mark.parametrize(("order", "gamma"), [(1, 1.0), (2, 1.0), (2, 0.0), (2, 0.1)])
def test_with_perfect_answers_noisy_states_land_where_gamma_says(order: int, gamma: float) -> None:
    data = SHEET
    method = built(data, order=order, gamma=gamma, noise=0.05)
    batch = state_of(data)
    noisy, noise = method.disturbed(batch)
    method.network = Oracle()  # type: ignore[assignment]
    method.network.answer = method.of_output(method.target(noisy, noise))
    ahead = method.step(noisy)[0]
    free = batch.free
    assert torch.allclose(ahead[:, free], (batch.target + (1 - gamma) * noise)[:, free], atol=1e-9)
    assert noise[:, free].std() == pytest.approx(0.05, rel=0.2)
    if order == 2 and gamma == 0.0:
        assert torch.allclose((ahead - noisy.state)[:, free], (batch.target - batch.state)[:, free], atol=1e-9)
    assert float(method.loss(batch)) > 0  # other noise than what the oracle answers for
    method.noise = 0.0
    method.network.answer = method.of_output(method.target(batch, torch.zeros_like(batch.state)))
    assert float(method.loss(batch)) < 1e-20


def test_noise_is_for_normal_nodes_only_and_differs_from_step_to_step() -> None:
    method = built(flow(), noise=0.1)
    batch = state_of(flow())
    noisy, noise = method.disturbed(batch)
    moved = (noisy.state - batch.state).abs().sum((0, 2)) > 0
    assert torch.equal(moved, batch.node_type == NodeType.NORMAL)
    assert torch.equal(noisy.previous, batch.previous)
    assert not torch.equal(noise, method.disturbed(batch)[1])


def test_the_loss_is_the_papers_mean_over_free_nodes() -> None:
    method, batch = built(flow(), noise=0.0), state_of(flow())
    assert batch.outputs is not None
    target = torch.cat([batch.target - batch.state, batch.outputs], -1)
    error = (method.output(batch) - method.of_output(target)).square().sum(-1)
    free = torch.tensor([False, True, True, False, True, False, False, True, True])
    assert method.loss(batch).item() == pytest.approx(error[:, free].mean().item())
    spoiled = replace(batch, target=batch.target + 100 * (~free)[:, None])
    assert method.loss(spoiled).item() == pytest.approx(method.loss(batch).item())


def test_pressure_is_the_output_itself_and_velocity_is_integrated() -> None:
    method, state = built(flow()), state_of(flow())
    velocity, pressure = method.step(state)
    output = method.of_output.inverse(method.output(state))
    assert torch.allclose(velocity, state.state + output[..., :2]) and pressure is not None
    assert torch.allclose(pressure, output[..., 2:])
    states, outputs = method.rollout_with_outputs(flow().starts(torch.arange(4)).map(_double), 3)
    assert states.shape == (4, 4, 9, 2) and outputs is not None and outputs.shape == (4, 3, 9, 1)


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def test_second_order_integrates_twice() -> None:
    method, state = built(SHEET), state_of(SHEET)
    acceleration = method.of_output.inverse(method.output(state))
    assert torch.allclose(method.step(state)[0], 2 * state.state - state.previous + acceleration)


def test_features_are_those_of_the_paper() -> None:
    still, moving = built(flow()), built(SHEET, radius=0.2)
    assert still.node_features(state_of(flow())).shape == (27, 2 + 9)
    assert moving.node_features(state_of(SHEET)).shape == (60, 3 + 3 + 9)
    assert still.edge_sizes() == {"mesh": 3} and moving.edge_sizes() == {"mesh": 7, "world": 4}
    state = state_of(SHEET)
    sets = moving.edge_sets(state)
    near, _ = world_edges(state.state, 0.2, state.edge_index)
    assert near.shape[1] > 0 and torch.equal(sets["world"].receiver.index, near[1])
    assert torch.equal(sets["world"].ends.places.view(-1, 2).T, 2 * near + torch.tensor([[0], [1]]))
    columns = sets["mesh"].features * moving.of_edge["mesh"].deviation + moving.of_edge["mesh"].mean
    sender, receiver = state.edge_index
    u, x = state.mesh[sender] - state.mesh[receiver], state.state[2][sender] - state.state[2][receiver]
    expected = torch.cat([u, u.norm(dim=1, keepdim=True), x, x.norm(dim=1, keepdim=True)], 1)
    assert torch.allclose(columns[2 * len(u) :], expected, atol=1e-9)
    seen = moving.node_features(state).view(3, 20, -1)
    assert torch.allclose(seen[..., :3], state.state - state.previous)
    assert torch.equal(seen[0, :, 6:].argmax(-1), state.node_type)


def test_world_edges_matter_and_want_a_moving_mesh() -> None:
    state = state_of(SHEET)
    folded = state.state.clone()
    folded[:, 19] = folded[:, 0] + 0.01  # the far corner comes to touch the first
    touching = replace(state, state=folded)
    with_contact, without = built(SHEET, radius=0.05), built(SHEET)

    def pull(method: MeshGraphNets) -> Tensor:
        def of_first(x: Tensor) -> Tensor:
            return method.output(replace(touching, state=x))[0, 0]

        return torch.autograd.functional.jacobian(of_first, touching.state)[:, 0, 19].abs().sum()

    assert pull(with_contact) > 0 and pull(without) == 0
    with pytest.raises(DataError, match="radius"):
        MeshGraphNets.for_data(flow(), radius=0.1)


def test_defaults_follow_the_data() -> None:
    moving, still = MeshGraphNets.for_data(SHEET), MeshGraphNets.for_data(flow())
    assert (moving.order, moving.gamma, still.order, still.gamma) == (2, 0.1, 1, 1.0)
    change = SHEET.state.diff(dim=1)[:, :, SHEET.types == 0].square().mean().sqrt()
    assert moving.noise == pytest.approx(0.03 * float(change), rel=1e-5)
    assert MeshGraphNets.for_data(SHEET, noise=0.0).noise == 0.0


def test_training_warms_the_normalisers_up_and_evaluation_leaves_them_alone() -> None:
    split = SHEET.split()
    method = MeshGraphNets.seeded(split.train, 0, width=8, layers=1, warmup=7)
    method.fit(split.train, Budget(steps=5))
    assert int(method.of_node.batches) == 7 + 5
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.evaluate(split.test)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path) -> None:
    split = SHEET.split()

    def fitted(steps: int, folder, resume: bool = False) -> MeshGraphNets:
        method = MeshGraphNets.seeded(split.train, 0, width=8, layers=1, warmup=3)
        method.fit(
            split.train, Budget(steps=steps), folder=folder, resume=resume, schedule="constant", checkpoint_seconds=0
        )
        return method

    whole = fitted(6, None)
    from pathline.core.errors import Interrupted
    from pathline.core.train import train

    stopped = MeshGraphNets.seeded(split.train, 0, width=8, layers=1, warmup=3)
    stopped.warm_up(split.train, 0, 4)
    count = iter(range(100))

    def loss(batch: MeshStep) -> Tensor:
        if next(count) == 3:
            raise Interrupted("stop", 2)
        return stopped.loss(batch)

    with pytest.raises(Interrupted):
        train(
            stopped, split.train, Budget(steps=6), folder=tmp_path, loss=loss, schedule="constant", checkpoint_seconds=0
        )
    again = fitted(6, tmp_path, resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_it_learns_how_a_sheet_swings() -> None:
    from pathline.simulate.mesh_baselines import MeshConstantVelocity

    tiny, generator = tiny_meshes(), torch.Generator().manual_seed(0)
    phase, swing = torch.rand(2, 30, 1, 1, generator=generator)
    angle = (0.3 + swing) * torch.sin(0.4 * torch.arange(20).view(1, 20, 1) + 6 * phase)
    across, up = tiny.mesh.T
    sheets = torch.stack([across * angle.cos(), up.expand(30, 20, 9), across * angle.sin()], -1)
    split = replace(tiny, positions=sheets, features=None).split()
    method = MeshGraphNets.seeded(split.train, 0, width=24, layers=2, warmup=20)
    method.fit(split, Budget(steps=300), batch_size=8, lr=5e-3, precision="fp32", validations=1)
    ours, naive = method.evaluate(split.test), MeshConstantVelocity().evaluate(split.test)
    assert ours["step_rmse"] < 0.6 * naive["step_rmse"]
    assert ours["rollout_rmse"] < 0.6 * naive["rollout_rmse"]


def test_states_of_another_kind_are_refused() -> None:
    method = MeshGraphNets.seeded(SHEET, 0, width=8, layers=1).eval()
    for state, words in (
        (flow().starts(torch.tensor([0])), "channels"),
        (replace(state_of(SHEET), features=None), "features"),
        (replace(state_of(SHEET), moving=False), "other kind"),
        (replace(state_of(SHEET), mesh=torch.ones(20, 3)), "mesh coordinates"),
        (replace(state_of(SHEET), previous=state_of(SHEET).state / 0), "finite"),
    ):
        with pytest.raises(DataError, match=words):
            method.rollout(state, 1)
    with pytest.raises(DataError, match="order 1 or 2"):
        MeshGraphNets.for_data(SHEET, order=3)


def test_the_rival_has_as_many_edges_and_no_mesh() -> None:
    radius = equal_radius(SHEET)
    rival = RadiusGraphNet.seeded(SHEET, 0, width=8, layers=2)
    assert rival.radius == radius
    frames = SHEET.state.flatten(0, 1)
    edges = world_edges(frames, radius, torch.empty(2, 0, dtype=torch.int64))[0].shape[1] / len(frames)
    assert edges == pytest.approx(SHEET.edge_index.shape[1], rel=0.02)
    rival.warm_up(SHEET, 0, 4)
    rival.eval()
    state = SHEET.gather(torch.tensor([3]))
    other = replace(state, mesh=3 * state.mesh, edge_index=state.edge_index[:, :4])
    assert torch.equal(rival.step(other)[0], rival.step(state)[0])
    ours = MeshGraphNets.seeded(SHEET, 0, width=8, layers=2)
    assert abs(rival.parameter_count() - ours.parameter_count()) == 3 * 8
