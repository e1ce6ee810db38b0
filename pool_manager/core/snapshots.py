"""
Snapshots of what the scheduler counts, and where the counts of origins are that nobody uses just now.

A snapshot is taken in one move, under whatever lock there is, and made up afterwards: `Picture`. It may be
taken in the middle of another move as well, by a signal's handler or from another thread: it changes nothing,
and what it sees may then be off by that move.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

import attrs

from pool_manager.core.counts import Counts
from pool_manager.core.origins import LaneState, Origin, OriginKey, Phase, Ticket
from pool_manager.stats import EngineStats, OriginStats, by_origin

# Origins whose counts are kept apart though nothing is open to them.
MAX_KEPT: Final = 100


class Ledger:
    """
    The counts of origins that nobody uses just now, those last that were used last.

    Attributes:
        kept: Each by itself.

        rest: All others: of those nobody knows any more which is whose.
    """

    def __init__(self) -> None:
        self.kept: OrderedDict[OriginKey, Counts] = OrderedDict()
        self.rest = Counts()

    def take(self, key: OriginKey) -> Counts:
        """Give what was counted of an origin that is met, again or for the first time."""
        return self.kept.pop(key, None) or Counts()

    def put(self, key: OriginKey, counts: Counts) -> None:
        """Keep what was counted of an origin that nobody uses any more."""
        self.kept[key] = counts
        if len(self.kept) > MAX_KEPT:
            self.rest.merge(self.kept.popitem(last=False)[1])


class Gauges(NamedTuple):
    """How one origin stands: see `stats.Traffic`."""

    connecting: int = 0
    active: int = 0
    idle: int = 0
    draining: int = 0
    streams: int = 0
    waiting: int = 0
    oldest_wait: float = 0.0


class Picture:
    """
    What there was to be seen at one instant. Cheap to take, since somebody may be kept waiting by it.

    Args:
        origins: Those that are in use.

        ledger: What was counted of others.

        lanes: All lanes.

        now: Seconds.
    """

    def __init__(
        self, origins: Iterable[Origin], ledger: Ledger, lanes: Iterable[LaneState], now: float
    ) -> None:
        kept_out = _first_kept_out(lanes)
        self._seen = [
            (origin.key, _gauges(origin, kept_out.get(origin), now), origin.counts.copy())
            for origin in [*origins]
        ]
        nothing = Gauges()
        self._seen += [(key, nothing, counts.copy()) for key, counts in [*ledger.kept.items()]]
        self._rest = ledger.rest.copy()

    def developed(self) -> EngineStats:
        """Make up the snapshot. Origins that differ in nothing that is told are one."""
        return EngineStats(
            origins=by_origin(_told(*seen) for seen in self._seen),
            rest=self._rest.frozen(),
        )


def _told(key: OriginKey, gauges: Gauges, counts: Counts) -> OriginStats:
    counters = attrs.asdict(counts.frozen(), recurse=False)
    return OriginStats(
        scheme=key.scheme, host=key.host, port=key.port, lane=key.lane, **{**counters, **gauges._asdict()}
    )


def _first_kept_out(lanes: Iterable[LaneState]) -> dict[Origin, Ticket]:
    """Give who has waited longest for its lane, of each origin."""
    first: dict[Origin, Ticket] = {}
    for lane in lanes:
        for ticket in [*lane.queue]:
            first.setdefault(ticket.origin, ticket)
    return first


def _gauges(origin: Origin, kept_out: Ticket | None, now: float) -> Gauges:
    connecting = active = idle = draining = streams = 0
    for connection in [*origin.connections]:
        streams += connection.in_use
        if connection.phase is Phase.DIALING:
            connecting += 1
        elif connection.phase is Phase.DRAINING:
            draining += 1
        elif connection.in_use:
            active += 1
        else:
            idle += 1
    waiting = [*origin.waiters]
    asked = [ticket.asked for ticket in (*waiting[:1], kept_out) if ticket is not None]
    return Gauges(
        connecting=connecting,
        active=active,
        idle=idle,
        draining=draining,
        streams=streams,
        waiting=len(waiting) + origin.kept_out,
        oldest_wait=max(now - min(asked), 0.0) if asked else 0.0,
    )
