"""PiVeM: exact likelihoods, a prior that is never formed, invariances, masks, and paths that are found again."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch

from pathline.core.budget import minutes, steps
from pathline.data.events import Events
from pathline.events.contact_rivals import StaticLatentDistance
from pathline.events.pair_counts import PairCounts
from pathline.events.pivem import PiVeM
from pathline.sims.contacts import merging_clusters


def stream(events: int = 300, nodes: int = 6, seed: int = 0, **changes):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(0, nodes, (events,), generator=generator)
    target = (source + torch.randint(1, nodes, (events,), generator=generator)) % nodes
    time = (50 + 40 * torch.rand(events, generator=generator, dtype=torch.float64)).sort().values
    return Events(**({"source": source, "target": target, "time": time, "nodes": nodes, "directed": False} | changes))


def moving(data, seed: int = 0, kind=PiVeM, **config):
    """A model in float64 whose nodes move, fast and slowly and not at all."""
    torch.manual_seed(seed)
    model = kind.for_data(data, **({"bins": 5, "communities": 3} | config)).double()
    with torch.no_grad():
        model.velocity.normal_().mul_(torch.tensor([0.0, 1e-7, 0.5, 3.0, 20.0])[: model.bins, None, None])
    return model.eval().requires_grad_(False)


def everybody(model, data):
    return model.counts(data).batch(torch.arange(data.nodes))


def test_expected_contacts_are_the_integral_of_the_intensity():
    """Bins with velocities 0, 1e-7, 0.5, 3 and 20, and intervals that cross one, several or all of them."""
    data = stream()
    model = moving(data)
    length = float(model.length)
    begin = torch.tensor([0.01, 0.19, 0.3, 0.0, 0.55, 0.81, 0.9]) * length
    end = torch.tensor([0.02, 0.23, 0.9, 1.0, 0.56, 0.99, 1.2]) * length
    source, target = torch.tensor([0, 0, 1, 2, 3, 4, 5]), torch.tensor([1, 2, 2, 4, 5, 0, 0])
    found = model.log_expected(source, target, begin.double(), end.double())
    for k in range(7):
        s = torch.linspace(0, 1, 100_001, dtype=torch.float64)
        clock = begin[k].double() + s * (end[k] - begin[k]).double()
        rate = model.log_intensity(source[k].expand(len(s)), target[k].expand(len(s)), clock).exp()
        expected = torch.trapezoid(rate, clock / length)
        assert float(found[k].exp()) == pytest.approx(float(expected), rel=1e-5)


def test_three_numbers_per_pair_and_bin_are_the_likelihood():
    """Equal to the sum of log-intensities over events minus the integrals over pairs, to 1e-8."""
    data = stream()
    model = moving(data)
    i, j = torch.triu_indices(6, 6, offset=1)
    moments = (data.clock.new_full(i.shape, value) for value in (0.0, float(model.length)))
    integral = model.log_expected(i, j, *moments).exp().sum()
    met = model.log_intensity(data.source, data.target, data.clock).sum()
    found = model.log_likelihood(everybody(model, data))
    assert float(found) == pytest.approx(float(met - integral), rel=1e-8)


def test_more_events_do_not_cost_more():
    """Ten times the events: the same cells, ten times their numbers, and so the same tensors in a step."""
    data = stream()
    tenfold = replace(
        data,
        **{
            name: getattr(data, name).repeat_interleave(10, 0)
            for name in ("source", "target", "time", "weight", "features")
        },
    )
    once, often = (PairCounts.of(one, 5, 0.0, data.span) for one in (data, tenfold))
    for name in ("first", "second", "bin"):
        assert torch.equal(getattr(once, name), getattr(often, name))
    for name in ("count", "since", "square"):
        torch.testing.assert_close(10 * getattr(once, name), getattr(often, name))


def test_without_motion_it_is_the_static_latent_distance_model():
    """Poisson counts with the mean exp(a_i + a_j - |x_i - x_j|^2) for every pair, up to the factorials."""
    data = stream()
    model = moving(data, kind=StaticLatentDistance)
    with torch.no_grad():
        model.velocity.zero_()
    i, j = torch.triu_indices(6, 6, offset=1)
    start = model.paths().start
    log_mean = model.activity[i] + model.activity[j] - (start[i] - start[j]).square().sum(1)
    counts = torch.zeros(6, 6, dtype=torch.float64)
    counts.index_put_((data.source, data.target), torch.ones(len(data), dtype=torch.float64), accumulate=True)
    counts = (counts + counts.T)[i, j]
    poisson = torch.distributions.Poisson(log_mean.exp()).log_prob(counts).sum() + torch.lgamma(counts + 1).sum()
    assert float(model.log_likelihood(everybody(model, data))) == pytest.approx(float(poisson), rel=1e-10)


def test_the_static_model_never_moves():
    data = stream()
    model = StaticLatentDistance.seeded(data, 0, bins=5).fit(data, steps(12))
    assert not model.velocity.any()


def test_the_prior_is_the_gaussian_of_its_dense_covariance():
    """N = 4, B = 3, K = 2, D = 2, against torch's multivariate normal."""
    data = stream(nodes=4)
    torch.manual_seed(1)
    model = PiVeM.for_data(data, bins=3, communities=2).double().eval().requires_grad_(False)
    with torch.no_grad():
        model.velocity.normal_()
        model.prior_start.fill_(0.8)
        model.prior_noise.fill_(1.9)  # above the least noise of 5 / B
    centre = (torch.arange(3, dtype=torch.float64) + 0.5) / 3
    kernel = torch.exp(-((centre[:, None] - centre) ** 2) / (2 * model.prior_length**2))
    times = torch.block_diag(model.prior_start[None, None] ** 2, kernel) + 1e-5 * torch.eye(4, dtype=torch.float64)
    groups = model.prior_membership.softmax(1)
    eye = torch.eye(2, dtype=torch.float64)
    dense = 1.9**2 * torch.eye(32, dtype=torch.float64) + torch.kron(times, torch.kron(groups @ groups.T, eye))
    x = model.start - model.start.mean(0)
    v = model.velocity - model.velocity.mean(1, keepdim=True)
    z = torch.cat([x.flatten(), v.flatten()])
    expected = torch.distributions.MultivariateNormal(torch.zeros(32, dtype=torch.float64), dense).log_prob(z)
    assert float(model.log_prior()) == pytest.approx(float(expected), abs=1e-6)
    with torch.no_grad():
        model.prior_noise.fill_(0.1)
    assert float(model.prior().noise) == pytest.approx(5 / 3)


