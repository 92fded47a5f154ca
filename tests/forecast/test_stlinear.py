"""STLinear: local, linear where it says so, and clocked by the right step."""

from dataclasses import replace

import pytest
import torch

from pathline.core.errors import MethodError
from pathline.data import Windows
from pathline.forecast.baselines import Linear
from pathline.forecast.scaling import carry_forward
from pathline.forecast.stlinear import STLinear
from pathline.nn.macs import macs

BARE = {"node_width": 0, "time_width": 0, "day_width": 0, "activation": None, "blocks": 1, "width": 8}


def build(data, **config):
    return STLinear.seeded(data, 0, **{"width": 8} | config).eval()


def windows(data, count=6):
    return data.gather(torch.arange(count))


@pytest.mark.parametrize("config", [{}, {"wiring": "pool"}, {"template_rank": 2}], ids=str)
def test_no_sensor_ever_looks_at_another(series, config):
    method = build(series, **config)
    if method.template is not None:
        torch.nn.init.normal_(method.template.template)
    window = windows(series)
    past = window.past.clone().requires_grad_()
    seen = torch.ones_like(window.past_observed)
    forecast = method(replace(window, past=past, past_observed=seen))
    for n in range(4):
        (gradient,) = torch.autograd.grad(forecast[:, :, n].sum(), past, retain_graph=True)
        others = [m for m in range(4) if m != n]
        assert not gradient[:, :, others].any(), "an exact zero, not a small number"
        assert gradient[:, :, n].abs().min() > 0


def test_kernel_one_collapses_to_one_linear_map(series):
    """There the remainder has no say; and at any kernel, equal maps of both parts are one map of their sum."""
    one, merged = build(series, kernel=1), build(series, kernel=3)
    merged.load_state_dict(one.state_dict())
    window = windows(series)
    before = one.forecast(window)
    torch.nn.init.normal_(one.remainder.weight)
    assert torch.equal(one.forecast(window), before)
    assert not torch.allclose(merged.forecast(window), before, atol=1e-3), "kernel 3 does see a remainder"
    merged.remainder.weight.data.copy_(merged.trend.weight)
    torch.testing.assert_close(merged.forecast(window), before)


def test_without_activation_and_embeddings_training_ends_at_least_squares(complete):
    """The deep linear model, fitted by squared error to convergence, is the ridge regression of vanishing ridge."""
    exact = Linear.for_data(complete, ridge=1e-9)
    method = build(complete, **BARE).double().train()
    window = complete.gather(torch.arange(len(complete))).map(lambda x: x.double() if x.is_floating_point() else x)
    optimizer = torch.optim.LBFGS(
        method.parameters(), max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = ((method(window) - window.future) / method.scaling.std).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    ours, theirs = method(window).detach(), exact.double()(window)
    spread = theirs.std()
    assert ((ours - theirs).abs().max() / spread) < 1e-3
    assert ((theirs - window.future).abs().mean() / spread) > 1e-2, "the data are not merely reproduced"


def test_activation_none_is_affine_and_relu_is_not(series):
    a, b = windows(series, 2), windows(series, 4).map(lambda x: x[2:])
    seen = torch.ones_like(a.past_observed)

    def bend(method):
        ends = [replace(a, past=past, past_observed=seen) for past in (a.past, b.past, (a.past + b.past) / 2)]
        first, second, middle = (method.forecast(end) for end in ends)
        return ((first + second) / 2 - middle).abs().max().item()

    assert bend(build(series, activation=None)) < 1e-4
    assert bend(build(series)) > 1e-3


def test_pool_with_one_hot_embeddings_is_a_linear_model_per_sensor(complete):
    method = build(complete, wiring="pool", node_width=4, time_width=0, day_width=0, blocks=0)
    method.embedding.data.copy_(torch.eye(4))
    window = windows(complete)
    before = method.forecast(window)
    past = method.scaling(window.past)[..., 0]
    for n in range(4):
        trend, remainder = method.decomposition(past[:, :, n])
        hidden = torch.cat([trend, remainder], dim=-1) @ method.pool.weight_pool[n] + method.pool.bias_pool[n]
        torch.testing.assert_close(method.scaling.inverse(method.head(hidden)[..., None])[..., 0], before[:, :, n, 0])
    method.pool.weight_pool.data[2].zero_()
    changed = (method.forecast(window) - before).abs().amax((0, 1, 3)) > 0
    assert changed.tolist() == [False, False, True, False]


@pytest.mark.parametrize("target_clock", [False, True])
def test_the_clock_is_read_at_the_last_past_step(series, target_clock):
    method = build(series, target_clock=target_clock)
    window = windows(series)
    before = method.forecast(window)
    for name, period in (("time_of_day", 8), ("day_of_week", 7)):
        for step in range(8):
            clock = getattr(window, name).clone()
            clock[:, step] = (clock[:, step] + 1) % period
            changed = not torch.equal(method.forecast(replace(window, **{name: clock})), before)
            assert changed == (step == 3 or (target_clock and step == 4)), (name, step)


def test_the_sensor_s_vector_tells_equal_pasts_apart(series):
    window = windows(series)
    past, seen = (x[:, :, :1].expand(-1, -1, 4, -1) for x in (window.past, window.past_observed))
    same = replace(window, past=past, past_observed=seen)
    for wiring in ("concatenate", "pool"):
        forecast = build(series, wiring=wiring).forecast(same)
        assert (forecast[:, :, 1:] - forecast[:, :, :1]).abs().amax((0, 1, 3)).min() > 0
    bare = build(series, **BARE).forecast(same)
    assert torch.equal(bare, bare[:, :, :1].expand_as(bare))


def test_the_template_adds_a_curve_of_its_slot_to_every_sensor(series):
    plain, method = build(series), build(series, template_rank=2)
    shared = {name: value for name, value in method.state_dict().items() if not name.startswith("template.")}
    plain.load_state_dict(shared)
    window = windows(series)
    torch.testing.assert_close(method.forecast(window), plain.forecast(window))  # it starts at nothing
    torch.nn.init.normal_(method.template.template)
    added = (method.forecast(window) - plain.forecast(window)) / method.scaling.std
    slot = window.time_of_day[:, 3]
    for b in range(len(slot)):
        expected = torch.einsum("nr,rqc->qnc", method.template.node, method.template.template[slot[b]])
        torch.testing.assert_close(added[b], expected, rtol=1e-3, atol=1e-4)


def test_gaps_look_like_the_last_value(series):
    method = build(series)
    window = windows(series)
    filled = carry_forward(window.past, window.past_observed, method.scaling.mean)
    whole = replace(window, past=filled, past_observed=torch.ones_like(window.past_observed))
    assert not window.past_observed.all() and torch.equal(method.forecast(window), method.forecast(whole))


def test_cost_is_counted_by_hand_and_desk_size_is_60_thousand_parameters():
    method = STLinear(nodes=40, channels=1, history=12, horizon=12, steps_per_day=288)
    assert 55_000 < method.parameter_count() < 65_000
    past, clock = torch.zeros(1, 12, 40, 1), torch.zeros(1, 24, dtype=torch.long)
    window = Windows(past, past == 0, past, past == 0, clock, clock)
    assert macs(method, window) == 40 * (2 * 12 * 64 + 4 * 112 * 112 + 112 * 12)


def test_impossible_wirings_are_refused(series):
    for config in ({"wiring": "star"}, {"activation": "gelu"}, {"wiring": "pool", "node_width": 0}):
        with pytest.raises(MethodError):
            STLinear.for_data(series, **config)
