"""MoFlow: K futures at once from a flow that trains only the best of them, and a student that needs a single call.

    teacher   Y_t = (1 - t) Y_0 + t Y_1,  Y in R^(K x agents x 2T), Y_0 ~ N(0, I), Y_1 the truth K times
              S_1..K, zeta = D(Y_t, C, t),   loss  w(t) min_k sum_steps ||S_k - Y_1|| + cross-entropy(zeta, argmin_k)
              sample  Y <- Y + dt (D - Y) / (1 - t), 10 calls, the last one answers D
    student   G(z, C) in one call, by implicit maximum likelihood: of m latents z the one whose K futures are nearest to
              the teacher's (Chamfer) is drawn nearer to them; no adversary, no gradient through the teacher's steps
The network attends over the K answers of an agent, over the agents of an answer, and to the encoded past.

Use it where one of a few answers has to be right and an answer must come fast. Do not use it for densities: K answers
are not K draws. Answers are chosen agent by agent unless `best_by` says "scene", and only then is each answer a joint
future in which agents fit together.

Fu, Yan, Wang, Li, Liao, 2025, "MoFlow: One-Step Flow Matching for Human Trajectory Forecasting via Implicit Maximum
Likelihood Estimation based Distillation", arXiv:2503.09950.
Departs: agents carry no index, so permuting them permutes the answers, and live in frames of their own; the student
starts with the teacher's modulation at t = 0 and has scores, which learn which answer is nearest to the truth without
moving the answers (the authors' has none); losses are means where the paper's equations sum, as in the authors' code,
and w = 1 for the direct reading, whose velocity would have 1 / (1 - t)^2; what is hidden in training is whole windows.
"""

import time
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.core import store
from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.method import Recipe, unwrap_split
from pathline.core.train import train
from pathline.data.tracks import Encounters, Tracks
from pathline.flow.best_of import STRAIGHT, Reading, best_of_loss, hidden, logit_normal_times, walk_to_data
from pathline.flow.imle import chamfer, imle_loss
from pathline.track.agent_network import AgentNetwork, Context
from pathline.track.agents import AgentTracker, all_agents, evaluate_jointly
from pathline.track.base import EVALUATION_BATCH, Futures, evaluating
from pathline.track.lessons import Lesson, Lessons, part_of, rest_of
from pathline.track.scaling import PathScaling

VALIDATION_WINDOWS = 512


