"""Bayesian flow networks and the diffusions of categories they are compared with."""

import math
from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.compare import Arm, Leaderboard
from pathline.core.errors import DataError, MethodError
from pathline.data import Samples
from pathline.data.sets import load
from pathline.generate.bfn import BayesianFlowNetwork
from pathline.generate.categories import CategoryNetwork
from pathline.generate.features import energy_distance
from pathline.generate.flow_matching import FlowMatching
from pathline.generate.meanflow import MeanFlow
from pathline.generate.pfgmpp import PFGMpp
from pathline.generate.rivals import AbsorbingDiffusion, UniformDiffusion
from pathline.sims.points import points

MOONS = points("two-moons", 2000, 0)
QUICK = {"batch_size": 256, "lr": 3e-3, "warmup": 20, "ema": 0.98, "precision": "fp32"}


def pairs(count: int = 4000, symbols: int = 3) -> Samples:
    """Two symbols: the first of a known law, the second equal to it nine times of ten."""
    generator = torch.Generator().manual_seed(0)
    law = torch.tensor([0.6, 0.3, 0.1])
    first = torch.multinomial(law, count, replacement=True, generator=generator)
    other = torch.randint(symbols, (count,), generator=generator)
    second = torch.where(torch.rand(count, generator=generator) < 0.85, first, other)
    return Samples(values=torch.stack([first, second], 1).float(), symbols=tuple("abc"), name="pairs")


PAIRS = pairs()


def entropy(data: Samples) -> float:
    """Of the joint law of two symbols, by counting."""
    places = (data.values[:, 0] * 3 + data.values[:, 1]).long()
    law = torch.bincount(places, minlength=9).double() / len(data)
    return -float(torch.xlogy(law, law).sum())


@pytest.fixture(scope="module")
def trained() -> dict[str, object]:
    methods = {
        "bfn": BayesianFlowNetwork.seeded(PAIRS, 0, network="mlp", width=64, depth=2),
        "uniform": UniformDiffusion.seeded(PAIRS, 0, network="mlp", width=64, depth=2, diffusion=200),
        "absorbing": AbsorbingDiffusion.seeded(PAIRS, 0, network="mlp", width=64, depth=2),
    }
    return {name: method.fit(PAIRS, steps(400), **QUICK) for name, method in methods.items()}


def test_kinds_and_categories_are_read_off_the_data():
    digits = load("digits")
    cases = [
        (MOONS, "continuous", 0),
        (digits, "continuous", 0),
        (load("binary-digits"), "discrete", 2),
        (replace(digits, levels=17), "discretised", 17),
        (load("pydoc-text"), "discrete", 27),
    ]
    for data, kind, categories in cases:
        method = BayesianFlowNetwork.for_data(data, width=16, depth=1)
        assert (method.kind, method.categories) == (kind, categories)
        x = method.encoded(data.values[:50])
        assert torch.allclose(method.unscaled(x.float()), data.values[:50], atol=1e-5)
        assert x.dtype == torch.int64 if kind == "discrete" else x.abs().max() <= 1


@pytest.mark.parametrize("name", ["bfn", "uniform", "absorbing"])
def test_a_trained_bound_comes_close_to_the_entropy_from_above(trained, name):
    """The joint entropy of two dependent symbols is far below the sum of their own: the network must use both."""
    found = trained[name].nats(PAIRS, draws=64)
    exact = entropy(PAIRS)
    assert found["nats"] == pytest.approx(found["sending"] + found["last"])
    assert exact - 0.03 < found["nats"] < exact + 0.12
    assert (found["last"] > 0.01) == (name == "bfn")


@pytest.mark.parametrize("name", ["bfn", "uniform", "absorbing"])
def test_samples_have_the_joint_law_of_the_data(trained, name):
    method = trained[name]
    options = {"final": "sample"} if name == "bfn" else {}
    drawn = method.draw(4000, steps=40, **options)
    assert drawn.evaluations == (41 if name == "bfn" else 40)
    assert torch.equal(drawn.values, drawn.values.round())

    def law(values: torch.Tensor) -> torch.Tensor:
        return torch.bincount((values[:, 0] * 3 + values[:, 1]).long(), minlength=9) / len(values)

    assert (law(drawn.values) - law(PAIRS.values)).abs().max() < 0.05
    assert torch.equal(drawn.values, method.sample(4000, steps=40, **options))


def test_more_messages_cost_less_and_endlessly_many_least(trained):
    one, three, ten, hundred, endless = (
        trained["bfn"].nats(PAIRS, rounds=n, draws=d)["sending"]
        for n, d in ((1, 16), (3, 16), (10, 64), (100, 128), (0, 16))
    )
    assert one > three + 0.1 and three > ten + 0.05 and ten > endless  # the noise of L_n grows with n: 0.01 at 10
    assert abs(hundred - endless) < 0.06  # three standard errors


