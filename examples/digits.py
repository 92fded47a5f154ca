"""Draw handwritten digits with one network call, and with eight.

    python examples/digits.py [steps] [picture]

A mean flow learns the average velocity over an interval, so it may cross the way from noise to data in one step.
"""

import sys

import pathline as pl
from pathline.generate.pictures import grids


def main(steps: int = 3000, picture: str = "digits.png") -> None:
    parts = pl.load("digits").split()
    model = pl.method("meanflow").seeded(parts.train, seed=0).fit(parts.train, pl.steps(steps))
    print(", ".join(f"{metric} {value:.3g}" for metric, value in model.evaluate(parts.test).items()))
    drawn = {f"{calls} call{'s' * (calls > 1)}": model.sample(64, steps=calls) for calls in (1, 8)}
    grids({"real": parts.test.values[:64], **drawn}, (-1.0, 1.0)).savefig(picture)
    print(f"drawn: {picture}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(int, arguments[:1]), *arguments[1:])
