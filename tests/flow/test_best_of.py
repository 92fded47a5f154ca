"""The best of K answers learns, nobody else; and the path from noise to data."""

import pytest
import torch

from pathline.flow import OptimalTransport, squared_error
from pathline.flow.best_of import STRAIGHT, Reading, best_of_loss, hidden, logit_normal_times, walk_to_data


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_with_one_answer_and_weight_one_the_loss_is_plain_data_prediction():
    answers, truth = drawn(5, 1, 3, 4, 2), drawn(5, 3, 4, 2, seed=1)
    everybody, one = torch.ones(5, 3, dtype=torch.bool), torch.ones(5, dtype=torch.float64)
    found = best_of_loss(answers, drawn(5, 1, 3), truth, everybody, one, squared=True)
    # squared_error is a mean over the 3 * 4 * 2 numbers of a sample; the loss sums over steps and axes
    assert torch.allclose(found.regression, 8 * squared_error(answers[:, 0], truth).mean())
    assert found.classification.abs() < 1e-12  # there is nothing to choose


@pytest.mark.parametrize("kind", ["direct", "velocity", "scaled"])
def test_the_velocity_towards_the_true_data_is_the_target_of_flow_matching(kind):
    noise, data = drawn(6, 4, 3, 8), drawn(6, 4, 3, 8, seed=1)
    t = torch.rand(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = STRAIGHT.sample(noise, data, t)
    assert torch.allclose(STRAIGHT.velocity_from_data(y, data, t), data - noise, atol=1e-12)
    assert torch.allclose(OptimalTransport(s_min=0.0).target(noise, data, t), data - noise)
    reading = Reading(kind)
    outputs = {"direct": data, "velocity": data - noise}
    if kind in outputs:
        assert torch.allclose(reading.data(outputs[kind], y, t), data)


def test_every_reading_makes_an_error_of_the_output_cost_the_same_at_all_times():
    t, y = torch.linspace(0.01, 0.95, 9, dtype=torch.float64), drawn(9, 2, 1, 4)
    for kind in ("velocity", "scaled"):
        reading = Reading(kind)
        zero, one = torch.zeros_like(y), torch.ones_like(y)
        change = reading.data(one, y, t) - reading.data(zero, y, t)
        cost = reading.weight(t) * change[:, 0, 0, 0].square()
        assert torch.allclose(cost, torch.ones_like(cost))
        assert torch.allclose(Reading(kind, root=True).weight(t), reading.weight(t).sqrt())
    assert torch.equal(Reading("direct").weight(t), torch.ones_like(t))
    assert Reading("velocity").weight(torch.tensor([1.0])).item() == pytest.approx(1e4)


def test_scaled_reading_has_the_deviation_of_the_data_where_there_is_only_noise():
    """At t = 0 the best guess of the data is their mean, 0, plus an output of their deviation."""
    reading, y = Reading("scaled", deviation=0.13), drawn(3, 1, 1, 5)
    start = torch.zeros(3, dtype=torch.float64)
    assert torch.allclose(reading.data(torch.ones_like(y), y, start), torch.full_like(y, 0.13))


def test_only_the_winner_regresses_but_all_scores_learn():
    answers, truth = drawn(4, 5, 3, 6, 2).requires_grad_(), drawn(4, 3, 6, 2, seed=1)
    scores = drawn(4, 5, 3, seed=2).requires_grad_()
    known = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0]], dtype=torch.bool)
    found = best_of_loss(answers, scores, truth, known, torch.ones(4, dtype=torch.float64))
    (moved,) = torch.autograd.grad(found.regression, answers, retain_graph=True)
    reached = moved.abs().sum((3, 4))
    brute = (answers - truth[:, None]).norm(dim=-1).sum(-1)
    for scene in range(4):
        for agent in range(3):
            winner = int(brute[scene, :, agent].argmin())
            for k in range(5):
                assert (reached[scene, k, agent] > 0) == (k == winner and bool(known[scene, agent]))
    (pulled,) = torch.autograd.grad(found.classification, scores)
    assert bool((pulled.abs().amin(1)[known] > 0).all()) and bool((pulled.sum(1).abs() < 1e-12).all())
    assert bool((pulled.transpose(1, 2)[~known] == 0).all())


def test_by_scene_one_answer_wins_for_everybody():
    answers, truth = drawn(7, 4, 3, 5, 2), drawn(7, 3, 5, 2, seed=1)
    everybody, one = torch.ones(7, 3, dtype=torch.bool), torch.ones(7, dtype=torch.float64)
    by_scene = best_of_loss(answers, drawn(7, 4, 3), truth, everybody, one, by="scene")
    by_agent = best_of_loss(answers, drawn(7, 4, 3), truth, everybody, one, by="agent")
    whole = (answers - truth[:, None]).norm(dim=-1).sum(-1).mean(-1)
    assert torch.equal(by_scene.winner[:, 0], whole.argmin(1)) and bool(
        (by_scene.winner == by_scene.winner[:, :1]).all()
    )
    assert by_scene.regression == pytest.approx(whole.amin(1).mean().item())
    assert by_agent.regression < by_scene.regression
    with pytest.raises(ValueError, match="by agent or by scene"):
        best_of_loss(answers, drawn(7, 4, 3), truth, everybody, one, by="step")


def test_an_oracle_leads_from_any_noise_to_the_data_in_ten_calls_and_the_last_call_answers():
    data, noise = drawn(3, 5, 2, 8), 10 * drawn(3, 5, 2, 8, seed=1)
    times = []

    def oracle(y, t):
        times.append(float(t))
        return data, torch.full((3, 5, 2), float(len(times)))

    found, scores, calls = walk_to_data(oracle, noise, steps=10)
    assert (found - data).abs().max() < 1e-6 and calls == len(times) == 10
    assert times == pytest.approx([i / 10 for i in range(10)]) and bool((scores == 10).all())

    def restless(y, t):
        return data + t, scores

    assert torch.allclose(walk_to_data(restless, noise, steps=10)[0], data + 0.9)


def test_times_are_logit_normal_and_what_is_hidden_grows_with_time():
    torch.manual_seed(0)
    t = logit_normal_times(40_000)
    logits = torch.logit(t.double())
    assert abs(logits.mean() + 0.5) < 0.03 and abs(logits.std() - 1.5) < 0.03
    share = [float(hidden(torch.full((4000,), at)).float().mean()) for at in (0.1, 0.4, 0.5, 0.6, 0.9)]
    expected = torch.sigmoid(20 * (torch.tensor([0.1, 0.4, 0.5, 0.6, 0.9]) - 0.5))
    assert torch.allclose(torch.tensor(share), expected, atol=0.03)
