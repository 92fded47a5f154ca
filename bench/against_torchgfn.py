"""An iteration of trajectory balance on the 8^4 hypergrid, beside torchgfn's TBGFlowNet with its k-hot preprocessor.

An iteration draws 64 trajectories from the policy, scores them, propagates back and takes a step; P_B is uniform on
both sides. Both policies are an MLP with two hidden layers of 256, and a block of iterations starts from the same
weights on both sides: how long trajectories are, and so how much work an iteration is, depends on the policy.
"""

from collections.abc import Callable
from typing import Any

import torch
from gfn.estimators import DiscretePolicyEstimator
from gfn.gflownet import TBGFlowNet
from gfn.gym import HyperGrid
from gfn.preprocessors import KHotPreprocessor
from gfn.utils.modules import MLP
from torch import Tensor, nn

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.compose.subtb import SubTB
from pathline.core.budget import steps
from pathline.core.train import train
from pathline.sims.environments.hypergrid import Hypergrid

DIMS, EDGE, BATCH, WIDTH, DEPTH, ITERATIONS = 4, 8, 64, 256, 2, 30
R0, R1, R2 = 0.1, 0.5, 2.0


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """One line; a float32 policy on both sides."""
    torch.manual_seed(0)
    where = conditions("torchgfn")
    grid = Hypergrid(dims=DIMS, side=EDGE, r0=R0, r1=R1, r2=R2)
    method = SubTB.for_data(grid, objective="tb", width=WIDTH, depth=DEPTH)
    env, net, policy = torchgfn()
    copied(method.policy.net, policy)
    worst = agreement(method, grid, policy, env)
    line = in_turn(
        Side("pathline, SubTB(objective='tb')", our_iterations(method, grid), parameters(method), "fp32"),
        Side("torchgfn, TBGFlowNet", peer_iterations(env, net), parameters(net), "fp32"),
        f"trajectory balance on the {EDGE}^{DIMS} hypergrid, batch {BATCH}, MLP {WIDTH} x {DEPTH}",
        10.0,
        f"from the same weights, log-probabilities and log-rewards of 64 trajectories differ by {worst:.1e} at most",
        calls=ITERATIONS,
    )
    return where, [line]


def our_iterations(method: SubTB, grid: Hypergrid) -> Callable[[], None]:
    """Iterations of `pathline fit`, from making the loop to its end, always from the first weights."""
    first = {name: value.clone() for name, value in method.state_dict().items()}

    def run() -> None:
        method.load_state_dict(first)
        train(method, grid, steps(ITERATIONS), batch_size=BATCH)

    return run


def torchgfn() -> tuple[HyperGrid, TBGFlowNet, nn.Module]:
    """Environment, flow network and policy as in torchgfn's train_hypergrid_simple."""
    env = HyperGrid(ndim=DIMS, height=EDGE, reward_fn_kwargs={"R0": R0, "R1": R1, "R2": R2})
    seen = KHotPreprocessor(height=EDGE, ndim=DIMS)
    policy = MLP(seen.output_dim, env.n_actions, WIDTH, DEPTH)
    forward = DiscretePolicyEstimator(policy, env.n_actions, preprocessor=seen)
    backward = DiscretePolicyEstimator.uniform(env.n_actions, preprocessor=seen)
    return env, TBGFlowNet(forward, backward, init_logZ=0.0), policy


def peer_iterations(env: HyperGrid, net: TBGFlowNet) -> Callable[[], None]:
    """The peer's iterations on policy, log-probabilities kept while drawing, always from the first weights."""
    first = {name: value.clone() for name, value in net.state_dict().items()}

    def run() -> None:
        net.load_state_dict(first)
        optimizer = torch.optim.Adam(net.pf_pb_parameters(), lr=1e-3, fused=True)
        optimizer.add_param_group({"params": net.logz_parameters(), "lr": 0.1})
        for _ in range(ITERATIONS):
            paths = net.sample_trajectories(env, n=BATCH, save_logprobs=True)
            optimizer.zero_grad()
            loss = net.loss_from_trajectories(env, paths, recalculate_all_logprobs=False)
            loss.backward()
            optimizer.step()

    return run


def copied(source: nn.Module, target: nn.Module) -> None:
    """Our policy's weights in the peer's, layer by layer."""
    layers = [[layer for layer in net.modules() if isinstance(layer, nn.Linear)] for net in (source, target)]
    for ours, theirs in zip(*layers, strict=True):
        theirs.load_state_dict(ours.state_dict())


def agreement(method: SubTB, grid: Hypergrid, policy: nn.Module, env: HyperGrid) -> float:
    """Largest difference of log P_F + log R along trajectories of ours, scored by both sides."""
    paths = method.policy.draw(BATCH)
    scored = method.scored(paths)
    moves = paths.moves
    cells = paths.states[:, :-1, :-1][moves]
    with torch.no_grad():
        logits: Tensor = policy(torch.nn.functional.one_hot(cells, EDGE).flatten(1).float())
        mask = grid.forward_mask(paths.states[:, :-1][moves])
        theirs = logits.masked_fill(~mask, -torch.inf).log_softmax(-1).gather(1, paths.actions[moves][:, None])[:, 0]
    rewards = env.log_reward(env.states_from_tensor(paths.ends[:, :-1]))
    return max(
        float((scored.log_pf[moves] - theirs).abs().max()),
        float((scored.log_reward - rewards).abs().max()),
    )
