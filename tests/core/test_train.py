"""The training loop: what it promises about budgets, resuming, averaging, stopping and failing."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from pathline.core import store
from pathline.core.budget import Budget, epochs, minutes, steps
from pathline.core.errors import Interrupted, MethodError, RunError, TrainingError
from pathline.core.method import Recipe
from pathline.core.precision import fast_precision
from pathline.core.schedule import learning_rate, rate_groups
from pathline.core.train import train

sys.path.insert(0, str(Path(__file__).parent))
from toy import Denoiser, samples


def weights(method):
    return torch.cat([p.detach().flatten() for p in method.parameters()])


def fitted(budget=None, seed=0, data=None, **options):
    data = samples() if data is None else data
    return Denoiser.seeded(data, seed).fit(data, budget, seed=seed, **options)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, second, other = fitted(seed=1), fitted(seed=1), fitted(seed=2)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


class StopAfter(Denoiser):
    """Raises in the middle of a run, as a power cut would, without any clean-up."""

    def loss(self, batch):
        StopAfter.calls += 1
        if StopAfter.calls == StopAfter.limit:
            raise ZeroDivisionError
        return super().loss(batch)


@pytest.mark.parametrize("limit", [2, 13, 30, 59])
def test_a_run_that_died_and_was_resumed_ends_bit_for_bit_like_an_undisturbed_one(tmp_path, limit):
    data = samples().split()
    options = {"ema": 0.9, "validations": 4}
    whole = Denoiser.seeded(data, 0).fit(data, steps(60), folder=tmp_path / "whole", **options)
    StopAfter.calls, StopAfter.limit = 0, limit
    with pytest.raises(ZeroDivisionError):
        StopAfter.seeded(data, 0).fit(data, steps(60), folder=tmp_path / "cut", checkpoint_seconds=0.0, **options)
    torch.manual_seed(99)  # a new process knows nothing of the old one's generators
    resumed = Denoiser.seeded(data, 0).fit(data, steps(60), folder=tmp_path / "cut", resume=True, **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert resumed.training_record.best == whole.training_record.best
    logs = [store.read_metrics(tmp_path / name) for name in ("whole", "cut")]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]


class Apart(StopAfter):
    """Biases do not decay, and learn at half the rate."""

    rates: ClassVar[dict[str, float]] = {"net.0.bias": 0.5}

    @property
    def decays(self):
        return {"net.0.bias": 0.0, "net.2.bias": 0.0}


def test_weights_decay_by_themselves_where_a_method_says_so_and_a_run_resumes_exactly_all_the_same(tmp_path):
    data, options = samples(), {"lr": 1e-2, "weight_decay": 0.5}
    groups = [(len(g["params"]), g["relative"], g["weight_decay"]) for g in rate_groups(Apart(), 0.5)]
    assert groups == [(2, 1.0, 0.5), (1, 0.5, 0.0), (1, 1.0, 0.0)]
    assert [(g["relative"], g["weight_decay"]) for g in rate_groups(Denoiser(), 0.5)] == [(1.0, 0.5)]

    def still(method):  # without a gradient only decay moves a weight
        return sum(p.sum() for p in method.parameters()) * 0.0

    before = Apart.seeded(data, 0)
    with torch.no_grad():
        before.net[0].bias.fill_(1.0)
    start = {name: p.detach().clone() for name, p in before.named_parameters()}
    train(before, data, steps(1), loss=lambda batch: still(before), schedule="constant", **options)
    for name, p in before.named_parameters():
        shrunk = 1.0 if name.endswith("bias") else 1 - 1e-2 * 0.5
        assert torch.allclose(p, shrunk * start[name]), name
    StopAfter.calls, StopAfter.limit = 0, 1000
    whole = Apart.seeded(data, 0).fit(data, steps(40), folder=tmp_path / "whole", **options)
    StopAfter.calls, StopAfter.limit = 0, 17
    with pytest.raises(ZeroDivisionError):
        Apart.seeded(data, 0).fit(data, steps(40), folder=tmp_path / "cut", checkpoint_seconds=0.0, **options)
    StopAfter.limit = 1000
    resumed = Apart.seeded(data, 0).fit(data, steps(40), folder=tmp_path / "cut", resume=True, **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert not torch.equal(weights(whole), weights(Denoiser.seeded(data, 0).fit(data, steps(40), **options)))


def test_resuming_with_another_seed_is_refused(tmp_path):
    StopAfter.calls, StopAfter.limit = 0, 10
    with pytest.raises(ZeroDivisionError):
        StopAfter.seeded(samples(), 0).fit(samples(), steps(60), folder=tmp_path, checkpoint_seconds=0.0)
    with pytest.raises(RunError, match="begun with seed 0, not 1"):
        Denoiser.seeded(samples(), 1).fit(samples(), steps(60), seed=1, folder=tmp_path, resume=True)


def test_a_budget_in_minutes_is_a_number_of_steps_that_repeats_the_run():
    timed = fitted(minutes(0.01))
    planned, looks = timed.training_record.planned, timed.training_record.recipe["validations"]
    assert planned > 20 and 1 <= looks <= 10
    if timed.training_record.stopped == "budget":  # a machine that slowed down is cut off, and its record says so
        assert torch.equal(weights(timed), weights(fitted(steps(planned), validations=looks)))


def test_a_budget_in_epochs_counts_passes():
    record = fitted(epochs(3)).training_record
    assert record.steps == 3 * math.ceil(203 / 16)
    assert record.epochs == pytest.approx(3)


@pytest.mark.parametrize("wrong", [{}, {"steps": 1, "minutes": 1}, {"steps": 0}, {"minutes": -1.0}])
def test_a_budget_is_one_positive_number(wrong):
    with pytest.raises(MethodError):
        Budget(**wrong)


def test_the_learning_rate_warms_up_linearly_and_falls_as_a_cosine_to_its_final_share():
    recipe = Recipe(lr=1.0, warmup=10, final=0.1)
    rates = [learning_rate(step, 110, recipe) for step in range(110)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert all(after < before for before, after in pairwise(rates[10:]))
    assert learning_rate(110, 110, recipe) == pytest.approx(0.1)
    assert learning_rate(50, 110, Recipe(lr=1.0, schedule="constant")) == 1.0
    falling = Recipe(lr=2.0, schedule="exponential", final=0.01)
    assert [learning_rate(step, 100, falling) for step in (0, 50, 100)] == pytest.approx([2.0, 0.2, 0.02])


def test_averaged_weights_follow_their_recursion():
    seen = []

    class Watched(Denoiser):
        def loss(self, batch):
            seen.append(weights(self).clone())
            return super().loss(batch)

    method = Watched.seeded(samples(), 0)
    train(method, samples(), steps(20), ema=0.95)
    raw = Watched.seeded(samples(), 0)
    train(raw, samples(), steps(20))
    trajectory = [*seen[1:20], weights(raw)]
    mean = seen[0]
    for n, w in enumerate(trajectory, start=1):
        decay = min(0.95, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * w
    torch.testing.assert_close(weights(method), mean)


def test_gradients_are_clipped_to_their_norm():
    data = samples()
    before = weights(Denoiser.seeded(data, 0))
    clipped, free = Denoiser.seeded(data, 0), Denoiser.seeded(data, 0)
    train(clipped, data, steps(1), clip=1e-12)
    train(free, data, steps(1), clip=None)
    # AdamW divides by sqrt(v) + 1e-8: a gradient of norm 1e-12 is far below that, so hardly anything moves
    assert (weights(clipped) - before).abs().max() < 1e-5
    assert (weights(free) - before).abs().max() > 1e-3


def test_the_best_weights_on_the_validation_part_are_kept():
    class Spoils(Denoiser):
        """Gets worse after half of its steps."""

        def loss(self, batch):
            Spoils.calls += 1
            sign = 1 if Spoils.calls <= 30 else -1
            return {"loss": sign * super().loss(batch)["loss"]}

    Spoils.calls = 0
    data = samples().split()
    method = Spoils.seeded(data, 0).fit(data, steps(60), clip=1.0, validations=10, lr=1e-2, schedule="constant")
    assert 30 <= method.training_record.best_step < 60
    assert method.evaluate(data.validation)["error"] == pytest.approx(method.training_record.best)


def test_patience_stops_a_run_that_no_longer_improves():
    data = samples().split()
    method = Denoiser.seeded(data, 0)
    method.score = lambda data, seed=0: 1.0
    method.fit(data, steps(100), validations=20, patience=3)
    assert method.training_record.stopped == "patience"
    assert method.training_record.steps == 20  # the look at step 5 is the best one, three more follow


def test_a_higher_score_is_better_where_the_method_says_so():
    data = samples().split()
    method = Denoiser.seeded(data, 0)
    type(method).better = "higher"
    try:
        scores = iter([0.1, 0.9, 0.5, 0.2])
        method.score = lambda data, seed=0: next(scores)
        method.fit(data, steps(40), validations=4)
    finally:
        type(method).better = "lower"
    assert method.training_record.best == 0.9 and method.training_record.best_step == 20


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    class Explodes(Denoiser):
        def loss(self, batch):
            Explodes.calls += 1
            terms = super().loss(batch)
            return {"loss": terms["loss"] * (float("nan") if Explodes.calls == 11 else 1.0)}

    Explodes.calls = 0
    method = Explodes.seeded(samples(), 0)
    with pytest.raises(TrainingError, match=r"at step 11 the loss is nan .*last good checkpoint"):
        method.fit(samples(), steps(60), folder=tmp_path, checkpoint_seconds=0.0)
    tensors, numbers = store.read_tensors(tmp_path / store.CHECKPOINT)
    assert numbers["step"] == 10
    assert all(torch.isfinite(t).all() for key, t in tensors.items() if key.startswith("model."))


def test_a_gradient_that_is_not_finite_never_reaches_the_weights():
    class SquareRoot(Denoiser):
        def loss(self, batch):
            weight = self.net[0].weight
            return {"loss": super().loss(batch)["loss"] + (weight - weight.detach()).abs().sum().sqrt()}

    method = SquareRoot.seeded(samples(), 0)
    with pytest.raises(TrainingError, match="gradient norm"):
        method.fit(samples(), steps(5))
    assert torch.isfinite(weights(method)).all()


def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint_that_continues_exactly(tmp_path):
    class Signalled(Denoiser):
        def loss(self, batch):
            Signalled.calls += 1
            if Signalled.calls == 17:
                signal.raise_signal(signal.SIGTERM)
            return super().loss(batch)

    Signalled.calls = 0
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"SIGTERM at step 17 of 60.*--resume") as caught:
        Signalled.seeded(samples(), 0).fit(samples(), steps(60), folder=tmp_path)
    assert caught.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = Denoiser.seeded(samples(), 0).fit(samples(), steps(60), folder=tmp_path, resume=True)
    assert torch.equal(weights(resumed), weights(fitted(steps(60))))


def test_training_works_outside_the_main_thread():
    result = []
    thread = threading.Thread(target=lambda: result.append(weights(fitted(steps(5)))))
    thread.start()
    thread.join()
    assert torch.equal(result[0], weights(fitted(steps(5))))


def test_unknown_settings_and_precisions_are_named():
    with pytest.raises(MethodError, match="no setting 'learning_rate'; it has steps, batch_size, lr"):
        fitted(learning_rate=1.0)
    with pytest.raises(MethodError, match="precision is 'fp8'"):
        fitted(precision="fp8")


def test_bf16_is_used_where_asked_and_never_against_the_method():
    class Free(Denoiser):
        precision = "auto"

    data = samples()
    assert Free.seeded(data, 0).fit(data, steps(2), precision="bf16").training_record.precision == "bf16-mixed"
    assert Denoiser.seeded(data, 0).fit(data, steps(2), precision="bf16").training_record.precision == "32-true"
    automatic = Free.seeded(data, 0).fit(data, steps(2)).training_record.precision
    assert automatic == fast_precision(torch.device("cpu"))


def test_a_method_without_weights_is_refused():
    class Empty(Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Identity()

    with pytest.raises(MethodError, match="no weights to train"):
        train(Empty(), samples(), steps(1))


@pytest.mark.slow
def test_two_processes_train_what_one_process_does(tmp_path):
    """Data-parallel over gloo: the averaged gradient of two half batches is that of the whole batch."""
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import torch\n"
        "from toy import Denoiser, samples\n"
        "from pathline.core.budget import steps\n"
        "class Plain(Denoiser):\n"
        "    def loss(self, batch): return (self.net(batch.values) - batch.values).square().mean()\n"
        "data = samples(192)\n"
        "method = Plain.seeded(data, 0)\n"
        "options = {'devices': int(sys.argv[1]), 'accelerator': 'cpu'}\n"
        "if sys.argv[1] == '2': options['strategy'] = 'ddp'\n"
        "method.fit(data, steps(40), **options)\n"
        "import os\n"
        "if os.environ.get('LOCAL_RANK', '0') == '0':\n"
        "    torch.save([p.detach() for p in method.parameters()], sys.argv[2])\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for count in ("1", "2"):
        subprocess.run(
            [sys.executable, str(program), count, str(tmp_path / count)], check=True, timeout=120, env=environment
        )
    one, two = (torch.load(tmp_path / count, weights_only=True) for count in ("1", "2"))
    for alone, together in zip(one, two, strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_kill_minus_nine_at_any_moment_loses_nothing(tmp_path):
    """A real process, really killed, several times; the end is the same bit for bit."""
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from toy import Denoiser, samples\n"
        "from pathline.core.budget import steps\n"
        "data = samples().split()\n"
        "method = Denoiser.seeded(data, 0)\n"
        "method.fit(data, steps(4000), ema=0.99, folder=sys.argv[1], resume=True, checkpoint_seconds=0.05)\n"
        "method.save(sys.argv[1])\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder):
        return subprocess.Popen([sys.executable, str(program), str(folder)], env=environment)

    assert start(tmp_path / "whole").wait(120) == 0
    killed = 0
    checkpoint = tmp_path / "cut" / store.CHECKPOINT
    for extra in (0.0, 0.3, 0.7):
        process, age = start(tmp_path / "cut"), checkpoint.stat().st_mtime if checkpoint.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if checkpoint.exists() and checkpoint.stat().st_mtime > age:
                time.sleep(extra)
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
                break
            time.sleep(0.01)
    assert start(tmp_path / "cut").wait(120) == 0
    assert killed
    whole, cut = (store.read_tensors(tmp_path / name / store.WEIGHTS)[0] for name in ("whole", "cut"))
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_the_norm_of_sparse_and_dense_gradients_is_one_and_clips_both():
    from pathline.core.gradients import clipped_norm

    table, plain = nn.Parameter(torch.zeros(5, 2)), nn.Parameter(torch.zeros(3))
    rows = torch.nn.functional.embedding(torch.tensor([1, 1, 4]), table, sparse=True)
    (3 * rows.sum() + 4 * plain.sum()).backward()
    expected = (2 * 6.0**2 + 2 * 3.0**2 + 3 * 4.0**2) ** 0.5  # row 1 was taken twice
    assert clipped_norm([table, plain], float("inf")).item() == pytest.approx(expected)
    clipped_norm([table, plain], 1.0)
    total = (table.grad.to_dense().square().sum() + plain.grad.square().sum()).sqrt()
    assert total.item() == pytest.approx(1)
