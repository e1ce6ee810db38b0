"""
What is counted of one origin in one lane: always, and at the cost of an addition.

The scheduler counts while it decides, by the time that it is given; runtimes count nothing. What is counted
only grows. A snapshot (`snapshots.py`) is made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from pool_manager.histograms import BOUNDS, Histogram
from pool_manager.stats import CloseCause, Traffic

_NONE: Final = (0,) * (len(BOUNDS) + 1)


class Times:
    """A histogram that grows: see `Histogram`."""

    __slots__ = ("counts", "sum")

    def __init__(self, counts: Iterable[int] = _NONE, seconds: float = 0.0) -> None:
        self.counts, self.sum = [*counts], seconds

    def add(self, seconds: float) -> None:
        """Count one that took so many *seconds*."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def merge(self, other: Times) -> None:
        """Count those of *other* as well."""
        self.counts = [one + another for one, another in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def copy(self) -> Times:
        """Give another that counts on from here."""
        return Times(self.counts, self.sum)

    def frozen(self) -> Histogram:
        """Give how things stand now."""
        return Histogram(tuple(self.counts), self.sum)


_NUMBERS: Final = ("requests", "queued", "given_up", "opened", "reused", "dials_failed")
_TIMES: Final = ("queue_time", "connect_time", "connection_age", "request_time")


class Counts:
    """The counters of `stats.Traffic`, which says what each of them means."""

    __slots__ = ("closed", *_NUMBERS, *_TIMES)

    def __init__(self) -> None:
        self.requests = self.queued = self.given_up = self.opened = self.reused = self.dials_failed = 0
        self.closed: dict[CloseCause, int] = {}
        self.queue_time, self.connect_time = Times(), Times()
        self.connection_age, self.request_time = Times(), Times()

    def close(self, cause: CloseCause, age: float) -> None:
        """Count an open connection that is closed, so many seconds old."""
        self.closed[cause] = self.closed.get(cause, 0) + 1
        self.connection_age.add(age)

    def merge(self, other: Counts) -> None:
        """Count what *other* has counted as well."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for cause, number in other.closed.items():
            self.closed[cause] = self.closed.get(cause, 0) + number
        for name in _TIMES:
            getattr(self, name).merge(getattr(other, name))

    def copy(self) -> Counts:
        """Give others that count on from here."""
        counts = Counts()
        for name in _NUMBERS:
            setattr(counts, name, getattr(self, name))
        counts.closed = self.closed.copy()
        for name in _TIMES:
            setattr(counts, name, getattr(self, name).copy())
        return counts

    def frozen(self) -> Traffic:
        """Give the counters as they stand now; gauges are none of theirs."""
        return Traffic(
            **{name: getattr(self, name) for name in _NUMBERS},
            closed=self.closed.copy(),
            **{name: getattr(self, name).frozen() for name in _TIMES},
        )
