"""Sheaf4Rec: without a sheaf it is LightGCN, it does not care for names, and its map learner learns."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.core.schedule import rate_groups
from pathline.data import Interactions
from pathline.recommend.lightgcn import LightGCN
from pathline.recommend.sheaf_rec import SheafRec

PUBLISHED = {"start": 0.0, "identity": False, "readout": "side by side", "pace": 1.0, "l2": 1.0}  # the authors' program


@pytest.mark.parametrize("stalk, family", [(1, "diagonal"), (2, "diagonal"), (2, "general"), (2, "orthogonal")])
def test_with_all_maps_one_it_is_lightgcn(shop: Interactions, stalk: int, family: str) -> None:
    """Card 097, proof 2: maps 1, step 1, no I beside D, mean of the layers, and W = I, as it begins."""
    method = SheafRec.seeded(shop, 0, width=6, stalk=stalk, family=family, learned=False, ridge=0.0)
    other = LightGCN.seeded(shop, 0, width=6)
    with torch.no_grad():
        other.embedding.copy_(method.embedding)
    torch.testing.assert_close(method.factors(), other.factors(), atol=1e-6, rtol=0)


def test_the_paper_s_layer_by_dense_matrices(shop: Interactions) -> None:
    """x - L_hat (x W + b) with scalar maps tanh(w [own, other]), as the authors assemble it."""
    method = SheafRec.seeded(shop, 0, width=4, layers=1, **PUBLISHED)
    layer, x = method.layers[0], method.embedding.detach()
    n = 100
    w_own, w_other = layer.learner.own.weight[0], layer.learner.other.weight[0]
    assert layer.learner.own.bias is None
    dense = torch.zeros(n, n)
    for u, i in zip(shop.user.tolist(), (shop.item + 60).tolist(), strict=True):
        f_u = torch.tanh(w_own @ x[u] + w_other @ x[i])
        f_i = torch.tanh(w_own @ x[i] + w_other @ x[u])
        dense[u, u] += f_u**2
        dense[i, i] += f_i**2
        dense[u, i] = dense[i, u] = -f_u * f_i
    root = (dense.diagonal() + 1).rsqrt()
    normalised = root[:, None] * dense * root
    wanted = x - normalised @ (x @ layer.linear.weight.T + layer.linear.bias)
    found = method.factors().detach()
    torch.testing.assert_close(found[:, :4], x)
    torch.testing.assert_close(found[:, 4:], wanted.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("stalk, family", [(2, "diagonal"), (4, "diagonal"), (2, "orthogonal")])
def test_a_layer_with_stalks_by_dense_matrices(shop: Interactions, stalk: int, family: str) -> None:
    """Card 097, mechanics 4: x - step * tanh(L_hat ((I (x) W1) x W2 + b)), L_hat assembled block by block."""
    settings = {"width": 8, "layers": 1, "stalk": stalk, "family": family, "step": 0.7, "activation": "tanh"}
    method = SheafRec.seeded(shop, 0, **settings, start=0.2).double()
    layer, x, n = method.layers[0], method.embedding.detach(), 100
    with torch.no_grad():
        for weight in (layer.mix.weight, layer.linear.weight, layer.linear.bias):
            weight.copy_(torch.randn_like(weight))
    laplacian, ends = method.sheaf
    maps = layer.maps(x, laplacian, ends).detach()
    maps = torch.diag_embed(maps) if family == "diagonal" else maps
    dense = x.new_zeros(n, n, stalk, stalk)
    for e, (own, other) in enumerate(laplacian.edges.T.tolist()):
        dense[own, own] += maps[e].T @ maps[e]
        dense[own, other] -= maps[e].T @ maps[laplacian.reverse[e]]
    root = (dense[torch.arange(n), torch.arange(n)].diagonal(dim1=1, dim2=2) + 1).rsqrt()  # of diagonal blocks
    dense = root[:, None, :, None] * dense * root[None, :, None, :]
    y = torch.einsum("ts,nsf->ntf", layer.mix.weight, x.view(n, stalk, -1))
    y = torch.einsum("nmst,mtf->nsf", dense, y @ layer.linear.weight.T + layer.linear.bias)
    wanted = x - 0.7 * y.tanh().reshape(n, -1)
    torch.testing.assert_close((2 * method.factors() - x).detach(), wanted.detach())  # the mean of two layers


@pytest.mark.parametrize("stalk, family", [(1, "diagonal"), (2, "general"), (4, "orthogonal")])
def test_relabelling_users_and_items_permutes_their_factors(shop: Interactions, stalk: int, family: str) -> None:
    """Card 097, proof 4, in float64."""
    generator = torch.Generator().manual_seed(1)
    p, q = torch.randperm(60, generator=generator), torch.randperm(40, generator=generator)
    place = torch.cat([p, q + 60])
    one = SheafRec.seeded(shop, 0, width=8, stalk=stalk, family=family).double()
    two = SheafRec.seeded(
        replace(shop, user=p[shop.user], item=q[shop.item]), 0, width=8, stalk=stalk, family=family
    ).double()
    with torch.no_grad():
        two.embedding[place] = one.embedding
    torch.testing.assert_close(two.factors()[place], one.factors())


@pytest.mark.parametrize("family", ["diagonal", "general", "orthogonal"])
def test_the_map_learner_has_the_gradient_of_finite_differences(shop: Interactions, family: str) -> None:
    method = SheafRec.seeded(shop, 0, width=4, stalk=2, family=family, layers=2, start=0.3, identity=False).double()
    batch = next(iter(method.batches(shop, 100, torch.Generator().manual_seed(0))))
    method.loss(batch)["loss"].backward()
    for layer in method.layers:
        for weight in (layer.learner.own.weight, layer.learner.other.weight):
            assert float(weight.grad.abs().max()) > 1e-6
            with torch.no_grad():
                values = []
                for shift in (1e-5, -2e-5):
                    weight[0, 1] += shift
                    values.append(float(method.loss(batch)["loss"]))
                weight[0, 1] += 1e-5
            assert float(weight.grad[0, 1]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_maps_begin_where_they_are_told_and_a_symmetric_learner_has_no_opposed_ends(shop: Interactions) -> None:
    bold, shy = (SheafRec.seeded(shop, 0, width=8, start=start).map_statistics() for start in (1.5, 0.0))
    assert bold[0]["mean"] == pytest.approx(0.905, abs=0.02) and bold[0]["opposed"] == 0
    assert abs(shy[0]["mean"]) < 0.1 and shy[0]["opposed"] > 0.1
    method = SheafRec.seeded(shop, 0, width=8, start=0.0)
    with torch.no_grad():
        for layer in method.layers:
            layer.learner.other.weight.copy_(layer.learner.own.weight)
    assert all(layer["opposed"] == 0 for layer in method.map_statistics())


def test_maps_and_weights_learn_at_a_pace_of_their_own(shop: Interactions) -> None:
    for pace in (0.1, 1.0):
        method = SheafRec.seeded(shop, 0, width=4, pace=pace)
        found = {id(p): group["relative"] for group in rate_groups(method) for p in group["params"]}
        assert found[id(method.embedding)] == 1
        assert {found[id(p)] for p in method.layers.parameters()} == {pace}
    assert SheafRec.rates == {}, "which is of one method, not of all"


def test_every_edge_hears_its_own_end_first(shop: Interactions) -> None:
    """Swapping what a learner makes of the two ends swaps the maps of every edge's ends."""
    method = SheafRec.seeded(shop, 0, width=4, layers=1, start=0.0)
    laplacian, ends = method.sheaf
    learner, x = method.layers[0].learner, method.embedding
    maps = learner(x, ends)
    with torch.no_grad():
        own, other = learner.own.weight.clone(), learner.other.weight.clone()
        learner.own.weight.copy_(other)
        learner.other.weight.copy_(own)
    torch.testing.assert_close(learner(x, ends), maps[laplacian.reverse])
    assert float((maps - maps[laplacian.reverse]).detach().abs().max()) > 0.01


