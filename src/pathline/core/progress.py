"""Progress of one training run on stderr: steps, loss and time left."""

import sys
import time
from typing import Any, Self


class Progress:
    """A live bar on a terminal; elsewhere a line every ten seconds, so that logs stay short."""

    def __init__(self, total: int, done: int, enabled: bool) -> None:
        self.total, self.done, self.enabled = total, done, enabled
        self.live: Any = None
        self.first = done
        self.began = self.spoke = time.monotonic()

    def __enter__(self) -> Self:
        if self.enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self.live = Progress(
                TextColumn("  training"),
                BarColumn(),
                TextColumn("step {task.completed:.0f}/{task.total:.0f}  loss {task.fields[loss]:.4g}  left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.live.start()
            self.task = self.live.add_task("", total=self.total, completed=self.done, loss=float("nan"))
        return self

    def update(self, step: int, loss: float) -> None:
        if not self.enabled:
            return
        if self.live is not None:
            self.live.update(self.task, completed=step, loss=loss)
            return
        now = time.monotonic()
        if now - self.spoke >= 10:
            self.spoke = now
            left = (now - self.began) / max(1, step - self.first) * (self.total - step)
            print(f"  step {step}/{self.total}  loss {loss:.4g}  {left:.0f} s left", file=sys.stderr, flush=True)

    def __exit__(self, *_: Any) -> None:
        if self.live is not None:
            self.live.stop()
