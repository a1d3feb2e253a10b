"""Leases on the monotonic clock: who may go on without hearing from an orchestrator, and for how long."""

import time
from collections.abc import Callable

Clock = Callable[[], float]


class Lease:
    """A right that lapses unless it is renewed. Setting the wall clock does not move it."""

    def __init__(self, milliseconds: int, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.milliseconds = milliseconds
        self._until = clock() + milliseconds / 1000

    def renew(self, milliseconds: int | None = None) -> None:
        """Counts the whole term from now, with a new length if one is given."""
        self.milliseconds = milliseconds or self.milliseconds
        self._until = self._clock() + self.milliseconds / 1000

    @property
    def remaining(self) -> float:
        """Seconds left; 0 when it has lapsed."""
        return max(0.0, self._until - self._clock())

    @property
    def lapsed(self) -> bool:
        return self.remaining == 0.0
