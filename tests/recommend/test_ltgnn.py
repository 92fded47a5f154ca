"""LTGNN: alpha = 1 is matrix factorisation, cost is linear in the interactions, and training follows its memory."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import Interrupted, MethodError
from pathline.data import Interactions
from pathline.graph import personalised_pagerank
from pathline.nn.lazy_adam import LazyAdam
from pathline.recommend.baselines import MatrixFactorization
from pathline.recommend.lightgcn import LightGCN
from pathline.recommend.ltgnn import LTGNN
from pathline.recommend.rivals import APPNP, NGCF, SampledLightGCN, SimGCL
from pathline.sims.power_law_tastes import power_law_tastes


@pytest.mark.parametrize("adjust", [(0.0, 0.0, 0.0), (0.2, 0.0, 0.0)])
def test_without_a_graph_it_is_matrix_factorisation_exactly(shop: Interactions, adjust: tuple[float, ...]) -> None:
    """Card 143, proof 4: alpha = 1; same loss, same gradient."""
    ours = LTGNN.seeded(shop, 0, width=6, alpha=1.0, l2=0.01, adjust=adjust)
    theirs = MatrixFactorization.seeded(shop, 0, width=6, l2=0.01)
    assert torch.equal(ours.embedding, theirs.embedding)
    batch = next(iter(ours.batches(shop, 200, torch.Generator().manual_seed(0))))
    losses = [method.loss(batch)["loss"] for method in (ours, theirs)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(ours.embedding.grad.to_dense(), theirs.embedding.grad)
    torch.testing.assert_close(ours.factors(), theirs.factors())


def test_an_epoch_touches_twice_the_edges_for_twice_the_interactions_and_lightgcn_four_times() -> None:
    """Card 143, proof 5."""
    touched: dict[str, list[int]] = {"ltgnn": [], "lightgcn": []}
    for count in (8000, 16_000):
        data = power_law_tastes(count, 400, 300, exponent=0.3, spread=0.3)
        assert len(data) == count
        for name, cls in (("ltgnn", LTGNN), ("lightgcn", LightGCN)):
            method = cls.seeded(data, 0, width=2)
            method.begin_epoch()
            for batch in method.batches(data, 200, torch.Generator().manual_seed(0)):
                method.loss(batch)
            touched[name].append(method.edges_touched)
    ratio = {name: counts[1] / counts[0] for name, counts in touched.items()}
    assert ratio["ltgnn"] == pytest.approx(2, rel=0.05) and ratio["lightgcn"] == pytest.approx(4, rel=0.05)


def test_a_step_reads_and_moves_the_rows_of_its_batch_only(shop: Interactions) -> None:
    method = LTGNN.seeded(shop, 0, width=4)
    batch = next(iter(method.batches(shop, 8, torch.Generator().manual_seed(0))))
    before, memory = method.embedding.detach().clone(), method.memory.values.clone()
    optimizer = method.optimizer(method.recipe)
    method.loss(batch)["loss"].backward()
    assert method.embedding.grad.is_sparse
    optimizer.step()
    targets = torch.cat([batch.user, batch.liked + 60, batch.other + 60]).unique()
    moved = (method.embedding.detach() != before).any(1).nonzero().flatten()
    assert torch.equal(moved, targets)
    assert torch.equal((method.memory.values != memory).any(1).nonzero().flatten(), targets)
    assert torch.equal(method.memory.gradients.any(1).nonzero().flatten(), targets)


def test_after_some_epochs_the_memory_is_near_the_fixed_point_of_the_present_rows(shop: Interactions) -> None:
    method = LTGNN.seeded(shop, 0, width=8, neighbours=5)
    method.fit(shop, steps(200), batch_size=128, lr=2e-3, schedule="constant")
    table = method.embedding.detach()
    exact = personalised_pagerank(method.adjacency, table, method.alpha, 60)
    error = float((method.memory.values - exact).norm() / exact.norm())
    cold = float((table - exact).norm() / exact.norm())
    assert error < 0.1 < cold
    from_memory = LTGNN(**{**method.config, "hops": 0})
    from_memory.load_state_dict(method.state_dict())
    torch.testing.assert_close(from_memory.factors(), method.memory.values)


@pytest.mark.parametrize("adjust", [(0.2, 0.0, 0.0), (0.0, 0.15, 0.0), (0.0, 0.0, 0.3), (0.1, 0.1, 0.1)])
def test_adjustments_take_hops_out_in_training_as_in_recommending(
    shop: Interactions, adjust: tuple[float, ...]
) -> None:
    """With a converged memory and all neighbours, rows of a batch equal those of the whole graph."""
    method = LTGNN.seeded(shop, 0, width=4, neighbours=None, hops=60, adjust=adjust)
    with torch.no_grad():
        method.memory.values.copy_(personalised_pagerank(method.adjacency, method.embedding, method.alpha, 60))
        method.refresh()
    dense = torch.zeros(100, 100).index_put((method.adjacency.row, method.adjacency.column), method.adjacency.value)
    e, alpha = method.embedding.detach(), method.alpha
    root = method.adjacency.pointer.diff().float().sqrt()
    z = alpha * torch.linalg.solve(torch.eye(100) - (1 - alpha) * dense, e)
    hops = (e, dense @ e, torch.outer(root, root) / root.square().sum() @ e)
    wanted = (z - sum(c * hop for c, hop in zip(adjust, hops, strict=True))) / (1 - sum(adjust))
    torch.testing.assert_close(method.factors().detach(), wanted, atol=1e-5, rtol=1e-4)
    seen = {}
    method.compared = lambda table, learned, user, liked, other: seen.update(table=table, place=user) or {}  # type: ignore[method-assign]
    batch = next(iter(method.batches(shop, 50, torch.Generator().manual_seed(0))))
    method.loss(batch)
    torch.testing.assert_close(seen["table"][seen["place"]].detach(), wanted[batch.user], atol=1e-5, rtol=1e-4)


def test_lazy_adam_is_adam_where_every_row_has_a_gradient_and_leaves_the_others() -> None:
    start = torch.randn(5, 3)
    ours, theirs = torch.nn.Parameter(torch.zeros(5, 3)), torch.nn.Parameter(torch.zeros(5, 3))
    for weight in (ours, theirs):
        weight.data.copy_(start)
    lazy, adam = LazyAdam([ours], lr=0.1), torch.optim.Adam([theirs], lr=0.1)
    for step in range(4):
        gradient = torch.randn(5, 3)
        theirs.grad = gradient
        ours.grad = gradient.to_sparse(1) if step % 2 else gradient
        lazy.step()
        adam.step()
        torch.testing.assert_close(ours, theirs)
    kept = ours.detach().clone()
    ours.grad = torch.sparse_coo_tensor([[1, 1]], torch.ones(2, 3), (5, 3), check_invariants=True)
    lazy.step()
    assert torch.equal(ours[[0, 2, 3, 4]], kept[[0, 2, 3, 4]]) and not torch.equal(ours[1], kept[1])


def test_a_killed_run_ends_as_one_that_was_not(shop: Interactions, tmp_path: Path) -> None:
    """Memories and the optimiser's moments are part of what a checkpoint holds."""
    whole = LTGNN.seeded(shop, 0, width=4).fit(shop, steps(30), batch_size=100)
    begun = LTGNN.seeded(shop, 0, width=4)
    plain, calls = begun.loss, []

    def kill_at_11(batch):  # type: ignore[no-untyped-def]
        calls.append(batch)
        if len(calls) == 11:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(batch)

    begun.loss = kill_at_11  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        begun.fit(shop, steps(30), batch_size=100, folder=tmp_path)
    resumed = LTGNN.seeded(shop, 0, width=4).fit(shop, steps(30), batch_size=100, folder=tmp_path, resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_settings_that_mean_nothing_are_refused(shop: Interactions) -> None:
    with pytest.raises(MethodError, match="alpha is 0"):
        LTGNN.for_data(shop, alpha=0.0)
    with pytest.raises(MethodError, match="three shares whose sum is below 1"):
        LTGNN.for_data(shop, adjust=(0.5, 0.5, 0.0))


# -- rivals -----------------------------------------------------------------------------------------------------------


def test_appnp_is_the_truncated_fixed_point(shop: Interactions) -> None:
    method = APPNP.seeded(shop, 0, width=4, layers=3)
    wanted = personalised_pagerank(method.adjacency, method.embedding, 0.45, 3)
    torch.testing.assert_close(method.factors().detach(), wanted)


def test_sampled_lightgcn_with_all_neighbours_is_lightgcn(shop: Interactions) -> None:
    whole, sampled = LightGCN.seeded(shop, 0, width=4), SampledLightGCN.seeded(shop, 0, width=4, neighbours=100)
    batch = next(iter(whole.batches(shop, 50, torch.Generator().manual_seed(0))))
    losses = [method.loss(batch)["loss"] for method in (whole, sampled)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(whole.embedding.grad, sampled.embedding.grad)


def test_ngcf_learns(shop: Interactions) -> None:
    split = replace(shop, name="shop").split(0)
    method = NGCF.seeded(split, 0, width=8).fit(split, steps(60), batch_size=256, lr=0.01)
    assert method.factors().shape == (100, 32) and method.evaluate(split.test)["ndcg@20"] > 0.2


def test_noise_of_a_view_keeps_its_orthant_and_its_length_and_none_gives_the_factors(shop: Interactions) -> None:
    method = SimGCL.seeded(shop, 0, width=8, layers=1, noise=0.1)
    clean = method.adjacency @ method.embedding.detach()
    noise = method.view().detach() - clean
    torch.testing.assert_close(noise.norm(dim=1), torch.full((100,), 0.1), atol=1e-5, rtol=0)
    assert bool((noise * clean >= -1e-6).all())
    assert not torch.equal(method.view(), method.view())
    quiet = SimGCL.seeded(shop, 0, width=8, noise=0.0)
    torch.testing.assert_close(quiet.view(), quiet.factors())
    plain = LightGCN.seeded(shop, 0, width=8)
    torch.testing.assert_close(4 * plain.factors() - plain.embedding, 3 * quiet.factors())


def test_contrast_is_the_cross_entropy_of_finding_the_other_view_and_spreads_the_factors(shop: Interactions) -> None:
    method = SimGCL.seeded(shop, 0, width=2, temperature=0.5)
    one, other = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    root = 2**0.5
    wanted = -(torch.tensor([2 - torch.logaddexp(torch.tensor(2.0), torch.tensor(root)),
                             root - torch.logaddexp(torch.tensor(0.0), torch.tensor(root))]).mean())  # fmt: skip
    torch.testing.assert_close(method.told_apart(one, other), wanted)
    potential = {}
    for contrast in (0.0, 0.5):
        trained = SimGCL.seeded(shop, 0, width=8, contrast=contrast).fit(shop, steps(60), batch_size=256, lr=0.01)
        users = torch.nn.functional.normalize(trained.factors()[:60].detach())
        potential[contrast] = float((-2 * torch.pdist(users).square()).exp().mean())
    assert potential[0.5] < 0.8 * potential[0.0], "Gaussian potential of pairs: smaller where they are spread evenly"
