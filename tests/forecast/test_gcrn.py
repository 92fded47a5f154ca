"""GCRN: what its cells must be whatever they have learned."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.data import Series
from pathline.forecast.gcrn import GCRN
from pathline.graph import dense_adjacency, lattice_graph, scaled_laplacian
from pathline.nn.graph_recurrent import ChebyshevGRU, ChebyshevLSTM
from pathline.sims.bouncing_digits import bouncing_digits, bouncing_pixels, pixels_as_series

SMALL = {"width": 6, "coefficients": 3}


def lattice(side):
    edges, apart = lattice_graph(side, side)
    return scaled_laplacian(dense_adjacency(edges, side * side, torch.exp(-apart.square())))


def path(nodes):
    line = torch.diag(torch.ones(nodes - 1), 1)
    return scaled_laplacian(line + line.T)


@pytest.mark.parametrize("cell", [ChebyshevLSTM, ChebyshevGRU])
@pytest.mark.parametrize("coefficients", [1, 2, 4])
def test_a_step_sees_k_minus_one_hops_and_s_steps_see_s_times_as_many(cell, coefficients):
    torch.manual_seed(0)
    nodes, changed, steps = 25, 12, 3
    unit, matrix = cell(2, 4, coefficients), path(nodes)
    x = torch.randn(nodes, steps, 1, 2)
    other = x.clone()
    other[changed, 0] += 1.0  # at the first step only
    before, after = (unit(value, matrix)[0] for value in (x, other))
    distance = (torch.arange(nodes) - changed).abs()
    for step in range(steps):
        difference = (after[:, step] - before[:, step]).abs().amax((1, 2))
        reach = (step + 1) * (coefficients - 1)
        if cell is ChebyshevGRU:  # its candidate filters what its gates have filtered
            reach = (coefficients - 1) * (1 + 2 * step)
        assert (difference[distance > reach] == 0).all()
        assert (difference[distance <= (step + 1) * (coefficients - 1)] > 0).all()


def test_one_coefficient_without_peepholes_is_torchs_lstm_at_every_node():
    torch.manual_seed(0)
    unit, plain = ChebyshevLSTM(3, 5, 1, peephole=False), torch.nn.LSTM(3, 5)
    plain.weight_ih_l0.data = unit.input.weight[0].T.clone()
    plain.weight_hh_l0.data = unit.hidden.weight[0].T.clone()
    plain.bias_ih_l0.data, plain.bias_hh_l0.data = unit.input.bias.data.clone(), torch.zeros(20)
    x = torch.randn(7, 6, 2, 3)
    output, (h, c) = unit(x, path(7))
    expected, (last, memory) = plain(x.permute(1, 0, 2, 3).flatten(1, 2))
    torch.testing.assert_close(output.permute(1, 0, 2, 3).flatten(1, 2), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.stack([h, c]).flatten(1, 2), torch.cat([last, memory]), rtol=0, atol=1e-6)
    assert unit.input.bias[5:10].eq(1).all()  # a fresh cell remembers


def test_one_coefficient_gru_is_a_gated_recurrent_unit_at_every_node():
    torch.manual_seed(0)
    unit = ChebyshevGRU(3, 5, 1)
    x, h = torch.randn(4, 2, 3), torch.randn(4, 2, 5)
    gates, candidate = (x @ unit.input.weight[0] + unit.input.bias).split([10, 5], -1)
    reset, keep = torch.sigmoid(gates + h @ unit.hidden.weight[0]).chunk(2, -1)
    new = torch.tanh(candidate + (reset * h) @ unit.candidate.weight[0])
    torch.testing.assert_close(unit.step(x, (h,), path(4))[0], keep * h + (1 - keep) * new)


def test_peepholes_are_the_papers_the_output_gate_looks_at_the_new_memory():
    torch.manual_seed(0)
    unit = ChebyshevLSTM(1, 1, 2)
    unit.peephole.data = torch.tensor([[0.7], [-1.3], [2.1]])
    matrix, x, h, c = path(3), torch.randn(3, 1, 1), torch.randn(3, 1, 1), torch.randn(3, 1, 1)

    def gate(number):
        both = [(torch.einsum("nm,mbi->nbi", matrix, v), v, w) for v, w in ((x, unit.input), (h, unit.hidden))]
        return (
            sum(v * w.weight[0, 0, number] + near * w.weight[1, 0, number] for near, v, w in both)
            + (unit.input.bias[number])
        )

    memory = torch.sigmoid(gate(1) - 1.3 * c) * c + torch.sigmoid(gate(0) + 0.7 * c) * torch.tanh(gate(2))
    output = torch.sigmoid(gate(3) + 2.1 * memory) * torch.tanh(memory)
    torch.testing.assert_close(unit.step(x, (h, c), matrix), (output, memory))


@pytest.mark.parametrize("options", [{}, {"cell": "gru"}, {"layers": 2, "peephole": False}])
def test_renaming_sensors_renames_forecasts(complete, options):
    order = torch.tensor([2, 0, 3, 1])
    renamed = replace(
        complete,
        values=complete.values[:, order],
        observed=complete.observed[:, order],
        adjacency=complete.adjacency[order][:, order],
        positions=None,
    )
    method = GCRN.seeded(complete, 0, **SMALL, **options)
    other = GCRN.seeded(renamed, 0, **SMALL, **options)  # the same weights: none belongs to a sensor
    expected = method.forecast(complete.last_window())[:, :, order]
    torch.testing.assert_close(other.forecast(renamed.last_window()), expected, rtol=1e-5, atol=1e-4)
    assert (expected - method.forecast(complete.last_window())).abs().max() > 1e-3


def test_turning_the_pictures_turns_the_forecast_and_the_weights_fit_a_larger_lattice():
    clips = bouncing_digits(3, 10, seed=1)
    settings = {"width": 5, "coefficients": 4, "output": "ink", "clock": False}
    data = pixels_as_series(clips, "clips")
    turned = pixels_as_series(clips.rot90(1, (2, 3)), "turned")
    method = GCRN.seeded(data, 0, **settings)
    forecast = method.forecast(data.gather(torch.arange(3))).unflatten(2, (16, 16))
    other = method.forecast(turned.gather(torch.arange(3))).unflatten(2, (16, 16))
    torch.testing.assert_close(other, forecast.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    assert (other - forecast).abs().max() > 1e-3
    wider = pixels_as_series(torch.nn.functional.pad(clips, (2, 2, 2, 2)), "wider")
    large = GCRN.seeded(wider, 1, **settings)
    missing = large.load_state_dict(
        {name: value for name, value in method.state_dict().items() if name != "laplacian"}, strict=False
    )
    assert missing.missing_keys == ["laplacian"]
    inner = large.forecast(wider.gather(torch.arange(3))).unflatten(2, (20, 20))
    assert inner.shape == (3, 5, 20, 20, 1)
    # where the border is further away than all filters reach, a lattice is a lattice
    deep = {**settings, "coefficients": 1}
    small, large = GCRN.seeded(data, 0, **deep), GCRN.seeded(wider, 0, **deep)
    inner = large.forecast(wider.gather(torch.arange(3))).unflatten(2, (20, 20))[:, :, 2:18, 2:18]
    torch.testing.assert_close(inner, small.forecast(data.gather(torch.arange(3))).unflatten(2, (16, 16)))


def test_power_iteration_gives_the_laplacian_of_the_exact_largest_eigenvalue(series):
    method = GCRN.for_data(series, lambda_max="power", **SMALL)
    top = torch.linalg.eigvalsh(method.laplacian)[-1]
    assert 0.95 < top <= 1.0
    bound = GCRN.for_data(series, **SMALL)
    torch.testing.assert_close(bound.laplacian, scaled_laplacian(torch.maximum(series.adjacency, series.adjacency.T)))


def test_ink_is_trained_on_the_cross_entropy_summed_over_a_window(complete):
    data = bouncing_pixels(8)
    method = GCRN.seeded(data, 0, output="ink", clock=False, **SMALL)
    window = data.gather(torch.arange(8))
    share = method.forecast(window)
    assert share.min() > 0 and share.max() < 1
    exact = -(window.future * share.log() + (1 - window.future) * (1 - share).log()).sum() / 8
    terms = method.loss(window)
    torch.testing.assert_close(terms["loss"], exact, rtol=1e-4, atol=0)
    torch.testing.assert_close(terms["BCE per frame"], exact / 5, rtol=1e-4, atol=0)
    with pytest.raises(DataError, match="values go beyond"):
        GCRN.for_data(complete, output="ink")


@pytest.mark.parametrize("ink", [False, True])
def test_the_decoder_feeds_on_itself_and_in_training_now_and_then_on_the_truth(complete, ink):
    data = bouncing_pixels(4) if ink else complete
    settings = {"output": "ink", "clock": False} if ink else {}
    method = GCRN.seeded(data, 0, sampling_decay=1e6, **settings, **SMALL)
    window = data.gather(torch.arange(3))
    forecast = method.forecast(window)
    assert torch.equal(method.forecast(replace(window, future=window.future * 0)), forecast)
    method.train()
    fed = method(window)
    torch.testing.assert_close(fed[:, 0], forecast[:, 0])  # the first step sees the past only
    assert (fed[:, 1:] - forecast[:, 1:]).abs().max() > 1e-4
    shifted = replace(window, future=(window.future + 0.5).clamp(max=1.0) if ink else window.future + 5)
    assert (method(shifted)[:, 1:] - fed[:, 1:]).abs().max() > 1e-5


def test_the_stacked_model_mixes_all_nodes_in_an_ordinary_lstm(complete):
    method = GCRN.seeded(complete, 0, model="stacked", **SMALL)
    window = complete.gather(torch.arange(2))
    assert method.forecast(window).shape == (2, 4, 4, 1)
    cell = method.encoder[0]
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 5)  # nodes, time, batch, value and clock
    output, (h, _) = cell(x, method.laplacian)
    features = torch.relu(cell.filter(x.permute(1, 2, 0, 3), method.laplacian)).flatten(2)
    state = (torch.zeros(2, 6), torch.zeros(2, 6))
    for step in features:
        state = cell.cell(step, state)
    torch.testing.assert_close(output[-1], state[0])
    assert torch.equal(output[-1], h)
    for options in ({"layers": 2}, {"cell": "gru"}):
        with pytest.raises(MethodError, match="stacked"):
            GCRN.for_data(complete, model="stacked", **options)


def test_a_graph_that_changes_is_used_as_it_was_at_each_step(complete):
    steps = complete.steps
    empty = torch.zeros(steps, 4, 4)
    changing = replace(complete, adjacency=empty)
    window = changing.gather(torch.tensor([10]))
    assert window.graph.shape == (1, 4, 4, 4)
    constant = replace(complete, adjacency=complete.adjacency.expand(steps, -1, -1).clone())
    method = GCRN.seeded(complete, 0, **SMALL)
    expected = method.forecast(complete.gather(torch.tensor([10])))
    same = GCRN.seeded(constant, 0, **SMALL).forecast(constant.gather(torch.tensor([10])))
    torch.testing.assert_close(same, expected, rtol=1e-5, atol=1e-4)
    seen = constant.adjacency.clone()
    seen[12] = 0  # the roads were closed at one step of the past
    closed = replace(constant, adjacency=seen)
    assert (method.forecast(closed.gather(torch.tensor([10]))) - expected).abs().max() > 1e-4
    later = constant.adjacency.clone()
    later[14:] = 0  # and in the future, which nobody knows
    torch.testing.assert_close(
        method.forecast(replace(constant, adjacency=later).gather(torch.tensor([10]))), expected, rtol=1e-5, atol=1e-4
    )


def test_the_clock_is_seen_if_wanted(complete):
    window = complete.gather(torch.tensor([3]))
    later = replace(window, time_of_day=(window.time_of_day + 3) % 8)
    for clock, differs in ((True, True), (False, False)):
        method = GCRN.seeded(complete, 0, clock=clock, **SMALL)
        assert bool((method.forecast(window) != method.forecast(later)).any()) is differs


def test_unknown_choices_are_named(series: Series):
    for name in ("model", "cell", "output", "lambda_max"):
        with pytest.raises(MethodError, match=name):
            GCRN.for_data(series, **{name: "other"})


def test_it_learns_what_travels_along_the_edges():
    """A signal that moves to the next sensor of a ring at every step: only one who sees neighbours can foretell it."""
    nodes, steps = 12, 400
    generator = torch.Generator().manual_seed(0)
    values = torch.zeros(steps, nodes)
    values[0] = torch.randn(nodes, generator=generator)
    for step in range(1, steps):
        values[step] = values[step - 1].roll(1)
        values[step, 0] = torch.randn((), generator=generator)
    ring = torch.diag(torch.ones(nodes - 1), 1)
    data = Series(
        values=values[..., None], observed=torch.ones(steps, nodes, 1, dtype=torch.bool), start=0, interval=60,
        adjacency=ring, history=3, horizon=1, name="ring",
    )  # fmt: skip
    split, found = data.split(), {}
    for coefficients in (1, 3):
        method = GCRN.seeded(split.train, 0, width=24, coefficients=coefficients, clock=False)
        method.fit(split.train, Budget(steps=250), seed=0, lr=1e-2, batch_size=32)
        found[coefficients] = method.evaluate(split.test)["MAE"]
    assert found[3] < 0.8 * found[1]
