"""Bayesian flow networks: learn a law by sending samples of it in noisy messages, at the least cost in nats.

A belief theta about each dimension alone is sharpened by messages y of growing accuracy; between messages a network
sees all beliefs at once and says what x may be, p_O(x | theta, t). Training minimises what the messages cost,

    L_inf = -ln(s) E_t s^-2t |x - x^|^2             numbers, and grey levels with x^ the mean level of p_O
    L_inf = K beta_1 E_t t |e_x - p_O|^2            K categories

and sampling sends messages about the network's own guesses: x ~ p_O(theta, t), y ~ p_S(x, alpha_i), theta' from theta
and y by Bayes' rule, and at the end x from p_O(theta, 1). The equations of beliefs and messages: `flow.bayesian`.
Graves, Srivastava, Atkinson, Gomez, 2023, "Bayesian Flow Networks", arXiv:2308.07037.
Departs: the belief is added to the network's logits of categories, which lowers the bound (17.9 nats instead of 21.5 on
black and white digits after 500 steps, one seed); numbers without bounds are brought to [-1, 1] by their range in the
training part; the last deviation on a grid of K levels is 1/(2K) unless given (the paper: 0.001 for 256, 0.032 for 16);
small networks; AdamW with a cosine.
"""

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Draw, Samples
from pathline.flow import CategoricalBayesianFlow, GaussianBayesianFlow, bin_centres, bin_probabilities
from pathline.generate.base import Carried, Generator
from pathline.generate.categories import DRAWS, CategoryNetwork, bound, scale_to_places, stratified
from pathline.generate.flow_matching import check_choice, refuse_options
from pathline.generate.networks import velocity_network
from pathline.generate.rivals import drawn, expected_place

KINDS = ("continuous", "discretised", "discrete")


