"""How long to train: by optimiser steps, by passes over the data, or by the clock.

A budget in minutes is turned into a number of steps before training starts, by timing a few steps that are then undone.
So the learning-rate schedule is known from the first step, and the run can be repeated exactly with the number of
steps that its record names.
"""

from dataclasses import dataclass

from pathline.core.errors import MethodError


@dataclass(frozen=True)
class Budget:
    """Exactly one of the three, positive."""

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None}
        if len(given) != 1:
            raise MethodError(f"a budget names one of steps, epochs and minutes; got {given or 'none of them'}")
        (unit, amount) = next(iter(given.items()))
        if not amount > 0:
            raise MethodError(f"a budget of {amount} {unit} trains nothing: give a positive number")

    def __str__(self) -> str:
        unit, amount = next((k, v) for k, v in vars(self).items() if v is not None)
        return f"{amount:g} {unit}"


def steps(count: int) -> Budget:
    """`count` optimiser steps."""
    return Budget(steps=count)


def epochs(count: float) -> Budget:
    """`count` passes over the training data."""
    return Budget(epochs=count)


def minutes(count: float) -> Budget:
    """As many steps as this machine does in `count` minutes."""
    return Budget(minutes=count)
