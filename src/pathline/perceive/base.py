"""The room of motion seen through sensors: given a signal, say what moved, when and where to.

The verb is `perceive(signal)`. What comes back depends on the task, and the task on the container of the data: arrival
times from `Waveforms`, motion between two pictures from `Pairs`, the next frames of `Clips`, a class for each of
`Sequences`. Each task has a class of its own that derives from this one, with its metrics and baselines.
"""

from typing import Any

from pathline.core.method import Method


class Perceiver(Method):
    """What all methods of the room share. The class of a task writes `perceive`."""

    room = "perceive"

    def perceive(self, signal: Any) -> Any:
        """What the signal shows; shapes and units are said by the class of the task."""
        raise NotImplementedError
