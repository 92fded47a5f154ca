"""Compare: every fitting method of a room on one data set, over seeds, with the room's baselines.

A budget in minutes is for the whole comparison and is shared equally by the arms that train. All arms get the same
split, the same seeds and the same budget (where data have several published splits or folds, each seed has its own);
the table is of the test part, which nothing else has seen.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pathline.core import catalog, store
from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError, TrainingError
from pathline.core.method import Method, key_of
from pathline.data.container import Split


@dataclass
class Arm:
    """One method over all seeds.

    metrics: name -> one value per seed;  seconds, steps: of each seed, steps as planned from the budget;
    validations: looks at the validation part in each seed's run, which with its steps repeat it;
    failure: why it has no numbers, or ""
    """

    key: str
    baseline: bool
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    validations: list[int] = field(default_factory=list)
    parameters: int = 0
    failure: str = ""


@dataclass
class Leaderboard:
    """The result of a comparison: arms from best to worst by the first metric.

    skill: 1 - metric / metric of the room's first baseline (for "lower is better"), so 0 is naive and 1 is perfect.
    asked: the user's own data, where they have no truth and the ranking is on other data (`Method.pretrain_data`)
    answers: each arm's `predict` of what was asked
    """

    room: str
    data: str
    description: dict[str, Any]
    fingerprint: str
    seeds: list[int]
    budget: str
    better: str
    naive: str
    arms: list[Arm]
    seconds: float
    models: dict[str, Method] = field(default_factory=dict, repr=False)
    test: Any = field(default=None, repr=False)
    asked: Any = field(default=None, repr=False)
    answers: dict[str, Any] = field(default_factory=dict, repr=False)
    best_folder: str = ""
    report: str = ""

    @property
    def metrics(self) -> list[str]:
        """Those that every arm has, in the order of the first."""
        known = [arm.metrics for arm in self.arms if arm.metrics]
        return [metric for metric in known[0] if all(metric in other for other in known)] if known else []

    @property
    def best(self) -> Arm:
        return self.arms[0]

    def mean(self, arm: Arm, metric: str) -> float:
        return fmean(arm.metrics[metric])

    def spread(self, arm: Arm, metric: str) -> float:
        """Standard deviation over seeds; 0 with one seed."""
        values = arm.metrics[metric]
        return stdev(values) if len(values) > 1 else 0.0

    def skill(self, arm: Arm) -> float | None:
        """How much of the naive baseline's error is gone (or, for "higher is better", of what it missed of 1)."""
        naive = next((other for other in self.arms if other.key == self.naive and other.metrics), None)
        if naive is None or not arm.metrics:
            return None
        metric = self.metrics[0]
        ours, theirs = self.mean(arm, metric), self.mean(naive, metric)
        if self.better == "lower":
            return 1 - ours / theirs if theirs else None
        return (ours - theirs) / (1 - theirs) if theirs != 1 else None

    def __str__(self) -> str:
        """The table, as plain text."""
        from pathline.core.report import board_table

        heads, rows = board_table(self)
        texts = [heads] + [[f"{c.text} ± {c.spread}" if c.spread else c.text for c in cells] for _, cells in rows]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in texts]
        return "\n".join(line.rstrip() for line in lines)

    def to_json(self) -> dict[str, Any]:
        """One JSON document with everything but the models."""
        return {
            "room": self.room,
            "data": self.data,
            "description": self.description,
            "fingerprint": self.fingerprint,
            "seeds": self.seeds,
            "budget": self.budget,
            "better": self.better,
            "naive": self.naive,
            "seconds": round(self.seconds, 2),
            "best": self.best.key if self.best.metrics else None,
            "run": self.best_folder,
            "report": self.report,
            "asked": None if self.asked is None else self.asked.name,
            "answers": {key: table.to_dict("records") for key, table in self.answers.items()},
            "arms": [
                {
                    "key": arm.key,
                    "baseline": arm.baseline,
                    "metrics": arm.metrics,
                    "mean": {metric: self.mean(arm, metric) for metric in arm.metrics},
                    "spread": {metric: self.spread(arm, metric) for metric in arm.metrics},
                    "skill": self.skill(arm),
                    "seconds": arm.seconds,
                    "steps": arm.steps,
                    "validations": arm.validations,
                    "parameters": arm.parameters,
                    "failure": arm.failure,
                }
                for arm in self.arms
            ],
            "versions": store.versions(),
        }


@dataclass(frozen=True, eq=False)
class _Job:
    """One fit of one method on one seed; small enough to travel to another process."""

    key: str
    cls: type[Method]
    seed: int
    budget: Budget
    options: dict[str, Any]


