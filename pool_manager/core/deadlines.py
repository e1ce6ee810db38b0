"""
Many deadlines, one timer: each step costs the same however many there are.

Deadlines of equal length fall due in the order in which they were set, so a queue for each length is
sorted by itself. Lengths are rounded up by at most a 64th, which keeps the queues few.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

_STEPS: Final = 64  # lengths told apart between one power of two and the next


@functools.lru_cache(maxsize=256)  # most callers use one length, or a few
def _rounded_up(seconds: float) -> float:
    mantissa, exponent = math.frexp(seconds)
    return math.ldexp(math.ceil(mantissa * _STEPS * 2) / (_STEPS * 2), exponent)


class Deadlines(Generic[T]):
    """
    Items and when they fall due, each of them once.

    Attributes:
        next: No deadline is earlier than this; `math.inf` if there is none. It may be too early, as items
            that were discarded are forgotten when it is reached.
    """

    __slots__ = ("_queue_of", "_queues", "next")

    def __init__(self) -> None:
        self._queues: dict[float, dict[T, float]] = {}
        self._queue_of: dict[T, dict[T, float]] = {}
        self.next = math.inf

    def __len__(self) -> int:
        return len(self._queue_of)

    def set(self, item: T, now: float, seconds: float) -> None:
        """Have *item* fall due *seconds* after *now*, and not when it was to before."""
        if item in self._queue_of:
            self.discard(item)
        seconds = _rounded_up(seconds)
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = {}
        queue[item] = due = now + seconds
        self._queue_of[item] = queue
        if due < self.next:  # noqa: PLR1730 - a call of `min` would cost more than the rest
            self.next = due

    def set_at_latest(self, item: T, now: float, seconds: float) -> None:
        """
        Have *item* fall due *seconds* after *now*, or earlier if it is to already.

        For what is put off again and again: it is cheap, and who is called too early sets it anew.
        """
        queue = self._queue_of.get(item)
        if queue is None or queue[item] > now + seconds:
            self.set(item, now, seconds)

    def discard(self, item: T) -> None:
        """Forget the deadline of *item*, if it has one."""
        queue = self._queue_of.pop(item, None)
        if queue is not None:
            del queue[item]

    def take_due(self, now: float) -> Iterator[T]:
        """Take out, one after another, the items that are due by *now*; then `next` is right again."""
        for seconds, queue in [*self._queues.items()]:
            # A list: to look for the first of a dictionary is to pass what was deleted before it, each time.
            for item, _ in [*itertools.takewhile(lambda entry: entry[1] <= now, queue.items())]:
                if queue.get(item, math.inf) <= now:  # else it was discarded for another's sake
                    self.discard(item)
                    yield item
            if not queue:
                del self._queues[seconds]
        self.next = min(
            (next(iter(queue.values())) for queue in self._queues.values() if queue), default=math.inf
        )
