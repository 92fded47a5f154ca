"""MeshGraphNets: learn to simulate cloth, flow and structures on the mesh that a solver used, one step at a time.

    node features   v_i = [x_i(t) - x_i(t-1), or the field q_i, and the node's type];   no absolute positions
    mesh edges      e_ij = [u_ij, |u_ij|, x_ij, |x_ij|]  both ways on every edge,  u on the mesh, x in the world
    world edges     e_ij = [x_ij, |x_ij|]  between nodes nearer than r_W that no mesh edge joins (only where x moves)
    network         encode, process, decode (`nn/graph_network.py`); its output, normalised online, is p_i
    integration     q(t+1) = q(t) + p,   or  x(t+1) = p + 2 x(t) - x(t-1);   pressure and the like are p itself
    training        one step, from  q(t) + n,  n ~ N(0, noise^2) on normal nodes;  loss: squared error of normalised p
                    first order: p aims at q(t+1) from the noisy state;  second order: at  x(t+1) + (1 - gamma) n

gamma = 1 corrects the position wholly, gamma = 0 the velocity. Walls, inflow and handles follow their script.
Pfaff, Fortunato, Sanchez-Gonzalez, Battaglia, 2021, "Learning Mesh-Based Simulation with Graph Networks",
arXiv:2010.03409. Details as in the official code (sums over nodes, noise, masks), where the paper is brief.

Use it for trajectories from a mesh-based solver with a fixed time step, when many similar runs are wanted. It knows no
conservation law, and errors grow in long rollouts: look at the rollout error, never at that of one step.

With an output field named "sizing" it predicts, for every node, the metric that the mesh of the next frame should
follow, and `adaptive_rollout` (`simulate/adaptive.py`) remeshes as it goes.
Departs: desk size is width 64, 5 blocks and a learning rate ten times the paper's over some thousand steps; the noise
is by default a share of what a step changes; the sizing field is an output of the same network, not of a second one.
"""

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Recipe, unwrap_split
from pathline.data.meshes import NODE_TYPES, Meshes, MeshStep, NodeType
from pathline.graph.build import repeat_graph
from pathline.graph.mesh import world_edges
from pathline.graph.segment import Ends, Segments
from pathline.nn.graph_network import EdgeSet, GraphNetwork, edge_set
from pathline.nn.normalizer import Normalizer
from pathline.simulate.meshes import MeshSimulator

NOISE = 0.03  # default standard deviation of the noise, as a share of what one step changes
GAMMA = {1: 1.0, 2: 0.1}  # by order of the integration, as in the official runs


