"""A graph network that knows no mesh: its edges join what is near in space, as in simulators of particles.

    e_ij = [x_ij, |x_ij|]  for every pair with |x_ij| < r,   found anew at every step;  all else as in MeshGraphNets
The "GNS" baseline of Pfaff et al. 2021, arXiv:2010.03409, after Sanchez-Gonzalez et al. 2020, arXiv:2002.09405. It does
not see how long an edge is at rest, nor which of two touching sheets a neighbour belongs to.
"""

from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.method import unwrap_split
from pathline.data.meshes import Meshes, MeshStep
from pathline.graph.mesh import world_edges
from pathline.nn.graph_network import EdgeSet, edge_set
from pathline.simulate.meshgraphnets import MeshGraphNets, relative

_FRAMES = 64  # looked at to find the radius


class RadiusGraphNet(MeshGraphNets):
    """MeshGraphNets without mesh edges and mesh coordinates; `radius` is by default such that there are as many edges
    as the mesh has, on average over the training part."""

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        if config.get("radius") is None:
            config["radius"] = equal_radius(cls.require(unwrap_split(data)))
        return super().for_data(data, **config)

    def edge_sizes(self) -> dict[str, int]:
        return {"near": self.channels + 1}

    def edge_sets(self, state: MeshStep) -> dict[str, EdgeSet]:
        assert self.radius is not None
        near, _ = world_edges(state.state, self.radius, state.edge_index[:, :0])
        world = state.state.flatten(0, 1)
        columns = relative(world[near[0]] - world[near[1]])
        return {"near": edge_set(self.of_edge["near"](columns), near, len(world))}


def equal_radius(data: Meshes) -> float:
    """The distance within which frames of `data` have as many pairs as the mesh has edges, on average."""
    frames = data.state.flatten(0, 1)
    frames = frames[torch.arange(min(_FRAMES, len(frames))) * len(frames) // min(_FRAMES, len(frames))]
    distance = torch.cdist(frames, frames)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    flat: Tensor = distance.flatten()
    return float(flat.kthvalue(min(len(flat), len(frames) * data.edge_index.shape[1])).values)