def _run(job: _Job, split: Split[Any]) -> tuple[Method, dict[str, float], float]:
    """Fit and evaluate; the split is given so that every arm sees the same one."""
    began = time.monotonic()
    method = job.cls.seeded(split.train, job.seed)
    if job.cls.trains:
        method.fit(split, job.budget, seed=job.seed, **job.options)
    else:
        method.fit(split, seed=job.seed)
    seconds = time.monotonic() - began
    return method, method.evaluate(split.test, seed=job.seed), seconds


def _local(jobs: Sequence[_Job], splits: dict[int, Split[Any]], said: Callable[[_Job, Any], None]) -> None:
    for job in jobs:
        try:
            result: Any = _run(job, splits[job.seed])
        except (MethodError, DataError, TrainingError) as error:
            result = error
        said(job, result)


def _on_ray(jobs: Sequence[_Job], splits: dict[int, Split[Any]], said: Callable[[_Job, Any], None]) -> None:
    """The same jobs as Ray tasks of one processor each; models come back as their tensors."""
    try:
        import ray
    except ModuleNotFoundError:
        raise MethodError("--engine ray needs Ray: pip install 'pathline[ray]'") from None
    began_here = not ray.is_initialized()
    if began_here:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        places = {id(split): ray.put(split) for split in splits.values()}
        task = ray.remote(num_cpus=1, max_retries=0)(_run)
        waiting = {task.remote(job, places[id(splits[job.seed])]): job for job in jobs}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done)
            try:
                result: Any = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                result = error.cause
                if not isinstance(result, (MethodError, DataError, TrainingError)):
                    raise
            said(job, result)
    finally:
        if began_here:
            ray.shutdown()


ENGINES = {"local": _local, "ray": _on_ray}


def _fitting(classes: dict[str, type[Method]], data: Any, named: Sequence[type[Method]]) -> dict[str, type[Method]]:
    """Those that learn from `data`. Whoever was `named` must; if none does, the first one's reason is raised."""
    kept, reasons = {}, []
    for key, cls in classes.items():
        try:
            cls.require(data)
        except DataError as error:
            if cls in named:
                raise
            reasons.append(error)
        else:
            kept[key] = cls
    if not kept:
        raise reasons[0]
    return kept


def _splits(data: Any, seeds: Sequence[int]) -> dict[int, Split[Any]]:
    """The split of each seed: one for all, but for data with several that are meant to be averaged over."""
    if isinstance(data, Split):
        return dict.fromkeys(seeds, data)
    if data.split_count == 1:
        return dict.fromkeys(seeds, data.split())
    return {seed: data.split(seed) for seed in seeds}


def _stand_in(classes: dict[str, type[Method]], asked: Any) -> Any:
    """What the arms learn from and are ranked on, since `asked` has no truth."""
    for cls in classes.values():
        found = cls.pretrain_data()
        if found is not None:
            return found
    raise DataError(
        f"{asked.name}: nothing in it says what the methods should answer, so they cannot be compared on it"
    )


