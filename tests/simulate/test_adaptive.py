"""Rollouts that remesh as they go."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.data import NodeType
from pathline.graph.mesh import euler_characteristic, signed_areas, unique_edges
from pathline.graph.remesh import Mesh, lengths
from pathline.sims.cloth import Cloth, simulated_cloth
from pathline.simulate.adaptive import SIZING, adaptive_rollout, from_columns, remeshed, to_columns, with_sizing
from pathline.simulate.meshgraphnets import MeshGraphNets

SHEET = simulated_cloth(4, 8, cloth=Cloth(rows=5, columns=5))


def test_any_columns_are_a_metric_and_every_metric_has_columns() -> None:
    columns = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizing = from_columns(columns)
    assert bool((torch.linalg.eigvalsh(sizing) > 0).all())
    assert torch.allclose(to_columns(sizing), columns, atol=1e-9)


def test_the_meshs_own_sizing_is_learned_and_followed() -> None:
    data = with_sizing(SHEET)
    method = MeshGraphNets.seeded(data, 0, width=16, layers=2, warmup=10)
    assert method.outputs == 3 and data.output_columns()[-1] == f"{SIZING}_2"
    method.fit(data, Budget(steps=200), lr=5e-3)
    start = data.starts(torch.tensor([0]))
    _, outputs = method.step(method.checked(start))
    assert outputs is not None
    wanted = data.fields[SIZING][0, 2]
    error, spread = (outputs[0] - wanted).square().mean(), (wanted - wanted.mean(0)).square().mean()
    assert error.item() < 0.5 * spread.item()
    states = adaptive_rollout(method, start, 3)
    assert len(states) == 4
    area = float(signed_areas(start.mesh.double(), start.cells).sum())
    for state in states[1:]:
        assert state.state.shape == (1, len(state.mesh), 3) and torch.isfinite(state.state).all()
        assert euler_characteristic(state.cells) == 1
        assert float(signed_areas(state.mesh.double(), state.cells).sum()) == pytest.approx(area, rel=1e-6)
        held = state.node_type == NodeType.HANDLE
        assert torch.equal(state.mesh[held], start.mesh[start.node_type == NodeType.HANDLE])
        assert torch.allclose(state.state[0, held], start.state[0, start.node_type == NodeType.HANDLE], atol=1e-6)


def test_a_finer_field_refines_the_state_where_it_asks_for_it() -> None:
    start = SHEET.starts(torch.tensor([1]))
    size = torch.where(start.mesh[:, 0] > 0.2, 0.04, 0.12).double()
    sizing = torch.eye(2, dtype=torch.float64) / size[:, None, None] ** 2
    state = remeshed(start, sizing)
    assert len(state.mesh) > 1.5 * len(start.mesh)
    assert (state.mesh[:, 0] > 0.2).sum() > 2 * (state.mesh[:, 0] < 0.2).sum()
    stretched = (state.state[0, state.edge_index[0]] - state.state[0, state.edge_index[1]]).norm(dim=1)
    rest = (state.mesh[state.edge_index[0]] - state.mesh[state.edge_index[1]]).norm(dim=1)
    assert float((stretched / rest - 1).abs().max()) < 0.05  # the flag is still nearly flat at its second frame
    metric = torch.eye(2, dtype=torch.float64).expand(len(state.mesh), 2, 2) / 0.12**2
    whole = Mesh(state.mesh.double(), state.cells, metric, torch.zeros(len(state.mesh), dtype=torch.bool))
    assert float(lengths(whole, unique_edges(state.cells)).max()) <= 1 + 1e-6


def test_what_cannot_be_remeshed_is_named() -> None:
    method = MeshGraphNets.seeded(SHEET, 0, width=8, layers=1).eval()
    start = SHEET.starts(torch.tensor([0]))
    with pytest.raises(DataError, match="sizing"):
        adaptive_rollout(method, start, 1)
    both = SHEET.starts(torch.tensor([0, 1]))
    with pytest.raises(DataError, match="one trajectory"):
        adaptive_rollout(method, both, 1)
    assert replace(start, script=None).script is None
