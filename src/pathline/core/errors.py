"""Every message a user can meet says what was wrong, where, and what to do.

The ground floor raises plain `ValueError` or the `DataError` of `pathline.data.errors`; the frame adds the rest.
The command line turns any `PathlineError` into one sentence and exit code 2.
"""

from pathline.data.errors import DataError, PathlineError

__all__ = ["DataError", "Interrupted", "MethodError", "PathlineError", "RunError", "TrainingError"]


class MethodError(PathlineError):
    """A method is unknown, not built, lacks an extra, or was given a setting it does not have."""


class TrainingError(PathlineError):
    """Training met a number that is not finite; the last good checkpoint was kept."""


class RunError(PathlineError):
    """A run folder is missing, incomplete, or belongs to another run."""


class Interrupted(PathlineError):
    """Training was asked to stop (SIGINT or SIGTERM); a checkpoint was written first.

    Attributes:
        signal: number of the signal that asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
