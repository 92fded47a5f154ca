"""Fisher: scatter adds up, gradients have their closed forms, and padding changes nothing."""

from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import pathline as pl
from pathline.core.errors import DataError, MethodError
from pathline.data.sequences import Sequences, padded, sequences_from_table
from pathline.nn.discriminant import Centres, class_means, discriminant_term, margin_term, scatters
from pathline.perceive.classification import LinearClassifier, MajorityClass
from pathline.perceive.fisher import PER_CLASS, Fisher
from pathline.sims.gestures import CLASSES, GRAVITY, angular_velocity, rotation, simulated_gestures, template


def cloud(count: int = 60, dims: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    features = torch.randn(count, dims, generator=generator, dtype=torch.float64) + labels[:, None]
    return features, labels


def walks(count: int = 48, users: int = 4) -> Sequences:
    """Slow and fast waves, of unequal lengths."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    lengths = torch.randint(12, 25, (count,), generator=generator)
    angle = torch.arange(24) * (0.3 + 0.4 * labels[:, None])
    values = torch.stack([angle.sin(), angle.cos()], -1) + 0.3 * torch.randn(count, 24, 2, generator=generator)
    groups = torch.arange(count) // (count // users)
    return Sequences(
        values=values, lengths=lengths, labels=labels, classes=("slow", "fast"), groups=groups, name="walks"
    )


# -- scatter -----------------------------------------------------------------------------------------------------------


def test_scatter_within_and_between_add_up_to_the_total() -> None:
    features, labels = cloud()
    within, between = scatters(features, labels, 4)
    total = (features - features.mean(0)).square().sum()
    assert abs(float((within + between) / total) - 1) < 1e-12


def test_gradients_of_the_scatters_have_their_closed_forms() -> None:
    features, labels = cloud()
    features.requires_grad_()
    within, between = scatters(features, labels, 4)
    means, _ = class_means(features.detach(), labels, 4)
    (of_within,) = torch.autograd.grad(within, features, retain_graph=True)
    (of_between,) = torch.autograd.grad(between, features)
    assert torch.allclose(of_within, 2 * (features.detach() - means[labels]), atol=1e-10)
    assert torch.allclose(of_between, 2 * (means[labels] - features.detach().mean(0)), atol=1e-10)


def test_a_class_that_does_not_occur_changes_nothing() -> None:
    features, labels = cloud()
    for one, other in zip(scatters(features, labels, 4), scatters(features, labels, 9), strict=True):
        assert torch.equal(one, other)


def test_the_ratio_finds_fishers_linear_discriminant() -> None:
    generator = torch.Generator().manual_seed(0)
    shape = torch.tensor([[2.0, 0.9, 0.0], [0.9, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.float64)
    labels = torch.arange(400) % 2
    apart = torch.tensor([1.0, 0.5, -0.8], dtype=torch.float64)
    features = torch.randn(400, 3, generator=generator, dtype=torch.float64) @ torch.linalg.cholesky(shape).T
    features = features + labels[:, None] * apart
    means, _ = class_means(features, labels, 2)
    centred = features - means[labels]
    expected = torch.linalg.solve(centred.T @ centred, means[1] - means[0])
    direction = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([direction], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        within, between = scatters(features @ direction, labels, 2)
        loss = discriminant_term(within, between, 400, 1.0, 0.0, "ratio")
        loss.backward()
        return loss

    optimizer.step(closure)
    cosine = F.cosine_similarity(direction.detach()[:, 0], expected, 0).abs()
    assert torch.rad2deg(cosine.clamp(max=1).acos()) < 1.0


def test_running_centres_come_to_the_means_and_carry_no_gradient() -> None:
    features, labels = cloud()
    centres = Centres(4, 5).double()
    for _ in range(60):
        centres.follow(features, labels)
    assert torch.allclose(centres.value, class_means(features, labels, 4)[0], atol=1e-8)
    one = Centres(4, 5, 0.5).double()
    one.follow(features[:8], labels[:8])  # two of each class
    assert torch.allclose(one.value, 0.5 * (2 / 3) * class_means(features[:8], labels[:8], 4)[0])
    features.requires_grad_()
    within, _ = centres.scatters(features, labels)
    (gradient,) = torch.autograd.grad(within, features)
    assert torch.allclose(gradient, 2 * (features - centres.value[labels]))


def test_the_margin_pushes_means_apart_only_so_far() -> None:
    means = torch.tensor([[0.5, 0.0], [-3.0, 0.0], [0.0, 0.1]])
    term = margin_term(means, torch.tensor([1.0, 1.0, 0.0]), torch.zeros(2), delta=1.0)
    assert torch.allclose(term, torch.tensor(0.25))


# -- the network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_padding_changes_no_feature(cell: str, pooling: str) -> None:
    data = walks()
    method = Fisher.seeded(data, 0, cell=cell, pooling=pooling, hidden=8).eval()
    values, lengths = data.values[:6], data.lengths[:6]
    more = torch.cat([values, torch.full((6, 9, 2), 0.0)], 1)
    ours = method.features(method.normalised(values, lengths), lengths)
    theirs = method.features(method.normalised(more, lengths), lengths)
    assert torch.allclose(ours, theirs, atol=1e-6)
    alone = method.features(method.normalised(values[2:3, : lengths[2]], lengths[2:3]), lengths[2:3])
    assert torch.allclose(ours[2:3], alone, atol=1e-6)


def test_reversed_time_swaps_the_directions_when_they_share_weights() -> None:
    data = walks()
    method = Fisher.seeded(data, 0, hidden=8, layers=1).eval()
    state = method.recurrent.state_dict()
    for name in [name for name in state if not name.endswith("_reverse")]:
        state[f"{name}_reverse"] = state[name].clone()
    method.recurrent.load_state_dict(state)
    values, lengths = data.values[:4, :12], torch.full((4,), 12)
    one, other = (method.features(x, lengths) for x in (values, values.flip(1)))
    assert torch.allclose(one, torch.cat([other[:, 8:], other[:, :8]], 1), atol=1e-6)
    assert not torch.allclose(one, other, atol=1e-3)


def test_without_weights_the_loss_and_its_gradients_are_those_of_the_plain_network() -> None:
    data = walks()
    batch = data.gather(torch.arange(20))
    method = Fisher.seeded(data, 0, theta=0.0, eta=0.0, dropout=0.0)
    terms = method.loss(batch)
    plain = F.cross_entropy(method.logits(method.normalised(batch.values, batch.lengths), batch.lengths), batch.labels)
    assert torch.equal(terms["loss"], plain)
    weights = list(method.parameters())
    for one, other in zip(
        torch.autograd.grad(terms["loss"], weights), torch.autograd.grad(plain, weights), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("form", ["difference", "ratio", "margin"])
@pytest.mark.parametrize("centres", ["running", "batch"])
def test_each_form_adds_its_term(form: str, centres: str) -> None:
    data = walks()
    batch = data.gather(torch.arange(20))
    options: dict[str, Any] = {"form": form, "centres": centres, "theta": 0.3, "eta": 0.2, "dropout": 0.0, "delta": 9.0}
    method = Fisher.seeded(data, 0, **options).eval()
    terms = method.loss(batch)
    x = method.features(method.normalised(batch.values, batch.lengths), batch.lengths)
    within, between = scatters(x, batch.labels, 2)
    if centres == "running":  # centres are still 0
        means, counts = class_means(x, batch.labels, 2)
        within, between = x.square().sum(), (counts[:, None] * means.square()).sum()
    expected = {
        "difference": (0.3 * within - 0.2 * between) / 20,
        "ratio": 0.3 * within / between,
        "margin": 0.3 * within / 20
        + 0.2
        * (9 - (class_means(x, batch.labels, 2)[0] - class_means(x, batch.labels, 2)[0].mean(0)).norm(dim=1))
        .square()
        .sum(),
    }[form]
    assert torch.allclose(terms["loss"] - terms["entropy"], expected, rtol=1e-4)


def test_a_radius_gives_features_one_length() -> None:
    data = walks()
    method = Fisher.seeded(data, 0, radius=3.0)
    x = method.scattered(torch.randn(5, 96))
    assert torch.allclose(x.norm(dim=1), torch.full((5,), 3.0))


def test_batches_are_balanced_and_follow_their_generator() -> None:
    data = simulated_gestures(2, 3)
    method = Fisher.seeded(data, 0)
    batches = list(method.batches(data, 24, torch.Generator().manual_seed(1)))
    assert len(batches) == method.epoch_length(data, 24) == 3
    for batch in batches:
        counts = torch.bincount(batch.labels, minlength=len(CLASSES))
        assert set(counts.tolist()) == {0, PER_CLASS}
    again = list(method.batches(data, 24, torch.Generator().manual_seed(1)))
    assert all(torch.equal(a.values, b.values) for a, b in zip(batches, again, strict=True))


def test_it_learns_waves_and_pulls_their_classes_together() -> None:
    split = walks(96, 6).split()
    plain = Fisher.seeded(split.train, 0, theta=0.0, eta=0.0, hidden=12).fit(split.train, pl.steps(60), seed=0, lr=5e-3)
    fisher = Fisher.seeded(split.train, 0, theta=0.1, eta=0.01, hidden=12).fit(
        split.train, pl.steps(60), seed=0, lr=5e-3
    )
    assert fisher.evaluate(split.test)["accuracy"] > 0.9
    assert fisher.trace_ratio(split.test) > 1.3 * plain.trace_ratio(split.test)


def test_baselines_count_and_separate() -> None:
    split = walks(96, 6).split()
    linear = LinearClassifier.for_data(split.train).fit(split.train)
    assert linear.evaluate(split.test)["accuracy"] > 0.8
    majority = MajorityClass.for_data(split.train).fit(split.train)
    assert set(majority.predict(split.test)["class"]) <= {"slow", "fast"}
    assert len(set(majority.predict(split.test)["class"])) == 1


def test_summaries_do_not_see_the_padding() -> None:
    data = walks()
    longer = torch.cat([data.values, torch.zeros(len(data), 7, 2)], 1)
    assert torch.allclose(
        LinearClassifier.summary(data.values, data.lengths), LinearClassifier.summary(longer, data.lengths), atol=1e-6
    )


# -- gestures ----------------------------------------------------------------------------------------------------------


def test_strokes_end_where_they_should() -> None:
    phase = torch.linspace(0, 1, 101, dtype=torch.float64)
    for name in CLASSES:
        path = template(name, phase)
        assert path.shape == (101, 3)
        closed = name.startswith("circle") or name in ("triangle", "square", "eight", "push")
        assert (float((path[-1] - path[0]).norm()) < 1e-9) is closed
    assert torch.allclose(template("circle-cw", phase)[:, 0], -template("circle-ccw", phase)[:, 0])
    square = template("square", phase).diff(dim=0).norm(dim=1)
    assert torch.allclose(square, torch.full((100,), 0.04, dtype=torch.float64), atol=1e-9)


def test_the_gyroscope_of_a_steady_turn_reads_its_rate() -> None:
    axis = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    turns = rotation(torch.arange(100, dtype=torch.float64)[:, None] / 50 * axis)
    assert torch.allclose(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(100, 3, 3), atol=1e-12)
    found = angular_velocity(turns, 50.0)[1:-1]
    assert torch.allclose(found, axis.expand(98, 3), atol=1e-3)


def test_recordings_feel_gravity_and_users_hold_the_sensor_in_ways_of_their_own() -> None:
    data = simulated_gestures(3, 4)
    still = data.values[:, :4, :3].norm(dim=-1).mean()
    assert abs(float(still) - GRAVITY) < 1.0
    assert len(data) == 3 * 4 * 12
    assert data.groups is not None
    start = data.values[:, :4, :3].mean(1)
    within, between = scatters(start.double(), data.groups, 4)
    shuffled = []
    for seed in range(50):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        other, apart = scatters(start.double(), data.groups[order], 4)
        shuffled.append(float(apart / other))
    assert between / within > 2 * max(shuffled)  # users that are alike would be one of the shuffled draws
    assert torch.equal(data.values, simulated_gestures(3, 4).values)


# -- recordings of one's own -------------------------------------------------------------------------------------------


def table() -> pd.DataFrame:
    rows = [(s, f"kind{s % 2}", s // 3, t, 0.1 * t, float(s)) for s in range(9) for t in range(3 + s)]
    return pd.DataFrame(rows, columns=["sequence", "label", "user", "time", "ax", "ay"])


def test_a_table_becomes_recordings() -> None:
    data = sequences_from_table(table().sample(frac=1, random_state=0).sort_values("time"), "imu.csv", interval=0.02)
    assert data.channels == ("ax", "ay")
    assert data.rate == 50.0
    order = data.values[:, 0, 1].argsort()
    assert data.lengths[order].tolist() == list(range(3, 12))
    assert data.labels[order].tolist() == [s % 2 for s in range(9)]
    assert torch.allclose(data.values[order][4, :7, 0], torch.arange(7) * 0.1)
    assert data.values[order][4, 7:].abs().sum() == 0
    split = data.split()
    groups = [
        set(part.groups.tolist()) for part in (split.train, split.validation, split.test) if part.groups is not None
    ]
    assert not (groups[0] & groups[1]) | (groups[0] & groups[2]) | (groups[1] & groups[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="sequence"), "missing column sequence"),
        (lambda t: t.assign(ax=["x", *t["ax"][1:]]), "row 2, column 'ax'"),
        (lambda t: t.assign(label=["other", *t["label"][1:]]), "sequence '0' has 2 values in column 'label'"),
        (lambda t: t[["sequence", "label", "user", "time"]], "no column of a channel"),
    ],
)
def test_broken_tables_are_named(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        sequences_from_table(change(table()), "imu.csv")


def test_recordings_without_groups_are_split_by_class() -> None:
    values, lengths = padded([torch.randn(5, 2) for _ in range(20)])
    data = Sequences(values=values, lengths=lengths, labels=torch.arange(20) % 2, classes=("a", "b"), name="few")
    split = data.split()
    assert [len(part) for part in (split.train, split.validation, split.test)] == [12, 4, 4]
    with pytest.raises(DataError, match="class 'a' has 1 recordings"):
        data.take(torch.tensor([0, 1, 3, 5])).split()


def test_bad_input_is_named() -> None:
    data = walks()
    method = Fisher.for_data(data)
    with pytest.raises(DataError, match=r"\(batch, time, 2\)"):
        method.perceive(torch.zeros(3, 4, 5))
    with pytest.raises(DataError, match="not finite"):
        method.perceive(torch.full((1, 4, 2), torch.nan))
    other = Sequences(
        values=data.values, lengths=data.lengths, labels=data.labels, classes=("slow", "still"), name="other"
    )
    with pytest.raises(DataError, match="class 'still' is not among"):
        method.evaluate(other)
    for options, message in (({"cell": "rnn"}, "'rnn'"), ({"theta": -1.0}, "theta -1"), ({"form": "sum"}, "'sum'")):
        with pytest.raises(MethodError, match=message):
            Fisher.for_data(data, **options)


@pytest.mark.parametrize("key", ["imu-basic-motions", "imu-pickup-gestures"])
def test_recordings_that_ship_in_a_package(key: str) -> None:
    pytest.importorskip("aeon")
    data = pl.load(key)
    assert len(data) == {"imu-basic-motions": 80, "imu-pickup-gestures": 100}[key]
    assert len(data.classes) == {"imu-basic-motions": 4, "imu-pickup-gestures": 10}[key]
