"""The one training loop, on Lightning Fabric.

Exact resume: a run that was killed at any moment and resumed ends with the same weights, bit for bit, as one that was
not. Everything the rest of a run depends on is therefore in one checkpoint file, replaced atomically: weights, averaged
weights, optimiser moments, the place in the epoch, and the states of both random generators.
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pathline.core import store
from pathline.core.average import Average
from pathline.core.budget import Budget
from pathline.core.errors import Interrupted, MethodError, RunError, TrainingError
from pathline.core.gradients import clipped_norm
from pathline.core.method import Method, Recipe
from pathline.core.precision import precision_mode
from pathline.core.progress import Progress
from pathline.core.schedule import learning_rate, rate_groups
from pathline.core.signals import graceful_signals
from pathline.core.training import Training

logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)  # we report precision ourselves

CALIBRATION_SHARE = 0.05  # of a budget in minutes, spent on timing steps that are then undone
LOOKING_SHARE = 0.2  # of a budget in minutes, spent on the validation part at most; there is always one look
OVERRUN = 1.5  # a budget in minutes ends here even if the machine became slower than it was when timed

# what a checkpoint holds beside tensors
NUMBERS = ("step", "epoch", "batch", "total", "looks", "stale", "seconds", "last_loss", "best", "best_step", "seed")


class _Objective(nn.Module):
    """The loss as a module, so that Fabric's precision and DDP's gradient exchange wrap every loss alike.

    The batch comes as a function: Fabric rebuilds tensors found in arguments, which frozen batches rightly refuse.
    """

    def __init__(self, method: Method, loss: Callable[[Any], Tensor | dict[str, Tensor]]) -> None:
        super().__init__()
        self.method, self.function = method, loss

    def forward(self, batch: Callable[[], Any]) -> dict[str, Tensor]:
        terms = self.function(batch())
        return {"loss": terms} if isinstance(terms, Tensor) else terms


def train(
    method: Method,
    data: Any,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    loss: Callable[[Any], Tensor | dict[str, Tensor]] | None = None,
    validation: Any = None,
    folder: str | Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 20.0,
    accelerator: str = "auto",
    devices: int | str = 1,
    strategy: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    progress: bool = False,
    **recipe_changes: Any,
) -> Training:
    """Minimise `loss` (by default `method.loss`) over `data`; leaves `method` with the best weights, in eval mode.

    Args:
        validation: data on which `method.score` is watched; the best weights are kept. None keeps the last ones.
        folder: where metrics.csv and the checkpoint go; None writes nothing.
        resume: continue the unfinished run in `folder` (starts anew if there is no checkpoint yet).
        accelerator, devices, strategy: handed to Lightning Fabric.
        precision: "auto", "fp32" or "bf16"; a method that declares `precision = "fp32"` is never run in bf16.
        recipe_changes: fields of `Recipe`, such as lr=3e-4.

    Raises:
        TrainingError: the loss or its gradient is not finite; the last good checkpoint stays in `folder`.
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written.
    """
    recipe = method.recipe.updated(recipe_changes)
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy=strategy, precision=None)
    mode = precision_mode(precision, method.precision, fabric.device)
    if mode != "32-true":  # which it has without being told
        fabric = Fabric(accelerator=accelerator, devices=devices, strategy=strategy, precision=mode)  # type: ignore[arg-type]
    fabric.launch()
    loop = _Loop(fabric, method, data, recipe, seed, loss or method.loss, validation, folder, mode, compile)
    loop.checkpoint_seconds = checkpoint_seconds
    with graceful_signals(loop.ask_to_stop):
        return loop.run(budget or Budget(steps=recipe.steps), resume, progress)


class _Loop:
    """State of one run. The attributes that `_state` lists are exactly what a checkpoint holds."""

    checkpoint_seconds = 20.0

    def __init__(
        self,
        fabric: Fabric,
        method: Method,
        data: Any,
        recipe: Recipe,
        seed: int,
        loss: Callable[[Any], Tensor | dict[str, Tensor]],
        validation: Any,
        folder: str | Path | None,
        mode: str,
        compile: bool,
    ) -> None:
        torch.manual_seed(seed + fabric.global_rank)
        self.fabric, self.method, self.data, self.recipe, self.seed = fabric, method, data, recipe, seed
        self.validation, self.mode = validation, mode
        self.folder = None if folder is None else Path(folder)
        self.epoch_generator = torch.Generator().manual_seed(seed)
        self.epoch_state = self.epoch_generator.get_state()
        parameters = [p for p in method.parameters() if p.requires_grad]
        if not parameters:
            raise MethodError(f"{type(method).__name__} has no weights to train")
        objective: nn.Module = _Objective(method, loss)
        if compile:
            objective = torch.compile(objective)  # type: ignore[assignment]
        optimizer = method.optimizer(recipe) or torch.optim.AdamW(
            rate_groups(method, recipe.weight_decay), lr=recipe.lr, betas=recipe.betas, fused=True
        )
        self.objective, self.optimizer = fabric.setup(objective, optimizer)
        self.parameters = parameters
        self.average = Average(method, recipe.ema)
        self.step = self.epoch = self.batch = self.total = self.stale = 0
        self.looks = max(1, recipe.validations)
        self.seconds, self.last_loss = 0.0, math.nan
        self.best: float | None = None
        self.best_step: int | None = None
        self.best_weights: dict[str, Tensor] = {}
        self.stop_signal: int | None = None
        self.rows: list[dict[str, Any]] = []

    # -- the run ------------------------------------------------------------------------------------------------------

    def run(self, budget: Budget, resume: bool, show_progress: bool) -> Training:
        if not (resume and self._restore()):
            self._start_log()
            self.total, self.looks = self.fabric.broadcast(self._plan(budget))
            self._checkpoint()
        deadline = math.inf if budget.minutes is None else budget.minutes * 60 * OVERRUN
        every = max(1, self.total // self.looks)
        stopped = "budget"
        with Progress(self.total, self.step, enabled=show_progress and self.fabric.is_global_zero) as progress:
            resumed_at, begun = self.seconds, time.monotonic()
            saved = begun
            self.method.train()
            for batch in self._batches():
                terms = self._advance(batch)
                self.seconds = resumed_at + time.monotonic() - begun
                progress.update(self.step, self.last_loss)
                self._log_row(terms)
                if self.validation is not None and (self.step % every == 0 or self.step == self.total):
                    self._look()
                    self.seconds = resumed_at + time.monotonic() - begun
                    if self.recipe.patience is not None and self.stale >= self.recipe.patience:
                        stopped = "patience"
                        break
                if self.stop_signal is not None:
                    self._stop_early()
                if self.step == self.total:
                    break
                if self.fabric.broadcast(self.seconds > deadline):
                    stopped = "deadline"
                    break
                if time.monotonic() - saved > self.checkpoint_seconds:
                    self._checkpoint()
                    saved = time.monotonic()
        if stopped == "deadline" and self.validation is not None:
            self._look()
        return self._finish(stopped)

    def _batches(self) -> Iterator[Any]:
        """Batches for ever, from the place in the epoch where the run stands."""
        size, world = self.recipe.batch_size, self.fabric.world_size
        while True:
            self.epoch_generator.set_state(self.epoch_state)
            if self.batch == 0:
                self.method.begin_epoch()
            seen = 0
            for seen, batch in enumerate(self.method.batches(self.data, size, self.epoch_generator), start=1):
                if seen <= self.batch:  # done before the run was interrupted
                    continue
                self.batch = seen
                yield (batch if world == 1 else batch.part(self.fabric.global_rank, world)).to(self.fabric.device)
            if not seen:
                raise TrainingError(f"{type(self.method).__name__} found no batch in {self.data.name}")
            self.epoch_state = self.epoch_generator.get_state()
            self.epoch, self.batch = self.epoch + 1, 0

    def _advance(self, batch: Any) -> dict[str, Tensor]:
        """One optimiser step."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["relative"] * learning_rate(self.step, self.total, self.recipe)
        terms = self.objective(lambda: batch)
        self.fabric.backward(terms["loss"])
        norm = clipped_norm(self.parameters, self.recipe.clip or math.inf)
        if not bool(torch.isfinite(terms["loss"]) & torch.isfinite(norm)):
            self._refuse(terms["loss"], norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.average.update(self.step)
        self.last_loss = terms["loss"].item()
        return terms

    def _look(self) -> None:
        """Score the averaged weights on the validation part and keep them if they are the best so far."""
        sign = 1 if self.method.wants == "lower" else -1
        with self.average.applied(), torch.random.fork_rng(devices=[]), torch.no_grad():
            self.method.eval()
            score = float(self.method.score(self.validation, seed=self.seed))
            if self.best is None or sign * score < sign * self.best:
                self.best, self.best_step, self.stale = score, self.step, 0
                self.best_weights = {key: value.detach().clone() for key, value in self.method.state_dict().items()}
            else:
                self.stale += 1
        self.method.train()
        self.rows.append({**self._row(), "validation": score})

    def _finish(self, stopped: str) -> Training:
        if self.best_weights:
            self.method.load_state_dict(self.best_weights)
        else:
            self.average.keep()
        self.method.eval()
        self._write_log()
        size = self.method.epoch_length(self.data, self.recipe.batch_size)
        return Training(
            steps=self.step,
            planned=self.total,
            epochs=round(self.epoch + self.batch / size, 3),
            seconds=round(self.seconds, 3),
            batch_size=self.recipe.batch_size,
            precision=self.mode,
            seed=self.seed,
            stopped=stopped,
            loss=self.last_loss,
            best=self.best,
            best_step=self.best_step,
            recipe=asdict(self.recipe) | {"validations": self.looks},
        )

    # -- planning -----------------------------------------------------------------------------------------------------

    def _plan(self, budget: Budget) -> tuple[int, int]:
        """The budget as a number of steps, and of looks at the validation part."""
        if budget.steps is not None:
            return budget.steps, self.looks
        if budget.epochs is not None:
            epoch = self.method.epoch_length(self.data, self.recipe.batch_size)
            return max(1, round(budget.epochs * epoch)), self.looks
        assert budget.minutes is not None
        allowed = budget.minutes * 60
        per_step, per_look, spent = self._timings(allowed * CALIBRATION_SHARE)
        looks = 0 if self.validation is None else min(self.looks, max(1, int(allowed * LOOKING_SHARE / per_look)))
        return max(1, int((allowed - spent - looks * per_look) / per_step)), max(1, looks)

    def _timings(self, allowed: float) -> tuple[float, float, float]:
        """Seconds per step and per validation, and what it cost to find out. Leaves no trace in the run's state."""
        kept = {key: value.detach().clone() for key, value in self.method.state_dict().items()}
        generators = torch.get_rng_state(), self.epoch_generator.get_state()
        self.total = 10**9
        began = time.monotonic()
        self.method.train()
        laps = [began]
        for batch in self._batches():
            self._advance(batch)
            laps.append(time.monotonic())
            if (len(laps) > 3 and laps[-1] - began > allowed) or len(laps) > 200:
                break
        durations = sorted(after - before for before, after in pairwise(laps[1:]))
        looked = time.monotonic()
        if self.validation is not None:
            self._look()
        per_look = time.monotonic() - looked
        self.method.load_state_dict(kept)
        torch.set_rng_state(generators[0])
        self.epoch_generator.set_state(generators[1])
        self.epoch_state = generators[1]
        self.optimizer.state.clear()
        self.average.reset()
        self.step = self.epoch = self.batch = self.stale = 0
        self.best, self.best_step, self.best_weights, self.rows = None, None, {}, []
        return durations[len(durations) // 2], per_look, time.monotonic() - began

    # -- what can go wrong --------------------------------------------------------------------------------------------

    def _refuse(self, loss: Tensor, norm: Tensor) -> None:
        self._write_log()
        kept = "" if self.folder is None else f"; the last good checkpoint is {self.folder / store.CHECKPOINT}"
        raise TrainingError(
            f"{type(self.method).__name__}: at step {self.step + 1} the loss is {loss.item():g} and its gradient norm "
            f"{norm.item():g}{kept}; try a smaller lr (now {self.recipe.lr:g}), clip={self.recipe.clip}, or fp32"
        )

    def ask_to_stop(self, number: int) -> None:
        """Stop after the current step, because signal `number` came."""
        self.stop_signal = number

    def _stop_early(self) -> None:
        self._checkpoint()
        assert self.stop_signal is not None
        where = (
            "nothing was kept, because no run folder was given"
            if self.folder is None
            else f"continue it with --resume from {self.folder}"
        )
        name = signal.Signals(self.stop_signal).name
        raise Interrupted(f"stopped by {name} at step {self.step} of {self.total}; {where}", self.stop_signal)

    # -- disk ---------------------------------------------------------------------------------------------------------

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"epoch_state": self.epoch_state, "rng": torch.get_rng_state()}
        tensors |= {f"model.{key}": value for key, value in self.method.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in self.average.state().items()}
        tensors |= {f"best.{key}": value for key, value in self.best_weights.items()}
        for index, parameter in enumerate(self.parameters):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{index}.{key}"] = value
        if torch.cuda.is_available():
            tensors["rng_cuda"] = torch.cuda.get_rng_state(self.fabric.device)
        return tensors, {name: getattr(self, name) for name in NUMBERS} | {"rows": len(self.rows)}

    def _checkpoint(self) -> None:
        if self.folder is None or not self.fabric.is_global_zero:
            return
        self._write_log()
        store.write_tensors(self.folder / store.CHECKPOINT, *self._state())

    def _restore(self) -> bool:
        """Take up the run in `folder`; False if it has no checkpoint."""
        if self.folder is None:
            raise RunError("there is nothing to resume: no run folder was given (--out DIR)")
        if not (self.folder / store.CHECKPOINT).exists():
            return False
        tensors, numbers = store.read_tensors(self.folder / store.CHECKPOINT)

        def under(prefix: str) -> dict[str, Tensor]:
            return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(prefix + ".")}

        if numbers["seed"] != self.seed:
            raise RunError(f"{self.folder} was begun with seed {numbers['seed']}, not {self.seed}")
        try:
            self.method.load_state_dict(under("model"))
        except RuntimeError as error:
            raise RunError(f"the checkpoint in {self.folder} belongs to another method or size: {error}") from None
        rows = numbers.pop("rows")
        for name, value in numbers.items():
            setattr(self, name, value)
        self.average.load(under("average"))
        self.best_weights = under("best")
        for key, value in under("optimizer").items():
            index, _, name = key.partition(".")
            parameter = self.parameters[int(index)]
            place = value if name == "step" else value.to(parameter.device)
            self.optimizer.state.setdefault(parameter, {})[name] = place
        self.epoch_state = tensors["epoch_state"]
        torch.set_rng_state(tensors["rng"])
        if "rng_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng_cuda"], self.fabric.device)
        self.rows = store.read_metrics(self.folder)[:rows]
        return True

    # -- metrics.csv --------------------------------------------------------------------------------------------------

    def _row(self) -> dict[str, Any]:
        rate = learning_rate(self.step - 1, self.total, self.recipe)
        row = {"step": self.step, "epoch": self.epoch, "seconds": round(self.seconds, 3)}
        return row | {"loss": self.last_loss, "lr": rate}

    def _log_row(self, terms: dict[str, Tensor]) -> None:
        """Keep about 500 rows a run, whatever its length."""
        if self.step == 1 or self.step % max(1, self.total // 500) == 0 or self.step == self.total:
            others = {key: value.item() for key, value in terms.items() if key != "loss"}
            self.rows.append(self._row() | others)

    def _start_log(self) -> None:
        if self.folder is not None and self.fabric.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)

    def _write_log(self) -> None:
        if self.folder is not None and self.fabric.is_global_zero and self.rows:
            store.write_metrics(self.folder, self.rows)
