"""Which method forecasts traffic best, and what will it be in the next hour?

    python examples/traffic.py [steps]

The roads are simulated, so nothing is downloaded. With `pl.load("metr-la-week")` they are those of Los Angeles, with
`pl.read("speeds.csv", room="forecast")` yours.
"""

import sys

import pathline as pl
from pathline.sims import simulated_roads


def main(steps: int = 300) -> None:
    data = simulated_roads(sensors=12, days=7)
    board = pl.compare(["stlinear", "gman"], data, budget=pl.steps(steps), seeds=2)
    print(board)
    best = board.models[board.best.key]
    print(f"\nThe next hour, says {board.best.key}:")
    print(best.predict(data).round(1).iloc[:, :6].to_string(index=False))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