class MoFlow(AgentTracker):
    """The teacher, and the student if it was distilled.

    answers:    K
    width, heads, encoder_depth, depth: of the network
    steps:      calls of the teacher per forecast
    reading:    how the network's output is read as data: "direct", "velocity" or "scaled"; root: of its weights
    scaling:    "min-max" to [-1, 1], "root" for signed square roots first, "standard" by step and axis, or "none"
    tied:       all K answers start from the same noise
    best_by:    "agent" or "scene", whose error chooses the best answer; squared: distances
    scores:     weight of the cross-entropy; speeds: weight of the best answer's error in step lengths
    hide:       hide the noisy futures more and more as t grows, so that training cannot lean on them
    distil:     train a student with `share` of the budget; candidates: m, 30 in the authors' scripts
    lessons:    of how many windows at most the student learns the teacher's answers
    truth:      weight of the student's best answer against the truth
    """

    mixes_answers: ClassVar[bool | None] = None  # whether answers see each other; None: where there are several
    recipe = Recipe(steps=3000, batch_size=32, lr=1e-3, weight_decay=0.01, warmup=50, ema=0.995)

    distilled: Tensor

    def __init__(
        self,
        dims: int,
        history: int,
        horizon: int,
        neighbours: int,
        interval: float,
        answers: int = 20,
        width: int = 64,
        heads: int = 4,
        encoder_depth: int = 2,
        depth: int = 2,
        steps: int = 10,
        reading: str = "direct",
        root: bool = False,
        scaling: str = "min-max",
        tied: bool = False,
        best_by: str = "agent",
        squared: bool = False,
        scores: float = 1.0,
        speeds: float = 0.0,
        hide: bool = True,
        distil: bool = True,
        share: float = 0.3,
        candidates: int = 6,
        lessons: int = 4096,
        truth: float = 0.0,
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        if answers < 1 or steps < 1 or candidates < 1 or not 0 < share < 1:
            raise MethodError(
                f"MoFlow needs at least 1 answer, step and candidate and a share between 0 and 1: got {answers}, "
                f"{steps}, {candidates} and {share}"
            )
        self.answers, self.steps, self.tied, self.best_by, self.squared = answers, steps, tied, best_by, squared
        self.score_weight, self.speed_weight, self.truth_weight = scores, speeds, truth
        self.hide, self.distil, self.share, self.width = hide, distil, share, width
        self.candidates, self.most_lessons = candidates, lessons
        self.reading = Reading(reading, root=root)  # type: ignore[arg-type]
        self.scaling = PathScaling(scaling, horizon, dims)
        size, depths = horizon * dims, (width, heads, encoder_depth, depth)
        self.teacher = AgentNetwork(history, dims, size, size, answers, *depths, mixes_answers=self.mixes_answers)
        self.student = (
            AgentNetwork(history, dims, width, size, answers, *depths, conditioned=False, judge_apart=True)
            if distil
            else None
        )
        self.register_buffer("distilled", torch.zeros((), dtype=torch.bool))

    def read(self, data: Tracks) -> None:
        super().read(data)
        rows = []
        for window in data.batches(EVALUATION_BATCH, shuffle=False):
            assert isinstance(window, Encounters)
            own, known = self.truth(window, self.scene(window))
            rows.append(own[known])
        self.scaling.read(torch.cat(rows))

    # -- the teacher --------------------------------------------------------------------------------------------------

    def predict_data(
        self, context: Context, y: Tensor, t: Tensor, present: Tensor | None = None, hide: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """D(Y_t, C, t), (batch, K, agents, size), and scores (batch, K, agents)."""
        output, scores = self.teacher(context, y, t, present, hide)
        assert scores is not None
        return self.reading.data(output, y, t), scores

    def paths(self, data: Tensor) -> Tensor:
        """Scaled futures (..., size) as paths (..., horizon, dims) in metres, in own frames."""
        return self.scaling.inverse(data.unflatten(-1, (self.horizon, self.dims)))

    def noise(self, batch: int, agents: int, generator: torch.Generator | None = None) -> Tensor:
        """Y_0, (batch, K, agents, size)."""
        lead = (batch, 1 if self.tied else self.answers, agents, self.horizon * self.dims)
        return torch.randn(lead, generator=generator, device=self.device).expand(-1, self.answers, -1, -1)

    def loss(self, batch: Encounters) -> dict[str, Tensor]:
        scene = self.scene(batch)
        own, known = self.truth(batch, scene)
        data = self.scaling(own).flatten(-2)[:, None].expand(-1, self.answers, -1, -1)
        t = logit_normal_times(len(own)).to(own.device)
        y = STRAIGHT.sample(self.noise(len(own), own.shape[1]), data, t)
        guess, scores = self.predict_data(self.teacher.encode(scene), y, t, known, hidden(t) if self.hide else None)
        paths = self.paths(guess)
        found = best_of_loss(paths, scores, own, known, self.reading.weight(t), self.best_by, self.squared)
        loss = found.regression + self.score_weight * found.classification
        if self.speed_weight:
            best = paths.gather(1, found.winner[:, None, :, None, None].expand(-1, -1, -1, *paths.shape[3:]))[:, 0]
            missed = (best.diff(dim=2) - own.diff(dim=2)).abs().mean((2, 3))
            loss = loss + self.speed_weight * (missed * known).sum() / known.sum()
        return {"loss": loss, "regression": found.regression, "scores": found.classification}

    def taught(
        self, past: Encounters, generator: torch.Generator | None = None, steps: int | None = None
    ) -> tuple[Tensor, Tensor, int]:
        """The teacher's paths in own frames (batch, K, agents, horizon, dims), scores (batch, K, agents), calls."""
        scene = self.scene(past)
        context = self.teacher.encode(scene)
        start = self.noise(len(past), scene.present.shape[1], generator)
        data, scores, calls = walk_to_data(
            lambda y, t: self.predict_data(context, y, t.expand(len(y))), start, steps or self.steps
        )
        return self.paths(data), scores, calls

    # -- the student --------------------------------------------------------------------------------------------------

    def generate(self, context: Context, latents: Tensor) -> tuple[Tensor, Tensor]:
        """G(z, C) in one call: latents (m, batch, width) -> paths (m, batch, K, agents, horizon, dims) and scores
        (m, batch, K, agents)."""
        assert self.student is not None
        m, batch, _ = latents.shape
        z = latents.transpose(0, 1).flatten(0, 1)[:, None, None]
        output, scores = self.student(context.repeated(m), z)
        assert scores is not None
        paths = self.paths(output).unflatten(0, (batch, m)).transpose(0, 1)
        return paths, scores.unflatten(0, (batch, m)).transpose(0, 1)

    def distilling_loss(self, lesson: Lesson) -> dict[str, Tensor]:
        """Chamfer distance of the nearest of m sets to the teacher's, a mean over agents."""
        assert self.student is not None
        window, scene = lesson.window, self.scene(lesson.window)
        context = self.student.encode(scene)
        share = scene.present / scene.present.sum(1, keepdim=True)

        def distance(paths: Tensor, taught: Tensor) -> Tensor:
            return (chamfer(paths.transpose(2, 3), taught.transpose(1, 2)) * share).sum(-1)

        latents = torch.randn(self.candidates, *lesson.answers.shape[:1], self.width, device=self.device)
        kept: list[tuple[Tensor, Tensor]] = []

        def generate(latents: Tensor) -> Tensor:
            kept[:] = [self.generate(context, latents)]
            return kept[0][0]

        found = imle_loss(generate, latents, lesson.answers, distance)
        paths, scores = kept[0][0][0], kept[0][1][0]
        own, known = self.truth(window, scene)
        one = torch.ones(len(own), device=own.device)
        nearest = best_of_loss(paths.detach(), scores, own, known, one, self.best_by)
        loss = found.loss + nearest.classification
        if self.truth_weight:
            loss = loss + self.truth_weight * best_of_loss(paths, scores, own, known, one, self.best_by).regression
        return {"loss": loss, "chamfer": found.loss, "scores": nearest.classification}

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train the teacher; then, on its answers, the student with `share` of the budget."""
        budget, began = budget or Budget(steps=self.recipe.steps), time.monotonic()
        if self.student is None:
            return super().fit(data, budget, seed, validation, **options)
        folder = options.pop("folder", None)
        first = None if folder is None else Path(folder) / "teacher"
        if first is not None and options.get("resume") and (first / store.WEIGHTS).exists():
            store.read_weights(first, self)
        else:
            self._only(self.teacher)
            super().fit(data, part_of(budget, 1 - self.share), seed, validation, folder=first, **options)
            if first is not None:
                store.write(first, self)
                (first / store.CHECKPOINT).unlink(missing_ok=True)
        rest = part_of(budget, self.share) if budget.minutes is None else rest_of(budget, began, self.share)
        held_out = getattr(data, "validation", None) if validation is None else validation
        return self.distill(self.require(unwrap_split(data)), rest, seed, held_out, folder=folder, **options)

    def distill(self, data: Tracks, budget: Budget, seed: int = 0, validation: Any = None, **options: Any) -> Self:
        """Train the student on the teacher's answers to `data`."""
        if self.student is None:
            raise MethodError("this MoFlow has no student; build it with distil=True")
        start = self.teacher.time(torch.zeros(1, device=self.device))[0] if self.teacher.time else None
        self.student.start_from(self.teacher, start)
        began = time.monotonic()
        lessons = self.lessons(data, seed, self.most_lessons)
        budget = budget if budget.minutes is None else rest_of(budget, began, 1.0)
        self._only(self.student)
        self.distilled.fill_(True)
        self.training_record = train(
            self, lessons, budget, seed=seed, loss=self.distilling_loss, validation=validation, **options
        )
        self.requires_grad_(True)
        return self.eval()

    @torch.no_grad()
    def lessons(self, data: Tracks, seed: int = 0, most: int | None = None) -> Lessons:
        """The teacher's answers to the windows of `data`, or to `most` of them, drawn by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        index = torch.randperm(len(data), generator=generator)[:most]
        drawn = torch.Generator(self.device).manual_seed(seed)
        with evaluating(self):
            windows = (data.gather(part).to(self.device) for part in index.split(EVALUATION_BATCH))
            answers = [self.taught(window, drawn)[0].cpu() for window in windows]
        return Lessons(data=data, windows=index, answers=torch.cat(answers), name=data.name)

    def score(self, data: Any, seed: int = 0) -> float:
        """minADE of one set of answers on part of `data`: several sets of ten calls each are too slow for early
        stopping."""
        part = self._windows_of(data)
        index = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:VALIDATION_WINDOWS]
        return evaluate_jointly(self, part, self.answers, seed, index)["minADE"]

    def _only(self, network: AgentNetwork) -> None:
        self.requires_grad_(False)
        network.requires_grad_(True)

    # -- the verb -----------------------------------------------------------------------------------------------------

    def drawn(
        self, past: Encounters, generator: torch.Generator, by: str = "auto", steps: int | None = None
    ) -> tuple[Tensor, Tensor, int]:
        """One set of K paths in the world (batch, K, agents, horizon, dims), their probabilities (batch, K), calls.

        by: "teacher", "student", or "auto" for the student where there is a trained one
        """
        scene = self.scene(past)
        if by == "teacher" or (by == "auto" and not bool(self.distilled)):
            paths, scores, calls = self.taught(past, generator, steps)
        else:
            if self.student is None or not bool(self.distilled):
                raise MethodError("this MoFlow has no trained student; fit it with distil=True, or ask the teacher")
            latents = torch.randn(1, len(past), self.width, generator=generator, device=self.device)
            (paths,), (scores,) = self.generate(self.student.encode(scene), latents)
            calls = 1
        present = scene.present[:, None]
        scores = (scores * present).sum(-1) / present.sum(-1)
        return scene.to_world(paths), F.softmax(scores.float(), dim=1), calls

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        """The k likeliest of as many sets of K answers as it takes."""
        sets = [self.drawn(past, generator)[:2] for _ in range(-(-k // self.answers))]
        paths, probability = (torch.cat(parts, 1) for parts in zip(*sets, strict=True))
        if probability.shape[1] > k:
            probability, chosen = probability.topk(k, dim=1)
            paths = paths.gather(1, chosen[:, :, None, None, None].expand(-1, -1, *paths.shape[2:]))
        return all_agents(paths, probability / probability.sum(1, keepdim=True), self.scene(past))