def test_a_rigid_motion_of_all_paths_changes_no_intensity():
    data = stream()
    model = moving(data)
    turned = moving(data)
    turn = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q
    with torch.no_grad():
        turned.start.copy_(model.start @ turn + torch.tensor([3.0, -7.0]))
        turned.velocity.copy_(model.velocity @ turn + torch.randn(5, 1, 2))  # everybody drifts alike
        turned.activity.copy_(model.activity)
    asked = data.source, data.target, data.clock
    torch.testing.assert_close(model.log_intensity(*asked), turned.log_intensity(*asked))
    first, second = (one.log_likelihood(everybody(one, data)) for one in (model, turned))
    torch.testing.assert_close(first, second)


def test_groups_of_nodes_give_the_likelihood_of_all_in_the_mean():
    data = stream()
    model = moving(data)
    counts = model.counts(data)
    whole = float(model.log_likelihood(everybody(model, data)))
    for size in (2, 4):
        batches = [counts.batch(torch.tensor(chosen)) for chosen in combinations(range(6), size)]
        mean = sum(float(model.log_likelihood(batch)) / batch.share for batch in batches) / len(batches)
        assert mean == pytest.approx(whole, rel=1e-9)
    model.train()
    sizes = [int(batch.first.unique().numel()) for batch in model.batches(data, 4, torch.Generator())]
    assert model.epoch_length(data, 4) == len(sizes) == 2


# -- what was not looked at -------------------------------------------------------------------------------------------


def gapped(data, rows):
    return replace(data, gaps=torch.tensor(rows, dtype=torch.float64))


def test_masked_pairs_leave_events_and_integral():
    """The likelihood with a pair masked is that of the other pairs, and its own events change nothing."""
    data = stream()
    model = moving(data)
    span = float(model.length)
    masked = gapped(data, [[4.0, 1.0, -1.0, span + 1]])
    found = model.log_likelihood(everybody(model, masked))
    i, j = torch.triu_indices(6, 6, offset=1)
    others = ~((i == 1) & (j == 4))
    moments = (data.clock.new_full(i.shape, value)[others] for value in (0.0, span))
    kept = ~((data.source == 1) & (data.target == 4) | (data.source == 4) & (data.target == 1))
    met = model.log_intensity(data.source[kept], data.target[kept], data.clock[kept]).sum()
    integral = model.log_expected(i[others], j[others], *moments).exp().sum()
    assert int((~kept).sum()) > 5
    assert float(found) == pytest.approx(float(met - integral), rel=1e-8)