class MeshGraphNets(MeshSimulator):
    """A graph network over mesh edges and, where `radius` is given, world edges.

    moving:       the state is world positions, on coordinates of `mesh_dims` dimensions; else a field of `channels`
    order:        1: the network gives the change of the state; 2: its acceleration
    noise, gamma: of training, in the data's unit
    width, layers: 128 and 15 in the paper
    warmup:       batches that only feed the normalisers before training begins; 1000 in the paper
    """

    precision = "fp32"  # accelerations are small differences of large strains, which bf16 rounds away
    recipe = Recipe(steps=2000, batch_size=4, lr=1e-3, schedule="exponential", final=0.01, clip=None)

    def __init__(
        self,
        channels: int,
        mesh_dims: int = 2,
        moving: bool = True,
        features: int = 0,
        outputs: int = 0,
        order: int = 2,
        noise: float = 0.0,
        gamma: float = 0.1,
        radius: float | None = None,
        width: int = 64,
        layers: int = 5,
        warmup: int = 100,
    ) -> None:
        super().__init__()
        if order not in (1, 2):
            raise DataError(f"MeshGraphNets integrates to order 1 or 2, not {order}")
        if radius is not None and not moving:
            raise DataError("world edges join what meets in space: leave `radius` out where the mesh stands still")
        self.channels, self.mesh_dims, self.moving, self.features = channels, mesh_dims, moving, features
        self.outputs, self.order, self.noise, self.gamma = outputs, order, noise, gamma
        self.radius, self.warmup = radius, warmup
        of_node = features + NODE_TYPES + (0 if moving else channels) + (channels if order == 2 else 0)
        sizes = self.edge_sizes()
        self.network = GraphNetwork(of_node, sizes, channels + outputs, width, layers)
        self.of_node, self.of_output = Normalizer(of_node), Normalizer(channels + outputs)
        self.of_edge = torch.nn.ModuleDict({kind: Normalizer(size) for kind, size in sizes.items()})
        self._copies: tuple[Tensor, int, tuple[Tensor, Ends, Segments]] | None = None

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        """Sizes and the scale of one step are read off the training part. Positions are integrated to second order,
        fields to first."""
        part: Meshes = cls.require(unwrap_split(data))
        order = config.setdefault("order", 2 if part.moving else 1)
        if config.get("noise") is None:
            change = part.state.diff(dim=1)[:, :, part.types == NodeType.NORMAL]
            config["noise"] = NOISE * float(change.double().square().mean().sqrt()) if change.numel() else 0.0
        sizes: dict[str, Any] = {
            "channels": part.state.shape[3],
            "mesh_dims": part.mesh.shape[1],
            "moving": part.moving,
            "features": 0 if part.features is None else part.features.shape[2],
            "outputs": len(part.output_columns()),
            "gamma": GAMMA.get(order, 1.0),
        }
        return cls(**(sizes | config))

    def edge_sizes(self) -> dict[str, int]:
        """Feature columns of every kind of edge."""
        in_world = self.channels + 1 if self.moving else 0
        sizes = {"mesh": self.mesh_dims + 1 + in_world}
        return sizes if self.radius is None else sizes | {"world": in_world}

    # -- the graph ----------------------------------------------------------------------------------------------------

    def node_features(self, state: MeshStep) -> Tensor:
        """(batch * nodes, columns): what changes, the known inputs, and the type one-hot."""
        batch = len(state.state)
        kinds = torch.nn.functional.one_hot(state.node_type, NODE_TYPES).to(state.state.dtype)
        columns = [] if self.moving else [state.state]
        if self.order == 2:
            columns.append(state.state - state.previous)
        if self.features and state.features is not None:
            columns.append(state.features)
        return torch.cat([*columns, kinds.expand(batch, -1, -1)], -1).flatten(0, 1)

    def edge_sets(self, state: MeshStep) -> dict[str, EdgeSet]:
        """Mesh edges and world edges of the whole batch as one graph, with normalised features."""
        batch, nodes, _ = state.state.shape
        world = state.state.flatten(0, 1) if self.moving else None
        index, ends, receiver = self._mesh_graph(state.edge_index, batch, nodes)
        one, other = state.edge_index
        columns = relative(state.mesh[one] - state.mesh[other]).repeat(batch, 1)
        if world is not None:
            columns = torch.cat([columns, relative(world[index[0]] - world[index[1]])], -1)
        sets = {"mesh": EdgeSet(self.of_edge["mesh"](columns), ends, receiver)}
        if self.radius is not None and world is not None:
            near, _ = world_edges(state.state, self.radius, state.edge_index)
            columns = relative(world[near[0]] - world[near[1]])
            sets["world"] = edge_set(self.of_edge["world"](columns), near, batch * nodes)
        return sets

    def _mesh_graph(self, edge_index: Tensor, batch: int, nodes: int) -> tuple[Tensor, Ends, Segments]:
        """Edges, ends and receivers of `batch` copies of the mesh; the last ones are kept, for meshes seldom change."""
        if self._copies is None or self._copies[0] is not edge_index or self._copies[1] != batch:
            index = repeat_graph(edge_index, nodes, batch)
            graph = index, Ends(index, batch * nodes), Segments(index[1], batch * nodes)
            self._copies = (edge_index, batch, graph)
        return self._copies[2]

    # -- one step -----------------------------------------------------------------------------------------------------

    def output(self, state: MeshStep) -> Tensor:
        """(batch, nodes, channels + outputs) of the network, in normalised units."""
        columns = self.network(self.of_node(self.node_features(state)), self.edge_sets(state))
        return columns.view(*state.state.shape[:2], -1).to(state.state.dtype)  # integrated in full precision

    def step(self, state: MeshStep) -> tuple[Tensor, Tensor | None]:
        change, outputs = self.of_output.inverse(self.output(state)).tensor_split([self.channels], -1)
        ahead = state.state if self.order == 1 else 2 * state.state - state.previous
        return ahead + change, outputs if self.outputs else None

    def loss(self, batch: MeshStep) -> Tensor:
        """Squared error of the normalised output, summed over channels, averaged over the free nodes."""
        noisy, noise = self.disturbed(batch)
        error = self.output(noisy) - self.of_output(self.target(noisy, noise))
        return error[:, batch.free].square().sum(-1).mean()

    def disturbed(self, batch: MeshStep) -> tuple[MeshStep, Tensor]:
        """`batch` from a noisy state, and the noise (batch, nodes, channels): of normal nodes only."""
        noise = self.noise * torch.randn_like(batch.state) * (batch.node_type == NodeType.NORMAL)[:, None]
        return replace(batch, state=batch.state + noise), noise

    def target(self, noisy: MeshStep, noise: Tensor) -> Tensor:
        """(batch, nodes, channels + outputs) what the network must give for the noisy state."""
        if self.order == 1:
            change = noisy.target + (1 - self.gamma) * noise - noisy.state
        else:
            change = noisy.target + (1 - self.gamma) * noise - 2 * noisy.state + noisy.previous
        return torch.cat([change, noisy.outputs], -1) if self.outputs and noisy.outputs is not None else change

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train; before that, `warmup` batches go through the normalisers alone."""
        if not int(self.of_node.batches):
            self.warm_up(self.require(unwrap_split(data)), seed, options.get("batch_size", self.recipe.batch_size))
        return super().fit(data, budget, seed, validation, **options)

    @torch.no_grad()
    def warm_up(self, data: Meshes, seed: int, size: int) -> None:
        """Let the normalisers see `warmup` batches, noise and all."""
        torch.manual_seed(seed)
        self.train()
        order = torch.Generator().manual_seed(seed)
        left = self.warmup
        while left > 0:
            for batch in self.batches(data, size, order):
                assert isinstance(batch, MeshStep)
                noisy, noise = self.disturbed(batch.to(self.device))
                self.of_node(self.node_features(noisy))
                self.edge_sets(noisy)
                self.of_output(self.target(noisy, noise))
                left -= 1
                if not left:
                    break

    def checked(self, state: Any) -> MeshStep:
        """Also refuses states of another kind or size than those learned from."""
        state = super().checked(state)
        for what, given, learned in (
            ("channels", state.state.shape[2], self.channels),
            ("mesh coordinates", state.mesh.shape[1], self.mesh_dims),
            ("features", 0 if state.features is None else state.features.shape[2], self.features),
        ):
            if given != learned and (what != "features" or learned):
                raise DataError(f"{type(self).__name__} learned from {learned} {what}; the state has {given}")
        if state.moving != self.moving:
            kinds = {True: "meshes that move", False: "fields on a mesh that stands still"}
            raise DataError(f"{type(self).__name__} learned {kinds[self.moving]}, and this is about the other kind")
        return state


def relative(difference: Tensor) -> Tensor:
    """(E, d) -> (E, d + 1): a difference and its length."""
    return torch.cat([difference, difference.norm(dim=-1, keepdim=True)], -1)