class BayesianFlowNetwork(Generator):
    """Sharpen beliefs by messages; the network guesses what they are about.

    shape, classes: see `Generator`; network, width, depth, dropout: see `CategoryNetwork`
    kind:       "continuous", "discretised" (grey levels) or "discrete" (symbols, or black and white); with
    categories: K, how many; `for_data` reads both off the data
    deviation:  s, how well numbers are known at the end; None for 0.02, or 1/(2K) on a grid
    accuracy:   beta(1), how much is sent in all about categories: the main setting of "discrete"
    rounds:     n of the loss L_n in training; 0 for L_inf
    final:      at the end the "mode" of p_O or a "sample" of it
    add_belief: whether ln theta is added to the logits of categories, so that the network has to say only what the
                other dimensions tell; the paper has False
    steps:      messages in sampling, each one network call, and one more call at the end
    """

    recipe = Recipe(steps=4000, batch_size=128, lr=1e-3, warmup=200, clip=1.0, ema=0.995)

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        kind: str = "continuous",
        categories: int = 0,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        dropout: float = 0.0,
        deviation: float | None = None,
        accuracy: float = 3.0,
        rounds: int = 0,
        final: str = "mode",
        add_belief: bool = True,
        steps: int = 32,
    ) -> None:
        super().__init__(shape, classes, steps)
        check_choice("kind", kind, KINDS)
        check_choice("final", final, ("mode", "sample"))
        if kind != "continuous" and categories < 2:
            raise MethodError(f"kind={kind} needs at least 2 categories, got {categories}")
        deviation = (1 / (2 * categories) if kind == "discretised" else 0.02) if deviation is None else deviation
        if not 0 < deviation < 1 or accuracy <= 0 or rounds < 0:
            raise MethodError(
                f"deviation {deviation} must be between 0 and 1, accuracy {accuracy} above 0, rounds {rounds} not below"
            )
        self.kind, self.categories, self.rounds, self.final = kind, categories, rounds, final
        self.add_belief = add_belief
        self.numbers = GaussianBayesianFlow(deviation)
        self.symbols = CategoricalBayesianFlow(max(categories, 2), accuracy)
        self.network: nn.Module
        if kind == "discrete":
            self.network = CategoryNetwork(shape, categories, network, width, depth, classes, dropout)
        else:
            outputs = 2 if kind == "discretised" else 1  # of mean and log deviation
            inside = (outputs * shape[0], *shape[1:])
            self.network = velocity_network(inside, network, width, depth, classes, dropout=dropout)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        kind = "continuous"
        if part.categories:
            kind = "discrete" if part.symbols or part.categories == 2 else "discretised"
        return super().for_data(data, **{"kind": kind, "categories": part.categories} | config)

    def read_scale(self, data: Samples) -> None:
        """Numbers in [-1, 1], levels at the centres of their bins, symbols at their places."""
        if self.kind == "discrete":
            super().read_scale(data)
            scale_to_places(self, data)
            return
        if data.bounds is None and data.values.ndim > 2:
            data = replace(data, bounds=(float(data.values.min()), float(data.values.max())))
        super().read_scale(data)
        if data.bounds is None:
            low, high = data.values.amin(0), data.values.amax(0)
            self.shift.copy_((low + high) / 2)
            self.scale.copy_(torch.where(high > low, (high - low) / 2, 1.0))
        if self.kind == "discretised":
            self.scale.mul_(self.categories / (self.categories - 1))

    # -- what the network says ----------------------------------------------------------------------------------------

    def output(self, belief: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """p_O: probabilities (batch, *shape, K), or for numbers the one value x^ (batch, *shape) it is sure of.

        belief: theta (batch, *shape, K), or the mean mu (batch, *shape) of numbers; t: (batch,)
        """
        if self.kind == "discrete":
            logits: Tensor = self.network(belief, t, label)
            if self.add_belief:
                logits = logits + belief.clamp(min=torch.finfo(belief.dtype).tiny).log()
            return logits.softmax(dim=-1)
        if self.kind == "continuous":
            noise = self.network(belief, t, label=label).float()
            return self.numbers.data_of_noise(belief, t, noise).clamp(-1, 1)
        noise, log_deviation = self.network(torch.cat([belief, belief], dim=1), t, label=label).float().chunk(2, dim=1)
        mean = self.numbers.data_of_noise(belief, t, noise)
        return bin_probabilities(mean, self.numbers.data_deviation(t, log_deviation), self.categories)

    def expected(self, output: Tensor) -> Tensor:
        """x^: the mean level of p_O, or the value it is sure of."""
        return output if self.kind == "continuous" else output @ bin_centres(self.categories).to(output)

    def encoded(self, values: Tensor) -> Tensor:
        """Values in the data's units as numbers in [-1, 1], or as places int64."""
        x = self.scaled(values)
        return x.round().long().clamp(0, self.categories - 1) if self.kind == "discrete" else x

    # -- what sending costs -------------------------------------------------------------------------------------------

    def sending_loss(self, x: Tensor, t: Tensor, label: Tensor | None, rounds: int | None = None) -> Tensor:
        """One draw of L_inf, or of L_n with n = `rounds`, at t in [0, 1): nats per sample (batch,)."""
        rounds = self.rounds if rounds is None else rounds
        i = (t * rounds).floor() + 1
        if rounds:
            t = (i - 1) / rounds
        flow: Any = self.symbols if self.kind == "discrete" else self.numbers
        output = self.output(flow.belief(x, t), t, label)
        if self.kind == "discrete":
            return flow.mixture_loss(x, output, i, rounds) if rounds else flow.endless_loss(x, output, t)
        if not rounds:
            return flow.endless_loss(x, self.expected(output), t)
        if self.kind == "continuous":
            return flow.message_loss(x, output, i, rounds)
        return flow.mixture_loss(x, bin_centres(self.categories).to(x), output, i, rounds)

    def last_loss(self, x: Tensor, label: Tensor | None) -> Tensor:
        """-ln p_O(x | theta_1, 1): what is still not known when all messages are sent, in nats per sample (batch,).

        Of numbers it is a density, that of a normal law of the last deviation around x^.
        """
        t = torch.ones(len(x), device=x.device)
        if self.kind == "continuous":
            guess = self.output(self.numbers.belief(x, t), t, label)
            law = torch.distributions.Normal(guess, self.numbers.deviation)
            return -law.log_prob(x).flatten(1).sum(1)
        flow: Any = self.symbols if self.kind == "discrete" else self.numbers
        output = self.output(flow.belief(x, t), t, label)
        place = x if self.kind == "discrete" else ((x + 1) * self.categories / 2 - 0.5).round().long()
        chosen = output.gather(-1, place.clamp(0, self.categories - 1)[..., None])
        return -chosen.clamp(min=1e-8).log().flatten(1).sum(1)

    def loss(self, batch: Draw) -> dict[str, Tensor]:
        x, label = self.encoded(batch.values), self.training_labels(batch.labels)
        nats = self.sending_loss(x, stratified(len(x)).to(x.device), label).mean()
        return {"loss": nats / self.shift.numel(), "nats": nats}

    def nats(self, data: Samples, rounds: int = 0, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
        """The mean bound on -ln p, in nats: `sending` (L_n, or L_inf for 0 rounds), `last`, and their sum `nats`."""
        data = self.check(data)
        x, label = self.encoded(data.values.to(self.device)), self.training_labels(data.labels)

        def sending(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
            return self.sending_loss(x, t, label, rounds)

        return bound(sending, self.last_loss, x, label, draws, seed)

    def evaluate(self, data: Samples, seed: int = 0) -> dict[str, float]:
        """The room's metrics, and for categories the bound in nats per sample."""
        metrics = super().evaluate(data, seed)
        return metrics if self.kind == "continuous" else metrics | {"nats": self.nats(data, seed=seed)["nats"]}

    def score(self, data: Samples, seed: int = 0) -> float:
        """What training lowers, with few draws: quicker than drawing samples."""
        return self.nats(data, draws=8, seed=seed)["sending"]

    # -- sampling -----------------------------------------------------------------------------------------------------

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        """The mean of a belief that knows nothing; all chance is in the messages."""
        return torch.full((n, *self.shape), (self.categories - 1) / 2 if self.kind == "discrete" else 0.0)

    def carry(
        self,
        noise: Tensor,
        labels: Tensor | None,
        steps: int,
        keep: str = "last",
        final: str | None = None,
        **options: Any,
    ) -> Carried:
        """Send `steps` messages about the network's own guesses; states are the means of beliefs, and at last x."""
        refuse_options(self, options)
        final = final or self.final
        check_choice("final", final, ("mode", "sample"))
        discrete, count = self.kind == "discrete", len(noise)
        belief = torch.full((*noise.shape, self.categories), 1 / self.categories).to(noise) if discrete else noise
        precision, states = torch.ones((), device=noise.device), [noise]
        for i in range(1, steps + 1):
            output = self.output(belief, torch.full((count,), (i - 1) / steps, device=noise.device), labels)
            x, now = self._drawn(output, "sample"), torch.tensor(float(i), device=noise.device)
            if discrete:
                belief = self.symbols.update(belief, self.symbols.message(x, self.symbols.accuracy(now, steps)))
            else:
                accuracy = self.numbers.accuracy(now, steps)
                belief, precision = self.numbers.update(belief, precision, self.numbers.message(x, accuracy), accuracy)
            states.append(expected_place(belief) if discrete else belief)
        x = self._drawn(self.output(belief, torch.ones(count, device=noise.device), labels), final)
        states[-1:] = [*states[-1:], x.to(noise.dtype)] if keep == "all" else [x.to(noise.dtype)]
        return Carried(torch.stack(states if keep == "all" else states[-1:]), steps + 1)

    def _drawn(self, output: Tensor, how: str) -> Tensor:
        """x from p_O: numbers, or places int64."""
        if self.kind == "continuous":
            return output
        place = drawn(output) if how == "sample" else output.argmax(dim=-1)
        return place if self.kind == "discrete" else bin_centres(self.categories).to(output)[place]
