"""Where do cells go between two snapshots, and where do they multiply?

    python examples/cells.py [steps] [picture]

A culture whose cells choose one of two fates is measured five times, and each measurement destroys the cells it sees.
One fate divides, the other dies. VGFM learns from the snapshots how cells move and how fast their mass grows.
"""

import sys

import pathline as pl
from pathline.transport.pictures import populations_picture


def main(steps: int = 1000, picture: str = "cells.png") -> None:
    parts = pl.load("simulated-cells").split()  # the middle time is in the test part alone
    model = pl.method("vgfm").seeded(parts.train, seed=0).fit(parts, pl.steps(steps))
    print(", ".join(f"{metric} {value:.3g}" for metric, value in model.evaluate(parts.test).items()))
    first, last = float(parts.test.times[0]), float(parts.test.times[-1])
    pushed = model.push(parts.test.population(0), first, last)
    grown = 100 * float(pushed.log_weights.exp().mean())
    print(f"of 100 cells at time {first:g} there are {grown:.0f} at time {last:g}")
    populations_picture({"vgfm": model}, parts.test).savefig(picture)
    print(f"drawn: {picture}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(int, arguments[:1]), *arguments[1:])
