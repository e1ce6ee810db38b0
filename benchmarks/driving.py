"""
Keeps requests in flight for a while and counts what comes of it.

A window is bounded by time, and by a number of answers where one is asked for:
a contender that collapses gets its few answers counted, and no more time than
the others. It ends at an answer, so that a few long ones are not cut in two.
"""

from __future__ import annotations

import asyncio
import math
import re
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from benchmarks.pinning import stalled

PATIENCE = 10.0  # a window without an answer ends after so many times its length
LEAVE = 2.0  # seconds for what is in flight when the window ends
FOLDERS = re.compile(r"(?<![\w./:])/([^\s/'\":,;()]+/)+")  # of a file's path, and not of a URL
FOREVER = 3.0  # who waits this many medians, starves


@attrs.frozen(kw_only=True)
class Effort:
    """
    How long to measure.

    Attributes:
        seconds: Of one window.

        warm: Seconds before it, which do not count.

        answers: A window ends when there are so many, if it has not before.
    """

    seconds: float = 2.0
    warm: float = 0.5
    answers: float | None = None


@attrs.frozen(kw_only=True)
class Window:
    """
    What a while of driving gave.

    Attributes:
        seconds: How long it was.

        ended: When, by `time.perf_counter`.

        cpu: Seconds of processor time that this process took meanwhile.

        stalled: Seconds for which it was kept off its core by others.

        answers: How many came.

        causes: Of requests that failed, by the error's name.

        waits: Seconds each answer took.

        pending: Seconds for which each of the others has been waiting by the end.
    """

    seconds: float
    ended: float
    cpu: float
    stalled: float
    answers: int
    causes: Mapping[str, int]
    waits: Sequence[float]
    pending: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time an answer; none at all, if there was no answer."""
        return 1e6 * self.cpu / self.answers if self.answers else math.nan

    @property
    def off_core(self) -> float:
        """Percent of the time that others kept it off its core: rates suffer, processor time hardly."""
        return 100 * self.stalled / self.seconds

    @property
    def failed(self) -> int:
        """How many requests failed."""
        return sum(self.causes.values())

    @property
    def starved(self) -> int:
        """How many waited far longer than others did; all, if nobody was answered."""
        longest = FOREVER * statistics.median(self.waits) if self.waits else 0
        return sum(waited > longest for waited in (*self.waits, *self.pending))


async def drive(
    ask: Callable[[], Awaitable[object]], in_flight: int, effort: Effort, *, leave: float = LEAVE
) -> Window:
    """
    Keep *in_flight* requests going, each worker asking again as soon as it has its answer.

    What is in flight at the end has *leave* seconds to come, uncounted, so that
    what is measured next finds the connections in order.
    """
    meter = Meter(effort)
    begun: list[float | None] = [None] * in_flight
    workers = [asyncio.create_task(_work(ask, meter, begun, number)) for number in range(in_flight)]
    window = await meter.window()
    pending = [window.ended - asked for asked in begun if asked is not None]
    _, late = await asyncio.wait(workers, timeout=leave)
    for worker in late:
        worker.cancel()
    if late:
        await asyncio.wait(late, timeout=LEAVE)
    return attrs.evolve(window, pending=pending)


async def _work(
    ask: Callable[[], Awaitable[object]], meter: Meter, begun: list[float | None], number: int
) -> None:
    while meter.going:
        begun[number] = asked = time.perf_counter()
        try:
            await ask()
        except Exception as error:  # noqa: BLE001 - each library has errors of its own; all are counted and shown
            meter.failed(error)
        else:
            meter.answered(asked)
        begun[number] = None


class Meter:
    """
    Counts answers: first the warm-up's, then the window's.

    Attributes:
        going: Whether the window is still to end.
    """

    def __init__(self, effort: Effort) -> None:
        self.going = True
        self._effort = effort
        self._loop = asyncio.get_running_loop()
        self._window: asyncio.Future[Window] = self._loop.create_future()
        self._warm = not effort.warm
        self._begin(effort.seconds if self._warm else effort.warm)

    async def window(self) -> Window:
        """Wait for the end; say what there was."""
        return await self._window

    def answered(self, asked: float) -> None:
        """Count the answer to what was asked at that time."""
        if self.going:
            now = time.perf_counter()
            self._waits.append(now - asked)
            if now >= self._until or len(self._waits) >= self._most:
                self._turn()

    def failed(self, error: Exception) -> None:
        """Count a request that failed."""
        if self.going:
            self._causes[described(error)] += 1
            if time.perf_counter() >= self._until or self._causes.total() >= self._most:
                self._turn()

    def _begin(self, seconds: float) -> None:
        self._waits: list[float] = []
        self._causes: Counter[str] = Counter()
        self._most = self._effort.answers or math.inf
        self._stuck = self._loop.call_later(PATIENCE * seconds, self._turn)
        self._started, self._cpu, self._stalled = time.perf_counter(), time.process_time(), stalled()
        self._until = self._started + seconds

    def _turn(self) -> None:
        """End the warm-up, or the window."""
        ended, cpu = time.perf_counter(), time.process_time()
        self._stuck.cancel()
        if not self._warm:
            self._warm = True
            self._begin(self._effort.seconds)
            return
        self.going = False
        self._window.set_result(
            Window(
                seconds=ended - self._started,
                ended=ended,
                cpu=cpu - self._cpu,
                stalled=stalled() - self._stalled,
                answers=len(self._waits),
                causes=self._causes,
                waits=self._waits,
            )
        )


def described(error: Exception) -> str:
    """Name an error in one line."""
    return in_one_line(f"{type(error).__name__}: {error}")


def in_one_line(said: str) -> str:
    """Make one line of it, fit to be published: of a file, its name alone is told."""
    return " ".join(FOLDERS.sub(".../", said)[:120].split()).removesuffix(":")
