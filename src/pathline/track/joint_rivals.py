"""Rivals of the systems that forecast agents together: each is one of them without its idea, on the same network.

WinnerTakesAll      K answers by regression, the best one learns; no noise, no time
FlowMatching        plain conditional flow matching, K answers by K independent draws of the joint future
MarginalDiffusion   MotionDiffuser that draws every agent by itself
"""

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.data.tracks import Encounters
from pathline.flow.best_of import STRAIGHT, best_of_loss, logit_normal_times, walk_to_data
from pathline.track.agents import all_agents
from pathline.track.base import Futures
from pathline.track.moflow import MoFlow
from pathline.track.motiondiffuser import MotionDiffuser


class WinnerTakesAll(MoFlow):
    """The teacher's network at t = 0 with Y hidden: K answers that differ by their queries alone."""

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        return super().for_data(data, **config, distil=False)

    def regressed(self, past: Encounters, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Paths in own frames (batch, K, agents, horizon, dims) and scores (batch, K, agents)."""
        scene = self.scene(past)
        blank = torch.zeros(
            len(past), self.answers, scene.present.shape[1], self.horizon * self.dims, device=self.device
        )
        start = torch.zeros(len(past), device=self.device)
        data, scores = self.predict_data(self.teacher.encode(scene), blank, start, present)
        return self.paths(data), scores

    def loss(self, batch: Encounters) -> dict[str, Tensor]:
        own, known = self.truth(batch, self.scene(batch))
        paths, scores = self.regressed(batch, known)
        one = torch.ones(len(own), device=own.device)
        found = best_of_loss(paths, scores, own, known, one, self.best_by, self.squared)
        loss = found.regression + self.score_weight * found.classification
        return {"loss": loss, "regression": found.regression, "scores": found.classification}

    def drawn(
        self, past: Encounters, generator: torch.Generator, by: str = "auto", steps: int | None = None
    ) -> tuple[Tensor, Tensor, int]:
        scene = self.scene(past)
        paths, scores = self.regressed(past)
        present = scene.present[:, None]
        scores = (scores * present).sum(-1) / present.sum(-1)
        return scene.to_world(paths), F.softmax(scores.float(), dim=1), 1


class FlowMatching(MoFlow):
    """One answer per draw, of the law that the flow has learned: squared errors of the predicted data, no best of K.

    The network keeps its attention over answers, which sees one answer, so that it is of the same size.
    """

    mixes_answers = True

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        return super().for_data(data, **config, answers=1, distil=False)

    def loss(self, batch: Encounters) -> dict[str, Tensor]:
        scene = self.scene(batch)
        own, known = self.truth(batch, scene)
        data = self.scaling(own).flatten(-2)[:, None]
        t = logit_normal_times(len(own)).to(own.device)
        y = STRAIGHT.sample(self.noise(len(own), own.shape[1]), data, t)
        guess, _ = self.predict_data(self.teacher.encode(scene), y, t, known)
        error = (self.paths(guess)[:, 0] - own).square().sum(-1).mean(-1)
        weight = self.reading.weight(t)[:, None] * known / known.sum(1, keepdim=True)
        return {"loss": (weight * error).sum(1).mean()}

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        scene = self.scene(past)
        context = self.teacher.encode(scene).repeated(k)
        start = self.noise(len(past) * k, scene.present.shape[1], generator)
        data, _, _ = walk_to_data(lambda y, t: self.predict_data(context, y, t.expand(len(y))), start, self.steps)
        paths = scene.to_world(self.paths(data)[:, 0].unflatten(0, (-1, k)))
        return all_agents(paths, paths.new_full(paths.shape[:2], 1 / k), scene)


class MarginalDiffusion(MotionDiffuser):
    """Every agent's future from what all did, but drawn without looking at the others' futures: the same network, in
    which agents of an answer do not see each other."""

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        return super().for_data(data, **config, joint=False)