@pytest.mark.parametrize("bayes", [True, False])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_bound_of_uniform_diffusion_is_exact_for_a_perfect_network(schedule, bayes):
    """One dimension of known law: the posterior over x given x_t is known, and the bound is the entropy."""
    data = Samples(values=PAIRS.values[:, :1], symbols=tuple("abc"))
    law = torch.bincount(data.values[:, 0].long(), minlength=3) / len(data)
    options = {"schedule": schedule, "bayes": bayes}
    method = UniformDiffusion.for_data(data, network="mlp", width=16, depth=1, **options).eval()

    class Perfect(torch.nn.Module):
        def forward(self, theta, t, label=None):
            kept = method.kept(t)[:, None, None]
            likelihood = kept * theta + (1 - kept) / 3 if bayes else torch.ones_like(theta)
            return (law * likelihood).clamp(min=1e-30).log()

    method.network = Perfect()
    exact = -float(torch.xlogy(law, law).sum())
    assert method.nats(data, draws=200)["nats"] == pytest.approx(exact, rel=0.03)


def test_a_belief_added_to_the_logits_is_bayes_rule_for_what_the_others_tell():
    """A network that says the law of an independent dimension is then perfect: L_inf + L_r is the entropy."""
    data = Samples(values=PAIRS.values[:, :1], symbols=tuple("abc"))
    law = torch.bincount(data.values[:, 0].long(), minlength=3) / len(data)

    class Law(torch.nn.Module):
        def forward(self, theta, t, label=None):
            return law.log().expand_as(theta)

    bounds = []
    for add_belief in (True, False):
        method = BayesianFlowNetwork.for_data(data, network="mlp", width=16, depth=1, add_belief=add_belief)
        method.network = Law()
        bounds.append(method.nats(data, draws=100)["nats"])
    assert bounds[0] == pytest.approx(-float(torch.xlogy(law, law).sum()), rel=0.02) and bounds[1] > 2 * bounds[0]


def test_paths_go_from_no_knowledge_to_the_samples_and_belong_to_the_seed(trained):
    method = trained["bfn"]
    state = torch.get_rng_state()
    paths = method.paths(30, steps=5, seed=2)
    assert paths.shape == (7, 30, 2) and torch.equal(paths[0], torch.ones(30, 2))  # the mean place of three
    assert torch.equal(paths[-1], method.sample(30, steps=5, seed=2))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("rounds", [0, 20])
def test_numbers_are_learned_and_drawn(rounds):
    method = BayesianFlowNetwork.seeded(MOONS, 0, classes=0, width=64, depth=2, rounds=rounds)
    untrained = energy_distance(method.sample(1000), MOONS.values)
    before = method.nats(MOONS, draws=8)
    method.fit(MOONS, steps(500), **QUICK)
    after = method.nats(MOONS, draws=8)
    assert after["sending"] < before["sending"] - 1.5 and after["last"] < before["last"]
    drawn = method.draw(1000)
    assert drawn.evaluations == 33
    assert energy_distance(drawn.values, MOONS.values) < min(0.05, 0.3 * untrained)


@pytest.mark.parametrize("rounds", [0, 20])
def test_grey_levels_are_learned_and_drawn(rounds):
    low, high = MOONS.values.amin(), MOONS.values.amax()
    grid = ((MOONS.values - low) / (high - low) * 15).round()
    data = Samples(values=grid, bounds=(0.0, 15.0), levels=16)
    method = BayesianFlowNetwork.seeded(data, 0, width=64, depth=2, rounds=rounds)
    assert method.kind == "discretised"
    before = method.nats(data, draws=8)["nats"]
    method.fit(data, steps(500), **QUICK)
    law = torch.bincount((grid[:, 0] * 16 + grid[:, 1]).long(), minlength=256).double() / len(data)
    exact = -float(torch.xlogy(law, law).sum())
    found = method.nats(data, draws=32)
    assert exact < found["nats"] < min(exact + (1.2 if rounds else 2.2), before)  # L_inf sees the mean of p_O alone
    drawn = method.sample(1000, final="sample")
    assert torch.equal(drawn, drawn.round()) and drawn.min() >= 0 and drawn.max() <= 15
    assert energy_distance(drawn, grid) < 0.3


