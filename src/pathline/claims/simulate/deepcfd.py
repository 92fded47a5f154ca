"""The claim of DeepCFD: skips and a decoder for every field beat an autoencoder, and the answer comes at once.

Shapes, flows and inputs are those of the built-in `channel-flow`, 90 shapes to learn from and 30 to test, another
division for each seed. All arms learn from these and their mirror images, both networks in the same number of steps;
the autoencoder has as many weights. The solver and the network are timed on the same processor, one thread, in
processor seconds: the solver up to the tolerance that the data were made with, a mean change of 1e-7 a step, as the
mean of one call for each of three shapes; the network from the obstacle to the fields, distances included, as the least
of ten calls. The learning rate of each network (of 2e-3, 4e-3 and 8e-3; 6e-3 lies between two that did about as well)
and the number of linear modes were chosen on 60 other shapes.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most, widest_within
from pathline.data import Fields
from pathline.data.sets import load
from pathline.sims.channels import PEAK, viscosity
from pathline.sims.flow_fields import channel_inputs
from pathline.sims.lattice_boltzmann import steady_flow
from pathline.simulate.deepcfd import DeepCFD
from pathline.simulate.field_baselines import LinearModes
from pathline.simulate.field_pictures import draw_fields
from pathline.simulate.fields import FieldSimulator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN = 90
DESK = {"filters": [8, 16, 32, 32], "kernel": 3, "layers": 2}
RECIPE: dict[str, Any] = {"batch_size": 16, "warmup": 20, "precision": "bf16"}
RATES: dict[str, dict[str, Any]] = {"UNetEx": RECIPE | {"lr": 6e-3}, "AE": RECIPE | {"lr": 4e-3}, "linear modes": {}}
STEPS = 700
DISTANCE = 0  # place of the signed distance among the inputs
MANY = 64


class Surrogate(Claim):
    """On flows past shapes that it has not seen, UNetEx has at most 0.6 times the total normalised squared error of the
    autoencoder AE with as many weights, less than linear regression on principal components of the signed distance, a
    relative error of Ux below 8 %, and needs at most a hundredth of the solver's time for one shape."""

    system, baselines = "deepcfd", ("linear-modes",)
    paper = (
        "flows past random shapes: UNetEx has the lowest error of AE, AEx, UNet and UNetEx, and is up to 3 orders of "
        "magnitude faster than simpleFoam"
    )
    seeds = (3, 4, 5)  # 0 to 2 were seen with fewer filters and steps
    metric, better = "squared error in units of each field's variance, mean over Ux, Uy, p", "lower"
    require = (
        at_most("UNetEx", 0.6, "AE"),
        at_most("UNetEx", 1.0, "linear modes"),
        at_most("UNetEx, relative error of Ux", 0.08),
        at_least("times as fast as the solver, one shape", 100.0),
    )

    tried = (
        "First, on seeds 0, 1 and 2, 500 steps and filters (8, 16, 16, 16): Ux 7.9, 8.2 and 9.0 %, the rest as "
        "required. There, and on 60 other shapes, where torch's own first weights and a learning rate of 2e-3 gave "
        "10.4 %, the error on the shapes learned from was as large as on the others: too little training, not too "
        "few shapes. So the paper's filters and 700 steps, which were not tried elsewhere before."
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(load("channel-flow"))
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        self.test = data.take(order[TRAIN:])
        found = self.compare(both_ways(data.take(order[:TRAIN])), seed)
        return found | speed(self.arms["UNetEx"], self.test)

    def compare(self, train: Fields, seed: int) -> dict[str, float]:
        """Errors of all arms on the test part, and relative errors of the fields."""
        self.arms: dict[str, FieldSimulator] = {}
        ours = DeepCFD.seeded(train, seed, **DESK)

        def autoencoder(width: int) -> DeepCFD:
            filters = [width, 2 * width, 4 * width, 4 * width]
            return DeepCFD.seeded(train, seed, **(DESK | {"architecture": "AE", "filters": filters}))

        self.arms["UNetEx"] = ours
        self.arms["AE"] = autoencoder(widest_within(ours.parameter_count(), autoencoder))
        every_input = LinearModes.for_data(train, modes=32).fit(train)
        found = {"linear modes of all inputs": every_input.score(self.test)}
        self.arms["linear modes"] = LinearModes.for_data(train, modes=24, uses=[DISTANCE])
        for name, arm in self.arms.items():
            arm.fit(train, steps(STEPS), seed=seed, **RATES[name])
            metrics = arm.evaluate(self.test)
            found[name] = metrics["normalised_mse"]
            found |= {f"{name}, relative error of {c}": metrics[f"relative_l2 {c}"] for c in self.test.channels}
        return found

    def picture(self) -> "Figure":
        return draw_fields(self.arms, self.test).picture


def both_ways(data: Fields) -> Fields:
    """The channels, and the same upside down, in which the velocity across has the other sign."""
    assert data.inputs is not None and data.inside is not None
    sign = torch.tensor([-1.0 if name == "Uy" else 1.0 for name in data.channels])[:, None, None]
    return replace(
        data,
        values=torch.cat([data.values, data.values.flip(3) * sign]),
        inputs=torch.cat([data.inputs, data.inputs.flip(2)]),
        inside=torch.cat([data.inside, data.inside.flip(1)]),
    )


def speed(method: FieldSimulator, test: Fields) -> dict[str, float]:
    """How much less processor time the network takes than the solver: for one shape, and for many at once."""
    assert test.inside is not None
    solid = ~test.inside

    def solver(shapes: Tensor) -> object:
        return steady_flow(shapes, viscosity(test.grid[0]), PEAK)

    def network(shapes: Tensor) -> object:
        return method.solve(channel_inputs(shapes), ~shapes)

    some, many = solid[:8], solid.repeat(-(-MANY // len(solid)), 1, 1)[:MANY]
    one_by_solver = sum(seconds(solver, shape[None]) for shape in some[:3]) / 3
    one_by_network = min(seconds(network, some[:1]) for _ in range(10))
    some_by_solver = seconds(solver, some) / len(some)
    many_by_network = min(seconds(network, many) for _ in range(3)) / MANY
    return {
        "times as fast as the solver, one shape": one_by_solver / one_by_network,
        "times as fast as the solver, many shapes": some_by_solver / many_by_network,
        "solver, milliseconds for one shape": 1000 * one_by_solver,
        "network, milliseconds for one shape": 1000 * one_by_network,
        f"solver, milliseconds a shape of {len(some)}": 1000 * some_by_solver,
        f"network, milliseconds a shape of {MANY}": 1000 * many_by_network,
    }


def seconds(function: Callable[[Tensor], object], shapes: Tensor) -> float:
    """Processor seconds of one call."""
    began = time.process_time()
    function(shapes)
    return time.process_time() - began
