"""What tells the time and lets it pass, for whoever waits between requests."""

from __future__ import annotations

import random
import time

import anyio


class Clock:
    """
    The time of this machine. Tests have one of their own, of the same shape.

    Attributes:
        rng: Where jitter comes from.
    """

    def __init__(self) -> None:
        self.rng = random.Random()  # noqa: S311 - jitter, no secret

    def now(self) -> float:
        """Seconds that only grow: what durations are measured by."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch: what dates are compared with."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let a thread wait; a signal's exception, `KeyboardInterrupt` too, ends it at once."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let a task of asyncio or trio wait; its cancellation ends it at once."""
        await anyio.sleep(seconds)


CLOCK = Clock()
