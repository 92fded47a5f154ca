"""`python -m bench.stlinear_sensors`: seconds of one STLinear forecast of 12 steps, from 500 to 20,000 sensors.

One window, the method's default sizes, median of seven calls after one to warm up. Wanted: under 1 s for 10,000
sensors, and a cost that grows linearly, which the slope of log seconds over log sensors shows (1 is linear). Writes
bench/stlinear_sensors.json and docs/pictures/stlinear-sensors.png.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from bench.side_by_side import conditions
from pathline.data import Series
from pathline.forecast.stlinear import STLinear

SENSORS = (500, 1000, 2500, 5000, 10_000, 20_000)
MANY, WANTED = 10_000, 1.0  # seconds
LINEAR_FROM = 2500  # below, a call costs what it costs whatever the number of sensors
CALLS = 7
HERE = Path(__file__).parent


def seconds(sensors: int) -> float:
    """Of one forecast."""
    torch.manual_seed(0)
    values = 50 + 10 * torch.randn(24, sensors, 1)
    data = Series(values=values, observed=torch.ones_like(values, dtype=torch.bool), start=0, interval=300)
    method = STLinear.for_data(data).eval()
    window = data.last_window()
    method.forecast(window)
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        method.forecast(window)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def slope(sensors: tuple[int, ...], times: list[float]) -> float:
    """Least squares of log time over log sensors, from LINEAR_FROM on."""
    large = torch.tensor([[n, t] for n, t in zip(sensors, times, strict=True) if n >= LINEAR_FROM]).double().log()
    x, y = (large - large.mean(0)).T
    return float((x @ y) / (x @ x))


def main() -> dict[str, Any]:
    from matplotlib.figure import Figure

    times = [seconds(sensors) for sensors in SENSORS]
    many, found = times[SENSORS.index(MANY)], slope(SENSORS, times)
    record = {
        "where": conditions(), "sensors": SENSORS, "seconds": times, "wanted": WANTED, "slope": found,
        "verdict": "holds" if many < WANTED and 0.8 < found < 1.2 else "falls short",
    }  # fmt: skip
    (HERE / "stlinear_sensors.json").write_text(json.dumps(record, indent=2) + "\n")
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.loglog(SENSORS, times, color="#1f6fb4", marker="o", ms=4, label=f"measured, slope {found:.2f}")
    line = [many * sensors / MANY for sensors in SENSORS]
    axis.loglog(SENSORS, line, color="#999999", lw=0.8, ls="--", label="linear")
    axis.axhline(WANTED, color="#d1622b", lw=0.8)
    axis.set(xlabel="sensors", ylabel="seconds per forecast of 12 steps")
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE.parent / "docs" / "pictures" / "stlinear-sensors.png", dpi=110)
    return record


if __name__ == "__main__":
    made = main()
    for sensors, took in zip(made["sensors"], made["seconds"], strict=True):
        print(f"{sensors:>7} sensors  {1e3 * took:8.1f} ms")
    print(f"slope {made['slope']:.2f}; {made['verdict']}")
