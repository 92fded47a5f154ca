"""Rollouts on a mesh that changes: predict a step and the sizing field, remesh, carry the state over, go on.

    (q(t+1), S) = network(q(t), mesh);   mesh' = remesh(mesh, S);   q on mesh' linear on the triangles of the old mesh
Pfaff et al., 2021, arXiv:2010.03409, section 3.3. S is predicted for every node as an output field "sizing" of three
columns (S_11, S_12, S_22), here in logarithms of matrices, so that whatever is predicted is positive definite.
"""

from dataclasses import replace

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.data.meshes import Meshes, MeshStep, NodeType
from pathline.graph.mesh import mesh_edges
from pathline.graph.remesh import interpolate, remesh, sizing_of
from pathline.simulate.meshgraphnets import MeshGraphNets

SIZING = "sizing"


def to_columns(sizing: Tensor) -> Tensor:
    """Positive definite (..., 2, 2) -> (..., 3): the entries 11, 12, 22 of the matrix logarithm."""
    values, vectors = torch.linalg.eigh(sizing.double())
    logarithm = vectors @ torch.diag_embed(values.log()) @ vectors.mT
    return torch.stack([logarithm[..., 0, 0], logarithm[..., 0, 1], logarithm[..., 1, 1]], -1)


def from_columns(columns: Tensor) -> Tensor:
    """The inverse of `to_columns`: (..., 3) -> (..., 2, 2) float64, positive definite whatever the columns are."""
    a, b, c = columns.double().unbind(-1)
    return torch.linalg.matrix_exp(torch.stack([torch.stack([a, b], -1), torch.stack([b, c], -1)], -2))


def with_sizing(data: Meshes, sizing: Tensor | None = None) -> Meshes:
    """`data` with the output field that makes a network learn where the mesh should be fine.

    sizing: (rollouts, frames, nodes, 2, 2), the simulator's own; by default what the mesh itself follows
    """
    if sizing is None:
        own = sizing_of(data.mesh[:, :2], data.edge_index)
        sizing = own.expand(*data.state.shape[:2], -1, -1, -1)
    fields = data.fields | {SIZING: to_columns(sizing).float()}
    return replace(data, fields=fields, outputs=(*data.outputs, SIZING))


@torch.no_grad()
def adaptive_rollout(method: MeshGraphNets, state: MeshStep, n: int, every: int = 1) -> list[MeshStep]:
    """The state at the start and after 1, .. n frames, on the mesh of each; one trajectory, remeshed `every` frames.

    The method's last three outputs must be the sizing field (`with_sizing`). Nodes that are not free stay: they are
    corners of the region or held, and have no script here.
    Raises DataError for a batch of several, a mesh that is not in the plane, or a method without a sizing field.
    """
    state = method.checked(state)
    if len(state.state) != 1 or state.mesh.shape[1] != 2:
        raise DataError("an adaptive rollout is of one trajectory on a mesh in the plane: meshes go their own ways")
    if method.outputs < 3:
        raise DataError("the method predicts no sizing field: train it on `with_sizing(data)`")
    state = replace(state, script=None, target=state.state, outputs=None)
    states = [state]
    for number in range(n):
        state, outputs = method.advance(state)
        if outputs is not None and (number + 1) % every == 0:
            state = remeshed(state, from_columns(outputs[0, :, -3:]))
        states.append(state)
    return states


def remeshed(state: MeshStep, sizing: Tensor) -> MeshStep:
    """`state` on the mesh that follows `sizing` (nodes, 2, 2); new nodes are normal."""
    mesh = remesh(state.mesh, state.cells, sizing, ~state.free)
    wanted = mesh.points.to(state.mesh.dtype)

    def carried(values: Tensor) -> Tensor:
        return interpolate(state.mesh, state.cells, values[0], wanted)[None]

    kind = torch.full((len(wanted),), int(NodeType.NORMAL))
    kind[mesh.keep] = state.node_type[~state.free]
    free = torch.cdist(wanted.double(), state.mesh[state.free].double())
    near, same = free.min(1)
    kind = torch.where((near < 1e-9) & ~mesh.keep, state.node_type[state.free][same], kind)
    moved = carried(state.state)
    return replace(
        state,
        state=moved,
        previous=carried(state.previous),
        target=moved,
        features=None if state.features is None else carried(state.features),
        mesh=wanted,
        node_type=kind,
        cells=mesh.cells,
        edge_index=mesh_edges(mesh.cells),
    )
