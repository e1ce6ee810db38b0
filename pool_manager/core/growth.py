"""
When another HTTP/2 connection is worth its handshake (rule 9).

Every stream is taken, and somebody waits. To dial at once, as most pools do, answers a burst of short
requests with a handshake for each hundred, though one connection would have answered them sooner. Never to
dial, as others do, has short calls wait for long polls to end. So the queue is looked at while it stands:

- Does a stream come free at all? If none has for as long as a dial takes, another connection is opened: at
  the worst, who waits has waited twice as long as need be. While none does, the next are opened at once.
- Does the queue end? If it has stood for long, or will have at the pace at which streams come free, another
  is opened. What a burst leaves behind ends soon, however long it is; a queue that stands is one too many.

A verdict takes two looks. The first may be late, at the end of a long turn of the loop in which no answer
could be read; the second is not.
"""

from __future__ import annotations

from typing import Final

from pool_manager.core.origins import Glance, Origin, Watch

# Seconds in which no stream comes free: what the last dial took, within these bounds. The first is a guess at
# what a short request takes, the second at what a caller puts up with.
SHORTEST_PATIENCE: Final = 0.05
LONGEST_PATIENCE: Final = 0.25

# Seconds for which a queue may stand though streams come free.
LONGEST_QUEUE: Final = 1.0


def is_worth_it(origin: Origin) -> bool:
    """Tell whether another connection to *origin* is worth it; where none speaks HTTP/2, it is."""
    return not origin.usable_shared or origin.outgrown == origin.freed


def interval(origin: Origin) -> float:
    """Give the seconds from one look to the next: two of them are the patience."""
    return min(max(origin.dial_time, SHORTEST_PATIENCE), LONGEST_PATIENCE) / 2


def begin(origin: Origin, now: float) -> None:
    """Begin to watch the queue of *origin*."""
    origin.watch = Watch(now, Glance(now, origin.freed))


def look(origin: Origin, now: float) -> None:
    """Judge by the streams that have come free since the last look but one."""
    watch = origin.watch
    assert watch is not None
    earlier, last = watch.earlier, watch.last
    watch.earlier, watch.last = last, Glance(now, origin.freed)
    if earlier is None:
        return
    freed = origin.freed - earlier.freed
    if not freed:
        origin.outgrown = origin.freed
    elif last.freed > earlier.freed:  # else the first answers are just coming: that is not a pace yet
        left = len(origin.waiters) * (now - earlier.at) / freed
        if now - watch.since + left > LONGEST_QUEUE:
            origin.outgrown = origin.freed