def test_a_gap_closes_every_bin_that_it_touches():
    data = stream()
    model = moving(data)
    span = float(model.length)
    batch = everybody(model, gapped(data, [[0.0, 1.0, 0.35 * span, 0.6 * span]]))
    assert batch.watched[:, 0].tolist() == [1, 0, 0, 1, 1]
    assert (batch.watched[:, 1:] == 1).all()
    assert set(batch.bin[batch.pair == 0].tolist()) <= {0, 3, 4}


def test_nothing_flows_through_a_masked_pair():
    """Two nodes whose only pair is masked get no gradient from the likelihood at all."""
    data = stream(nodes=2)
    model = moving(data).requires_grad_()
    masked = gapped(data, [[0.0, 1.0, -1.0, 99.0]])
    likelihood = model.log_likelihood(everybody(model, masked))
    likelihood.backward()
    assert likelihood.item() == 0
    assert not model.start.grad.any() and not model.velocity.grad.any() and not model.activity.grad.any()


def test_what_comes_after_training_changes_nothing():
    """Two streams that agree on the training part and on nothing else give equal models."""
    data = stream(400)
    other = replace(data, target=torch.where(torch.arange(400) < 280, data.target, (data.source + 1) % 6))
    parts = [one.split() for one in (data, other)]
    first, second = (PiVeM.seeded(part.train, 0, bins=5).fit(part.train, steps(6)) for part in parts)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_groups_of_nodes_keep_their_gaps():
    """A batch of some nodes is the batch of all, restricted to their pairs."""
    data = gapped(stream(), [[0.0, 1.0, -1.0, 99.0], [4.0, 2.0, 0.0, 9.0], [2.0, 5.0, 3.0, 20.0]])
    counts = moving(data).counts(data)
    chosen = torch.tensor([1, 2, 4, 5])
    whole, part = counts.batch(torch.arange(6)), counts.batch(chosen)
    place = {pair: k for k, pair in enumerate(zip(whole.first.tolist(), whole.second.tolist(), strict=True))}
    pairs = torch.tensor([place[pair] for pair in zip(part.first.tolist(), part.second.tolist(), strict=True)])
    assert torch.equal(part.watched, whole.watched[:, pairs])
    assert (part.watched == 0).any() and part.share == pytest.approx(6 / 15)
    dense = [
        torch.zeros(5, 15, dtype=torch.float64).index_put((one.bin, to[one.pair]), one.count)
        for one, to in ((part, pairs), (whole, torch.arange(15)))
    ]
    assert torch.equal(dense[0][:, pairs], dense[1][:, pairs])


# -- training ---------------------------------------------------------------------------------------------------------


def test_training_begins_where_the_paper_says():
    data = stream(nodes=300)
    torch.manual_seed(0)
    models = [PiVeM.for_data(data, bins=20) for _ in range(30)]
    for name, low, high in (("start", -1, 1), ("activity", -1, 1), ("prior_membership", 0, 1)):
        values = torch.stack([getattr(model, name).detach() for model in models])
        assert low <= float(values.min()) < low + 0.02 and high - 0.02 < float(values.max()) <= high
    for name, low, high in (("prior_noise", 1 / 20, 3 / 20), ("prior_length", 1 / 20, 19 / 20)):
        values = torch.stack([getattr(model, name).detach() for model in models])
        assert low <= float(values.min()) < float(values.max()) <= high
        assert float(values.max() - values.min()) > 0.7 * (high - low)
    assert not models[0].velocity.any() and float(models[0].prior_start.detach()) == 1


def test_parameters_are_learned_one_group_after_the_other():
    data = stream()
    model = PiVeM.seeded(data, 0, bins=5)
    before = {name: value.clone() for name, value in model.named_parameters()}
    changed = []

    def loss(batch):
        changed.append({name for name, value in model.named_parameters() if not torch.equal(value, before[name])})
        return model.loss(batch)

    model.fit(data, steps(9), loss=loss)
    assert changed[3] == {"start", "activity"}
    assert changed[5] == changed[6] == {"start", "activity", "velocity"}
    assert changed[8] == set(before) - {"prior_noise"}  # held at its least value, 5 / B, where it has no slope


