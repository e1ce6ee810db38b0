"""Time that passes when it is told to: nobody sleeps in the tests of waiting."""

from __future__ import annotations

import random

import anyio

from pool_manager.runtimes.clock import Clock


class FakeClock(Clock):
    """
    A clock whose sleepers wake at once, and find that it is later.

    Attributes:
        time: What `now` tells.

        epoch: What `wall` told when `time` was 0.

        slept: Seconds, one entry for each sleep.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.time, self.epoch = 1000.0, 1_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Tell the time."""
        return self.time

    def wall(self) -> float:
        """Tell the date."""
        return self.epoch + self.time

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        """Let the time pass, and others run."""
        await anyio.lowlevel.checkpoint()
        self.sleep(seconds)
