"""GMAN: equivariant over sensors, causal over time, direct over the horizon."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pathline.forecast.calendar import Calendar
from pathline.forecast.gman import (
    GMAN,
    SpatialAttention,
    STAttentionBlock,
    STEmbedding,
    TemporalAttention,
    TransformAttention,
    attend,
    split_heads,
)

SMALL = {"heads": 2, "head_width": 4, "embedding": 6}


def build(data, **config):
    """A GMAN in eval mode whose batch norms hold statistics of data and whose biases are not 0."""
    method = GMAN.seeded(data, 0, **SMALL | config)
    for name, p in method.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.1)
    method.train()(windows(data))
    return method.eval()


def windows(data, count=6):
    return data.gather(torch.arange(count))


def test_permuting_sensors_and_their_vectors_permutes_the_forecasts(series):
    method = build(series, blocks=2)
    order = torch.tensor([2, 0, 3, 1])
    window = windows(series)
    before = method.forecast(window)
    method.embedding.vectors.copy_(method.embedding.vectors[order])
    moved = replace(window, past=window.past[:, :, order], past_observed=window.past_observed[:, :, order])
    torch.testing.assert_close(method.forecast(moved), before[:, :, order], rtol=0, atol=1e-5 * before.abs().max())
    assert not torch.allclose(before[:, :, order], before, atol=1e-2)


def gradient_over_time(causal, steps=5):
    torch.manual_seed(0)
    layer = TemporalAttention(8, heads=2, norm="batch", causal=causal).eval()
    x = torch.randn(1, steps, 3, 16, requires_grad=True)
    out = layer(x)
    rows = []
    for t in range(steps):
        (gradient,) = torch.autograd.grad(out[0, t].square().sum(), x, retain_graph=True)
        rows.append(gradient[0].abs().sum((1, 2)))
    return torch.stack(rows)  # (output step, input step)


def test_causal_attention_sees_the_past_and_itself_only():
    influence = gradient_over_time(causal=True)
    earlier = torch.ones(5, 5).tril().bool()
    assert not influence[~earlier].any() and (influence[earlier] > 0).all()
    assert (gradient_over_time(causal=False) > 0).all()


def test_temporal_attention_keeps_sensors_apart_and_spatial_attention_keeps_steps_apart():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 16, requires_grad=True)
    for layer, apart in ((TemporalAttention(8, 2, "batch", False), 2), (SpatialAttention(8, 2, "batch"), 1)):
        out = layer.eval()(x)
        (gradient,) = torch.autograd.grad(out.select(apart, 1).square().sum(), x)
        touched = gradient.abs().sum([d for d in range(4) if d != apart]) > 0
        assert touched.tolist() == [place == 1 for place in range(x.shape[apart])]
        mixed = gradient.abs().sum([d for d in range(4) if d not in (0, 3 - apart)]) > 0
        assert mixed.all(), "along the other axis it looks at everything"


def test_attention_is_the_softmax_of_scaled_products():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 5, 3, 4), torch.randn(2, 7, 3, 4), torch.randn(2, 7, 3, 4)
    weights = torch.einsum("bqld,bkld->blqk", q, k).div(4**0.5).softmax(-1)
    torch.testing.assert_close(attend(q, k, v), torch.einsum("blqk,bkld->bqld", weights, v))


def test_transform_attention_without_queries_averages_the_past():
    torch.manual_seed(0)
    layer = TransformAttention(8, heads=2, norm="batch").eval()
    h, past, future = torch.randn(2, 6, 3, 8), torch.randn(2, 6, 3, 8), torch.randn(2, 4, 3, 8)
    spread = layer.attention(h, past, future).std(1).max()
    assert spread > 1e-4, "with queries, horizons differ"
    layer.query[0].weight.data.zero_()
    layer.query[0].bias.data.zero_()
    mean = layer.value(h).mean(1, keepdim=True)
    torch.testing.assert_close(layer.attention(h, past, future), mean.expand(-1, 4, -1, -1))


def projected(layer, nodes, width=8, steps=(2, 3)):
    x = torch.randn(*steps, nodes, 2 * width)
    return split_heads(layer.project(x), layer.heads, parts=3)


def test_one_group_is_full_attention():
    torch.manual_seed(0)
    layer = SpatialAttention(8, 2, "batch", groups=1).eval()
    q, k, v = projected(layer, nodes=9)
    torch.testing.assert_close(layer._grouped(q, k, v), layer._dense(q, k, v), rtol=0, atol=1e-6)


@pytest.mark.parametrize("nodes", [12, 10])
def test_groups_attend_inside_and_their_maxima_attend_to_each_other(nodes):
    torch.manual_seed(0)
    layer = SpatialAttention(8, 2, "batch", groups=3).eval()
    q, k, v = projected(layer, nodes)
    member, real = layer._partition(nodes, q.device)
    groups = [member[g][real[g]] for g in range(3)]
    assert torch.cat(groups).sort().values.tolist() == list(range(nodes))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    expected = torch.empty_like(q)
    inside = [layer._dense(q[:, :, g], k[:, :, g], v[:, :, g]) for g in groups]
    speakers = torch.stack([part.amax(2) for part in inside], dim=2).flatten(-2)
    between = layer._dense(*split_heads(layer.between(speakers), 2, parts=3))
    for number, (group, part) in enumerate(zip(groups, inside, strict=True)):
        expected[:, :, group] = part + between[:, :, number, None]
    torch.testing.assert_close(layer._grouped(q, k, v), expected)


def test_groups_cost_nodes_times_size_plus_groups_squared_scores(monkeypatch):
    torch.manual_seed(0)
    nodes, groups = 24, 4
    scores = []
    real_attention = F.scaled_dot_product_attention

    def counting(q, k, v, *rest, **options):
        scores.append(q.shape[0] * q.shape[2] * k.shape[2] // (2 * 3))  # per step of the 2 x 3 in `projected`
        return real_attention(q, k, v, *rest, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counting)
    for count, expected in ((groups, nodes * (nodes // groups) + groups**2), (1, nodes**2)):
        scores.clear()
        layer = SpatialAttention(8, 2, "batch", groups=count).eval()
        layer(torch.randn(2, 3, nodes, 16))
        assert sum(scores) == expected


def test_partitions_are_fresh_in_training_and_fixed_otherwise():
    layer = SpatialAttention(8, 2, "batch", groups=3)
    torch.manual_seed(0)
    first, second = layer.train()._partition(12, torch.device("cpu"))[0], layer._partition(12, torch.device("cpu"))[0]
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(first, layer._partition(12, torch.device("cpu"))[0]), "it follows torch's seed"
    x = torch.randn(1, 2, 12, 16)
    layer.eval()
    state = torch.get_rng_state()
    assert torch.equal(layer(x), layer(x)) and torch.equal(state, torch.get_rng_state())


def test_large_networks_are_grouped_by_default_and_small_ones_are_not():
    def groups(nodes, **config):
        return GMAN(nodes, 1, 12, 12, 288, **SMALL | config).encoder[0].spatial.groups

    assert groups(256) == 1 and groups(256, groups=4) == 4
    cost = {g: 325 * 325 / g + g * g for g in range(1, 326)}
    assert groups(325) == min(cost, key=cost.get)


def test_group_attention_trains_through_the_whole_method(series):
    method = GMAN.seeded(series, 0, **SMALL, groups=2)
    method.train().loss(windows(series)).backward()
    assert all(p.grad is not None for p in method.parameters())
    method.eval()
    assert torch.equal(method.forecast(windows(series)), method.forecast(windows(series)))


def test_looking_the_clock_up_equals_one_hot_vectors_times_a_matrix(series):
    torch.manual_seed(0)
    embedding = STEmbedding(4, 6, Calendar(8), 8, "batch").eval()
    torch.nn.init.normal_(embedding.vectors)
    window = windows(series)
    one_hot = torch.cat([F.one_hot(window.day_of_week, 7), F.one_hot(window.time_of_day, 8)], dim=-1).float()
    temporal = embedding.temporal(one_hot @ embedding.rows)
    expected = temporal[:, :, None] + embedding.spatial(embedding.vectors)
    torch.testing.assert_close(embedding(window), expected)
    assert expected.shape == (6, 8, 4, 8)


def test_every_future_moment_has_its_own_embedding_and_no_forecast_feeds_another(series):
    """Changing the clock of one future step changes the forecast there; without decoder blocks, only there."""
    method = build(series, blocks=0)
    window = windows(series)
    before = method.forecast(window)
    for step in range(4):
        clock = window.time_of_day.clone()
        clock[:, 4 + step] = (clock[:, 4 + step] + 3) % 8
        moved = (method.forecast(replace(window, time_of_day=clock)) - before).abs().amax((0, 2, 3)) > 0
        assert moved.tolist() == [q == step for q in range(4)]


def test_fusion_chooses_between_space_and_time_and_adds_to_the_input():
    torch.manual_seed(0)
    block = STAttentionBlock(8, 2, "batch", causal=False, groups=1).eval()
    h, ste = torch.randn(2, 5, 3, 8), torch.randn(2, 5, 3, 8)
    x = torch.cat([h, ste], dim=-1)
    for bias, chosen in ((50.0, block.spatial), (-50.0, block.temporal)):
        block.gate_temporal.bias.data.fill_(bias)
        torch.testing.assert_close(block(h, ste), h + block.output(chosen(x)), rtol=1e-4, atol=1e-5)


def test_batch_norm_runs_over_everything_but_channels_and_layer_norm_is_offered(series):
    torch.manual_seed(0)
    method = GMAN.seeded(series, 0, **SMALL).train()
    hidden = method.input[0][1](torch.randn(3, 4, 5, 8) * 7 + 2)
    torch.testing.assert_close(hidden.mean((0, 1, 2)), torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(hidden.var((0, 1, 2), correction=0), torch.ones(8), rtol=0, atol=1e-3)
    layered = GMAN.seeded(series, 0, **SMALL, norm="layer")
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in layered.modules())
    assert layered.forecast(windows(series)).isfinite().all()


def test_vectors_come_from_the_training_graph_or_from_correlations(series):
    one, again = build(series), build(series)
    assert torch.equal(one.embedding.vectors, again.embedding.vectors)
    without = build(replace(series, adjacency=None))
    assert without.embedding.vectors.std() > 0.1
    assert not torch.allclose(one.embedding.vectors, without.embedding.vectors)
    assert "embedding.vectors" in one.state_dict() and not one.embedding.vectors.requires_grad


@pytest.mark.parametrize(("day_slots", "blurred"), [(2, True), (None, False)])
def test_only_steps_of_the_same_clock_row_can_trade_their_readings(complete, day_slots, blurred):
    """Attention has no other notion of order, which is why every step of the day has its own row by default."""
    method = build(complete, day_slots=day_slots, causal=False)
    window = complete.gather(torch.tensor([0]))  # steps 0 to 3 of the day: with two rows, all in the first
    last_two_traded = replace(window, past=window.past[:, [0, 1, 3, 2]])
    change = (method.forecast(last_two_traded) - method.forecast(window)).abs().max()
    assert (change < 1e-3) == blurred
    assert method.embedding.calendar.slots == (day_slots or complete.steps_per_day)