def test_earlier_groups_stay_trainable():
    data = stream()
    model = PiVeM.seeded(data, 0, bins=5)
    places = []

    def loss(batch):
        places.append(model.start.detach().clone())
        return model.loss(batch)

    model.fit(data, steps(9), loss=loss)
    assert all(not torch.equal(one, other) for one, other in pairwise(places))


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    data = stream()
    whole = PiVeM.seeded(data, 0, bins=5).fit(data, steps(12), seed=0)
    model = PiVeM.seeded(data, 0, bins=5)

    def loss(batch):
        if int(model.done) == 7:
            raise KeyboardInterrupt
        return model.loss(batch)

    with pytest.raises(KeyboardInterrupt):
        model.fit(data, steps(12), seed=0, folder=tmp_path, checkpoint_seconds=0.0, loss=loss)
    again = PiVeM.seeded(data, 0, bins=5).fit(data, steps(12), seed=0, folder=tmp_path, resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_minutes_become_steps():
    data = stream()
    model = PiVeM.seeded(data, 0, bins=5).fit(data, minutes(0.01))
    assert model.training_record.steps >= 3
    assert int(model.unlock[1]) == 2 * model.training_record.planned // 3


def fit_up_to_rotation(found, true):
    """Procrustes: the share of the variance of `true` (corners, nodes, 2) that `found`, turned and scaled, has."""
    found, true = ((part - part.mean((0, 1))).double().flatten(0, 1) for part in (found, true))
    return float(torch.linalg.svdvals(found.T @ true).sum() ** 2 / (found.square().sum() * true.square().sum()))


def test_paths_are_found_again():
    """Three clusters that merge and split, up to one rotation for all times; nodes that rest cannot say it."""
    record = merging_clusters(points=30, contacts=10_000, pieces=10, seed=1)
    data, true = record.events(), record.paths.corners()
    true = true - true.mean(1, keepdim=True)
    explained = []
    for kind in (PiVeM, StaticLatentDistance):
        model = kind.seeded(data, 0, bins=10).fit(data, steps(150), seed=0, lr=0.05)
        with torch.no_grad():
            explained.append(fit_up_to_rotation(model.paths().corners(), true))
    assert explained[0] > 0.8 > explained[1] + 0.05


# -- the verbs --------------------------------------------------------------------------------------------------------


def test_simulated_records_have_the_expected_numbers():
    data = stream(600)
    model = PiVeM.seeded(data, 0, bins=5).fit(data, steps(60))
    i, j = torch.triu_indices(6, 6, offset=1)
    zero = data.clock.new_zeros(i.shape)
    with torch.no_grad():
        mean = model.log_expected(i, j, zero, zero + float(model.length)).exp().double()
    drawn = [model.simulate(seed) for seed in range(10)]
    total = sum(len(one) for one in drawn) / 10
    assert abs(total - float(mean.sum())) < 5 * float(mean.sum() / 10) ** 0.5
    assert all(one.clock[0] >= 0 and one.time[-1] <= model.length + model.origin for one in drawn)
    assert torch.equal(drawn[3].time, model.simulate(3).time)


def test_the_future_goes_on_as_the_prior_expects():
    """After training, velocities fade towards the prior's mean 0 and no path jumps."""
    data = stream()
    model = moving(data)
    with torch.no_grad():
        model.prior_length.fill_(0.15)
        future = model.future()
    assert future.pieces == 10 and future.length == 2
    torch.testing.assert_close(future.corners()[:6], model.paths().corners())
    speeds = future.velocity[5:].norm(dim=-1).mean(1)
    assert speeds[0] > 10 * speeds[-1]
    assert float(model.log_intensity(torch.tensor([0]), torch.tensor([1]), torch.tensor([1e9]))) < 10


def test_scores_are_log_intensities_of_pairs_at_their_time():
    data = stream()
    model = moving(data)
    source, time = torch.tensor([0, 3]), torch.tensor([1.0, 30.0], dtype=torch.float64)
    target = torch.tensor([[1, 2], [4, 5]])
    scores = model.score_pairs(source, target, time)
    for row in range(2):
        for column in range(2):
            one = model.log_intensity(source[row], target[row, column], time[row])
            torch.testing.assert_close(scores[row, column], one)
    later = torch.tensor([1.0, 1e4], dtype=torch.float64)
    mixed = model.score_pairs(source, target, later)
    torch.testing.assert_close(mixed[0], scores[0])
    end = float(model.length)
    clock = end * (0.7 + 0.3 * torch.linspace(0, 1, 20_001, dtype=torch.float64))
    rates = model.log_intensity(source[1].expand(20_001), target[1, 0].expand(20_001), clock).exp()
    assert float(mixed[1, 0].exp()) == pytest.approx(float(torch.trapezoid(rates, clock) / (0.3 * end)), rel=1e-5)


def test_a_stream_of_one_moment_is_refused():
    data = stream()
    with pytest.raises(Exception, match="one time"):
        PiVeM.for_data(replace(data, time=torch.zeros_like(data.time)))