def compare(
    methods: Sequence[str | type[Method]] | None,
    data: Any,
    *,
    room: str | None = None,
    budget: Budget | None = None,
    seeds: int | Sequence[int] = 1,
    engine: str = "local",
    log: bool = False,
    **options: Any,
) -> Leaderboard:
    """Fit `methods` and the room's baselines on `data` and rank them on its test part.

    Data without truth, such as a record without picks, cannot rank anything: the arms then learn from and are ranked on
    the room's own data (`Method.pretrain_data`), and the leaderboard carries what each of them answers on `data`.

    Args:
        methods: keys or classes; None means every built method of `room`.
        data: a container, or a `Split`.
        budget: per trained arm and seed for steps and epochs; for the whole comparison for minutes.
        seeds: how many (0, 1, ...), or which.
        engine: "local" one after the other, or "ray" in parallel.
        options: passed on to `fit` (lr=..., precision=..., ...).

    Raises:
        DataError: the data fits none of the methods, or is too small to split.
        MethodError: unknown method or engine.
    """
    if engine not in ENGINES:
        raise MethodError(f"there is no engine '{engine}'; choose {' or '.join(ENGINES)}")
    if methods is not None and not methods:
        raise MethodError("no method was named: give at least one, or none at all for every method of the room")
    named = None if methods is None else [catalog.method(m) if isinstance(m, str) else m for m in methods]
    if room is None:
        if not named:
            raise MethodError("name methods or a room")
        room = named[0].room
    trivial = [entry.key for entry in catalog.baselines(room)]
    if named is None:
        named = [entry.load() for entry in catalog.systems(room) if entry.built]
    classes: dict[str, type[Method]] = {key: catalog.method(key) for key in trivial}
    for cls in named:
        if cls.room != room:
            raise MethodError(f"'{key_of(cls)}' belongs to room '{cls.room}', not to '{room}'")
        classes[key_of(cls)] = cls
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen:
        raise MethodError("a comparison needs at least one seed")
    required = () if methods is None else named
    asked = None if isinstance(data, Split) or data.has_truth else data
    if asked is not None:
        data = _stand_in(_fitting(classes, asked, required), asked)
    splits = _splits(data, chosen)
    split = splits[chosen[0]]
    classes = _fitting(classes, split, required)

    trained = sum(cls.trains for cls in classes.values()) * len(chosen)
    share = budget
    if budget is not None and budget.minutes is not None and trained:
        share = Budget(minutes=budget.minutes / trained)
    arms = {name: Arm(name, baseline=name in trivial) for name in classes}
    models: dict[str, Method] = {}  # the first seed's, so that no model is picked by its test score

    results: dict[_Job, Any] = {}

    def said(job: _Job, result: Any) -> None:
        results[job] = result
        if log and isinstance(result, Exception):
            print(f"  {job.key}, seed {job.seed}: {result}", file=sys.stderr, flush=True)
        elif log:
            _, metrics, seconds = result
            (first, value), *_ = metrics.items()
            print(f"  {job.key}, seed {job.seed}: {first} {value:.4g}, {seconds:.1f} s", file=sys.stderr, flush=True)

    jobs = [
        _Job(name, cls, seed, share or Budget(steps=cls.recipe.steps), options)
        for name, cls in classes.items()
        for seed in chosen
    ]
    began = time.monotonic()
    ENGINES[engine](jobs, splits, said)
    for job in jobs:  # in the order of the seeds, in whichever order they finished
        arm, result = arms[job.key], results[job]
        if isinstance(result, Exception):
            arm.failure = str(result)
            continue
        method, metrics, seconds = result
        for metric, value in metrics.items():
            arm.metrics.setdefault(metric, []).append(value)
        arm.seconds.append(round(seconds, 3))
        if method.training_record is not None:
            arm.steps.append(method.training_record.planned)
            arm.validations.append(method.training_record.recipe["validations"])
        arm.parameters = method.parameter_count()
        models.setdefault(job.key, method)
    for name, arm in arms.items():
        if arm.failure:  # numbers of some seeds only would not compare
            arms[name] = Arm(name, arm.baseline, failure=arm.failure)
            models.pop(name, None)
    better = next((model.wants for model in models.values()), "lower")
    board = Leaderboard(
        room=room,
        data=split.train.name,
        description=data.describe() if not isinstance(data, Split) else split.train.describe(),
        fingerprint=split.train.fingerprint() if isinstance(data, Split) else data.fingerprint(),
        seeds=chosen,
        budget=str(budget) if budget is not None else "each method's own",
        better=better,
        naive=next((key for key in trivial if key in classes), ""),
        arms=list(arms.values()),
        seconds=time.monotonic() - began,
        models=models,
        test=split.test,
        asked=asked,
        answers={} if asked is None else {key: model.predict(asked) for key, model in models.items()},
    )
    if not board.metrics:
        raise MethodError("no method finished: " + "; ".join(f"{arm.key}: {arm.failure}" for arm in board.arms))
    first, sign = board.metrics[0], 1 if better == "lower" else -1
    board.arms.sort(key=lambda arm: sign * board.mean(arm, first) if arm.metrics else float("inf"))
    return board


def save_board(board: Leaderboard, folder: Path, read: dict[str, Any] | None = None) -> Path:
    """Write leaderboard.json and .png, the best model with its record, and report.html into `folder`.

    read: how the data was read, so that the best model can be evaluated and used like any run.
    """
    from pathline.core.report import board_picture, leaderboard_report, picture_bytes

    best = board.models[board.best.key]
    board.best_folder = str(folder / board.best.key)
    store.write(
        board.best_folder,
        best,
        data={"name": board.data, "fingerprint": board.fingerprint, "read": read or {}},
        seed=board.seeds[0],
        training=None if best.training_record is None else asdict(best.training_record),
        metrics={name: values[0] for name, values in board.best.metrics.items()},
        finished=True,
    )
    board.report = str(folder / store.REPORT)
    store.write_text(folder / store.REPORT, leaderboard_report(board))
    for key, table in board.answers.items():
        with store.replacing(folder / f"{key}-answers.csv") as part:
            table.to_csv(part, index=False)
    (folder / "leaderboard.png").write_bytes(picture_bytes(board_picture(board)))
    store.write_json(folder / "leaderboard.json", board.to_json())
    return folder
