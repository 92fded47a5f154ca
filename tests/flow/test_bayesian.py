"""Bayesian flows: accuracies add up, updates are Bayes' rule, and messages cost what information theory says."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from pathline.flow import CategoricalBayesianFlow, GaussianBayesianFlow, bin_centres, bin_probabilities

DOUBLE = torch.float64


def full(count: int, value: float) -> Tensor:
    return torch.full((count,), value, dtype=DOUBLE)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_messages_of_the_schedule_add_up_to_what_was_sent_by_the_end():
    numbers, symbols = GaussianBayesianFlow(0.02), CategoricalBayesianFlow(5, 3.0)
    for rounds in (1, 7, 200):
        i = torch.arange(1, rounds + 1, dtype=DOUBLE)
        total = numbers.accuracy(i, rounds).sum().item()
        assert total == pytest.approx(0.02**-2 - 1)
        half = numbers.accuracy(i[: rounds // 2 + 1], rounds).sum().item()
        t = torch.tensor((rounds // 2 + 1) / rounds, dtype=DOUBLE)
        assert half / (1 + half) == pytest.approx(numbers.known(t).item())
        assert symbols.accuracy(i, rounds).sum().item() == pytest.approx(3.0)


def test_two_numbers_messages_are_one_of_their_joint_accuracy():
    torch.manual_seed(0)
    flow, x, count = GaussianBayesianFlow(0.02), full(40_000, 0.3), 40_000
    zero, one, first, second = (torch.tensor(v, dtype=DOUBLE) for v in (0.0, 1.0, 0.7, 2.1))
    mean, precision = flow.update(zero.expand(count), one, flow.message(x, first.expand(count)), first)
    mean, precision = flow.update(mean, precision, flow.message(x, second.expand(count)), second)
    both = first + second
    single, total = flow.update(zero.expand(count), one, flow.message(x, both.expand(count)), both)
    assert precision == total
    assert stats.ks_2samp(mean.numpy(), single.numpy()).pvalue > 1e-3
    for moment in (1, 2):
        gap = (mean**moment).mean() - (single**moment).mean()
        error = math.sqrt(((mean**moment).var() + (single**moment).var()).item() / count)
        assert abs(gap.item()) < 3.5 * error


def test_the_belief_at_a_time_is_that_after_the_messages_up_to_it():
    torch.manual_seed(1)
    flow, rounds, count = GaussianBayesianFlow(0.1), 200, 10_000
    x, mean, precision = full(count, -0.6), full(count, 0.0), torch.tensor(1.0, dtype=DOUBLE)
    for i in range(1, rounds * 3 // 4 + 1):
        accuracy = flow.accuracy(torch.tensor(float(i), dtype=DOUBLE), rounds)
        mean, precision = flow.update(mean, precision, flow.message(x, accuracy.expand(count)), accuracy)
    at_once = flow.belief(x, full(count, 0.75))
    known = 1 - 0.1**1.5
    assert precision.item() == pytest.approx(1 / (1 - known))
    for belief in (mean, at_once):
        assert belief.mean().item() == pytest.approx(-0.6 * known, abs=4 * math.sqrt(known * (1 - known) / count))
        assert belief.var().item() == pytest.approx(known * (1 - known), rel=4 * math.sqrt(2 / count))


def test_a_network_that_knows_the_noise_knows_the_number():
    flow = GaussianBayesianFlow(0.02)
    torch.manual_seed(2)
    x, t = 2 * torch.rand(50, 3, dtype=DOUBLE) - 1, torch.rand(50, dtype=DOUBLE) + 1e-3
    mean = flow.belief(x, t)
    known = flow.known(t)[:, None]
    noise = (mean - known * x) / (known * (1 - known)).sqrt()
    assert torch.allclose(flow.data_of_noise(mean, t, noise), x, atol=1e-9)
    assert torch.equal(flow.data_of_noise(mean, full(50, 1e-7), noise), torch.zeros_like(x))
    assert torch.equal(flow.endless_loss(x, x, t), full(50, 0.0))


def test_many_messages_cost_as_much_as_endlessly_many():
    """For a guess that never learns, L_n and L_inf are sums and integrals in closed form, and L_n approaches L_inf."""
    flow, x, guess = GaussianBayesianFlow(0.05), full(1, 0.5)[:, None], full(1, -0.25)[:, None]
    costs = []
    for rounds in (10, 100, 5000):
        i = torch.arange(1, rounds + 1, dtype=DOUBLE)
        costs.append(flow.message_loss(x.expand(rounds, 1), guess.expand(rounds, 1), i, rounds).mean().item())
    t = (torch.arange(100_000, dtype=DOUBLE) + 0.5) / 100_000
    endless = flow.endless_loss(x.expand(len(t), 1), guess.expand(len(t), 1), t).mean().item()
    assert endless == pytest.approx(0.75**2 / 2 * (0.05**-2 - 1), rel=1e-4)  # beta(1) / 2 times the squared error
    assert costs == pytest.approx([endless] * 3, rel=2e-2)


def test_messages_about_numbers_of_known_law_cost_their_information():
    """x ~ N(0, s^2): the best guess is linear, and L_inf is the mutual information of x and all messages, by I-MMSE."""
    flow, spread = GaussianBayesianFlow(0.1), 0.4
    torch.manual_seed(3)
    count = 400_000
    t = (torch.arange(count, dtype=DOUBLE) + torch.rand(count, dtype=DOUBLE)) / count
    x = spread * torch.randn(count, 1, dtype=DOUBLE)
    mean = flow.belief(x, t)
    known = flow.known(t)[:, None]
    sent = known / (1 - known)
    y = mean / (1 - known) / sent.clamp(min=1e-12)  # the mean of all messages
    guess = y * sent * spread**2 / (1 + sent * spread**2)
    cost = flow.endless_loss(x, guess, t).mean().item()
    assert cost == pytest.approx(0.5 * math.log(1 + spread**2 * (0.1**-2 - 1)), rel=1e-2)


# -- grey levels ------------------------------------------------------------------------------------------------------


def test_bins_share_out_a_normal_law():
    centres = bin_centres(4)
    assert centres.tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    mean, deviation = torch.tensor([[0.1], [2.0]], dtype=DOUBLE), torch.tensor([[0.3], [0.5]], dtype=DOUBLE)
    found = bin_probabilities(mean, deviation, 4)
    law = stats.norm(0.1, 0.3)
    expected = [law.cdf(-0.5), law.cdf(0) - law.cdf(-0.5), law.cdf(0.5) - law.cdf(0), 1 - law.cdf(0.5)]
    assert found[0, 0].tolist() == pytest.approx(expected) and found[1, 0, 3].item() > 0.99
    assert torch.allclose(found.sum(-1), torch.ones(2, 1, dtype=DOUBLE))


def test_messages_about_levels_cost_nothing_to_one_who_knows_and_the_difference_of_means_to_one_who_is_sure():
    flow, centres = GaussianBayesianFlow(0.1), bin_centres(4).double()
    torch.manual_seed(4)
    x = centres[torch.tensor([0, 3, 2])].repeat(20_000, 1)
    sure = F.one_hot(torch.tensor([0, 3, 2]), 4).double().repeat(20_000, 1, 1)
    i = full(20_000, 3.0)
    assert flow.mixture_loss(x, centres, sure, i, 10).abs().max() < 1e-9
    wrong = F.one_hot(torch.tensor([0, 3, 1]), 4).double().repeat(20_000, 1, 1)
    cost, exact = flow.mixture_loss(x, centres, wrong, i, 10), flow.message_loss(x, wrong @ centres, i, 10)
    assert cost.mean().item() == pytest.approx(exact[0].item(), abs=4 * cost.std().item() / math.sqrt(20_000))


# -- categories -------------------------------------------------------------------------------------------------------


def test_the_update_is_bayes_rule_with_the_likelihood_of_the_message():
    torch.manual_seed(5)
    flow, accuracy = CategoricalBayesianFlow(5, 3.0), torch.tensor(0.8, dtype=DOUBLE)
    theta = torch.rand(30, 5, dtype=DOUBLE).softmax(-1)
    y = flow.message(torch.randint(5, (30,)), accuracy.expand(30))
    law = torch.distributions.Normal(accuracy * (5 * torch.eye(5, dtype=DOUBLE) - 1), (accuracy * 5).sqrt())
    likelihood = law.log_prob(y[:, None]).sum(-1).exp()
    exact = theta * likelihood / (theta * likelihood).sum(-1, keepdim=True)
    assert torch.allclose(flow.update(theta, y), exact, atol=1e-10)


def test_two_messages_about_categories_are_one_and_many_make_the_belief():
    torch.manual_seed(6)
    flow, count, rounds = CategoricalBayesianFlow(3, 2.0), 20_000, 200
    x = torch.full((count,), 1)
    theta = torch.full((count, 3), 1 / 3, dtype=DOUBLE)
    for i in range(1, rounds + 1):
        accuracy = flow.accuracy(torch.tensor(float(i), dtype=DOUBLE), rounds)
        theta = flow.update(theta, flow.message(x, accuracy.expand(count)))
    at_once = flow.belief(x, full(count, 1.0))
    for k in range(3):
        assert stats.ks_2samp(theta[:, k].numpy(), at_once[:, k].numpy()).pvalue > 1e-3
    error = math.sqrt((theta[:, 1].var() + at_once[:, 1].var()).item() / count)
    assert abs(theta[:, 1].mean() - at_once[:, 1].mean()).item() < 3.5 * error
    two = flow.message(x, full(count, 0.4)) + flow.message(x, full(count, 0.9))
    one = flow.message(x, full(count, 1.3))
    assert torch.allclose(two.mean(0), one.mean(0), atol=0.1) and torch.allclose(two.var(0), one.var(0), rtol=0.06)
    assert torch.allclose(flow.belief(x[:4], full(4, 0.0)), torch.full((4, 3), 1 / 3, dtype=DOUBLE))


def test_knowing_costs_nothing_and_ignorance_has_its_price():
    flow, count = CategoricalBayesianFlow(4, 2.5), 1000
    x, t = torch.randint(4, (count, 3)), (torch.arange(count, dtype=DOUBLE) + 0.5) / count
    sure = F.one_hot(x, 4).double()
    assert torch.equal(flow.endless_loss(x, sure, t), full(count, 0.0))
    ignorant = torch.full_like(sure, 1 / 4)
    price = 3 * 4 * 2.5 * 0.5 * (1 - 1 / 4)
    assert flow.endless_loss(x, ignorant, t).mean().item() == pytest.approx(price)
    torch.manual_seed(7)
    assert flow.mixture_loss(x, sure, full(count, 2.0), 10).abs().max() < 1e-9


@pytest.fixture
def both_signs(monkeypatch):
    """Every noise of the second half of a batch is minus that of the first: what is left is what matters."""
    plain = torch.randn_like

    def noise(like: Tensor) -> Tensor:
        half = plain(like[: len(like) // 2])
        return torch.cat([half, -half])

    monkeypatch.setattr(torch, "randn_like", noise)


def test_five_thousand_messages_cost_the_unsure_what_endlessly_many_do(both_signs):
    torch.manual_seed(8)
    rounds, output = 5000, torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE).expand(10_000, 20, 3)
    i = torch.arange(1, rounds + 1, dtype=DOUBLE).repeat(2)
    t, x = (i - 0.5) / rounds, torch.full((2 * rounds, 20), 2)
    symbols = CategoricalBayesianFlow(3, 2.0)
    many = symbols.mixture_loss(x, output, i, rounds).mean().item()
    assert many == pytest.approx(symbols.endless_loss(x, output, t).mean().item(), rel=0.02)
    levels, centres = GaussianBayesianFlow(0.3), bin_centres(3).double()
    many = levels.mixture_loss(centres[x], centres, output, i, rounds).mean().item()
    assert many == pytest.approx(levels.endless_loss(centres[x], output @ centres, t).mean().item(), rel=0.02)


@pytest.mark.parametrize("total", [0.5, 3.0, 10.0])
def test_independent_categories_of_known_law_cost_their_entropy(total):
    """With the best output softmax(y + ln p), L_inf + L_r = H(p) whatever beta(1) is: the I-MMSE identity."""
    torch.manual_seed(9)
    law = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=DOUBLE)
    flow, count = CategoricalBayesianFlow(4, total), 400_000
    x = torch.arange(4).repeat_interleave((law * count).long())[torch.randperm(count)]
    u = (torch.randperm(count).double() + torch.rand(count, dtype=DOUBLE)) / count
    t = u.square()  # most is sent early; the weight 2u makes up for it
    best = flow.update(law.expand(count, 4), flow.belief(x, t).log())
    sending = (2 * u * flow.endless_loss(x[:, None], best[:, None], t)).mean()
    last = flow.update(law.expand(count, 4), flow.belief(x, full(count, 1.0)).log())
    rest = -last.gather(1, x[:, None]).log().mean()
    assert (sending + rest).item() == pytest.approx(-(law * law.log()).sum().item(), rel=1e-2)