def test_text_has_a_transformer_that_sees_every_letter():
    torch.manual_seed(0)
    network = CategoryNetwork((6,), 5, width=16, depth=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    theta = torch.rand(2, 6, 5).softmax(-1)
    other = theta.clone()
    other[:, 5] = other[:, 5].roll(1, -1)
    t = torch.tensor([0.2, 0.9])
    logits = network(theta, t)
    assert logits.shape == (2, 6, 5) and not torch.allclose(logits[:, 0], network(other, t)[:, 0], atol=1e-5)
    text = load("pydoc-text").take(torch.arange(64))
    method = BayesianFlowNetwork.seeded(text, 0, width=16, depth=1, steps=2).fit(text, steps(3), precision="fp32")
    assert set(method.sample(5, steps=3).unique().tolist()) <= set(range(27))
    assert list(method.evaluate(text))[-1] == "nats"


def test_classes_and_colours_work_for_every_kind():
    images = Samples(
        values=torch.randint(3, (60, 2, 4, 4), generator=torch.Generator().manual_seed(0)).float(),
        labels=torch.arange(60) % 2,
        bounds=(0.0, 2.0),
        levels=3,
    )
    for kind in ("continuous", "discretised", "discrete"):
        method = BayesianFlowNetwork.seeded(images, 0, kind=kind, network="unet", width=8)
        method.fit(images, steps(2), precision="fp32")
        assert method.sample(3, steps=2, labels=1).shape == (3, 2, 4, 4)


def test_data_and_settings_that_cannot_work_are_refused():
    with pytest.raises(DataError, match="say how many `levels`"):
        UniformDiffusion.for_data(MOONS)
    with pytest.raises(MethodError, match="at least 2 categories"):
        BayesianFlowNetwork(shape=[2], kind="discrete")
    with pytest.raises(MethodError, match="deviation 2"):
        BayesianFlowNetwork(shape=[2], deviation=2.0)
    with pytest.raises(MethodError, match="final is 'mean'"):
        BayesianFlowNetwork(shape=[2], final="mean")
    with pytest.raises(DataError, match=r"value\[0, 1\] is 0.5, which is not the place of a symbol; there are 3"):
        Samples(values=torch.tensor([[0.0, 0.5]]), symbols=tuple("abc"))
    with pytest.raises(DataError, match="not on a level"):
        Samples(values=torch.tensor([[0.0, 3.0]]), bounds=(0.0, 2.0), levels=3)
    with pytest.raises(DataError, match="need bounds"):
        Samples(values=torch.zeros(2, 2), levels=3)


def test_containers_without_categories_keep_their_fingerprint():
    values = torch.arange(8.0).view(4, 2)
    plain, grey = Samples(values=values, bounds=(0.0, 7.0)), Samples(values=values, bounds=(0.0, 7.0), levels=8)
    assert plain.fingerprint() != grey.fingerprint() and math.isfinite(int(plain.fingerprint(), 16))
    assert grey.categories == 8 and plain.categories == 0 and grey.take(torch.tensor([1])).levels == 8


def test_a_leaderboard_shows_the_metrics_that_every_arm_has():
    arms = [
        Arm("bfn", False, {"sliced_w2": [1.0], "network_calls": [33.0], "nats": [20.0]}, [1.0], [2]),
        Arm("gaussian", True, {"sliced_w2": [2.0], "network_calls": [0.0]}, [0.0], [0]),
    ]
    board = Leaderboard("generate", "toy", {}, "", [0], "2 steps", "lower", "gaussian", arms, 1.0)
    assert board.metrics == ["sliced_w2", "network_calls"]
    assert "network_calls" in str(board) and "nats" not in str(board)
    assert board.to_json()["arms"][0]["mean"]["nats"] == 20.0


def test_every_sampler_counts_its_network_calls():
    """Counted by the network itself: Heun's two, guidance's two, the adaptive solver's many, one at the very end."""
    pictures = load("digits").take(torch.arange(40))
    cases = [
        (PFGMpp, {}, {}),
        (BayesianFlowNetwork, {}, {}),
        (FlowMatching, {}, {"solver": "heun"}),
        (FlowMatching, {}, {"solver": "rk4", "guidance": 1.5}),
        (FlowMatching, {}, {"solver": "dopri5", "tolerance": 1e-3}),
        (MeanFlow, {}, {}),
        (UniformDiffusion, {}, {}),
    ]
    for cls, config, options in cases:
        data = load("binary-digits").take(torch.arange(40)) if cls is UniformDiffusion else pictures
        method = cls.seeded(data, 0, width=16, depth=1, **config).eval()
        counted: list[int] = []
        method.network.register_forward_hook(lambda _, inputs, __, counted=counted: counted.append(len(inputs[0])))
        drawn = method.draw(6, steps=3, **options)
        calls = sum(counted) // 6
        assert drawn.evaluations == calls > 0, (cls.__name__, options, drawn.evaluations, calls)
        assert float(calls) > 0 and "network_calls" in method._distances(data, 20, 0)
