"""Stochastic block models whose graph of the next moment cannot be read off that of this moment.

`switching_blocks`: two blocks; a coin decides of each snapshot whether edges join equals (probability 0.12 within and
0.02 between blocks) or others (the reverse). Coins are independent, and that of the next snapshot is announced in this
one, on the beacon channels of a few random nodes, which have no edges in it. Who is to know it must look at all nodes.
(If beacons kept their edges, two hops at 14 edges a node would bring the news to everybody.)
`moving_blocks`: several blocks that keep together, and a few nodes change their block at every step, as in the
synthetic data of Goyal et al., 2018, arXiv:1805.11273, that Pareja et al., 2020, arXiv:1902.10191 use.
"""

import torch
from torch import Tensor

from pathline.data.evolving_graphs import EvolvingGraph

CHANNELS = ("block 0", "block 1", "beacon: equals meet", "beacon: others meet")


def _graphs(chance: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Independent edges: chance (steps, nodes, nodes) symmetric -> source < target and snapshot, (edges,) each."""
    steps, nodes, _ = chance.shape
    i, j = torch.triu_indices(nodes, nodes, offset=1)
    snapshot, pair = (torch.rand(steps, len(i), generator=generator) < chance[:, i, j]).nonzero().T
    return i[pair], j[pair], snapshot


def switching_blocks(
    nodes: int = 200,
    steps: int = 60,
    beacons: int = 5,
    silent: bool = True,
    wrong: float = 0.2,
    near: float = 0.12,
    far: float = 0.02,
    window: int = 5,
    seed: int = 0,
) -> EvolvingGraph:
    """features: `CHANNELS`: a hint of the node's block, one-hot, the same in all snapshots and wrong for a share
    `wrong` of the nodes; then which coin comes next, on `beacons` nodes. node_labels: the blocks.
    silent: whether beacons have no edges."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randint(2, (nodes,), generator=generator)
    equals_meet = torch.rand(steps + 1, generator=generator) < 0.5
    same = block[:, None] == block
    lit = torch.rand(steps, nodes, generator=generator).topk(beacons, dim=1).indices
    chance = torch.where(same == equals_meet[:steps, None, None], near, far)
    if silent:
        every = torch.arange(steps)[:, None]
        chance[every, lit] = 0
        chance[every, :, lit] = 0
    source, target, snapshot = _graphs(chance, generator)
    hint = torch.where(torch.rand(nodes, generator=generator) < wrong, 1 - block, block)
    features = torch.zeros(steps, nodes, 4)
    features[:, torch.arange(nodes), hint] = 1
    channel = torch.where(equals_meet[1:], 2, 3)
    features[torch.arange(steps)[:, None], lit, channel[:, None]] = 1
    return EvolvingGraph(
        source=source,
        target=target,
        snapshot=snapshot,
        nodes=nodes,
        steps=steps,
        features=features,
        present=torch.ones(steps, nodes, dtype=torch.bool),
        node_labels=block.expand(steps, nodes).clone(),
        window=window,
        name="switching-blocks",
    )


def moving_blocks(
    nodes: int = 200,
    steps: int = 50,
    blocks: int = 3,
    movers: int = 10,
    near: float = 0.12,
    far: float = 0.01,
    window: int = 5,
    seed: int = 0,
) -> EvolvingGraph:
    """`movers` random nodes go to another block at every step. node_labels: the blocks. There are no features."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randint(blocks, (nodes,), generator=generator)
    history = [block]
    for _ in range(steps - 1):
        moving = torch.randperm(nodes, generator=generator)[:movers]
        shift = torch.randint(1, blocks, (movers,), generator=generator)
        block = block.index_copy(0, moving, (block[moving] + shift) % blocks)
        history.append(block)
    labels = torch.stack(history)
    chance = torch.where(labels[:, :, None] == labels[:, None], near, far)
    source, target, snapshot = _graphs(chance, generator)
    return EvolvingGraph(
        source=source,
        target=target,
        snapshot=snapshot,
        nodes=nodes,
        steps=steps,
        node_labels=labels,
        window=window,
        name="moving-blocks",
    )
