"""SIGINT and SIGTERM as requests: the first one is noted, so that work can end at a good place; a second is obeyed."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def graceful_signals(ask: Callable[[int], None]) -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM calls `ask` with its number. Does nothing outside the main thread, where
    Python delivers no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, _frame: Any) -> None:
        ask(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