def test_dislikes_are_edges_if_asked_but_never_likes(shop: Interactions) -> None:
    rated = replace(shop, rating=torch.arange(len(shop)) % 2 + 0.0, threshold=1.0)
    liked, all_edges = (SheafRec.seeded(rated, 0, width=4, edges=edges) for edges in ("liked", "rated"))
    assert liked.sheaf[0].edges.shape[1] == len(shop) and all_edges.sheaf[0].edges.shape[1] == 2 * len(shop)
    for batch in all_edges.batches(rated, 64, torch.Generator()):
        for user, item in zip(batch.user.tolist(), batch.liked.tolist(), strict=True):
            assert rated.rating[(rated.user == user) & (rated.item == item)].item() == 1


def test_it_learns_and_refuses_settings_that_mean_nothing(shop: Interactions) -> None:
    split = shop.split(0)
    method = SheafRec.seeded(split, 0, width=8).fit(split, steps(80), batch_size=256, lr=0.01)
    assert method.evaluate(split.test)["ndcg@20"] > 0.25
    for setting, said in (
        ({"width": 7, "stalk": 2}, "a width of 7 is no multiple of stalks of 2"),
        ({"activation": "sine"}, "no activation 'sine'"),
        ({"family": "unitary"}, "unitary"),
        ({"readout": "sum"}, "readout is 'sum'; choose side by side or mean"),
        ({"pace": 0.0}, "3 layers at a pace of 0"),
    ):
        with pytest.raises(MethodError, match=said):
            SheafRec.for_data(shop, **setting)
