"""
How many connections a pool may have, and who makes way for whom (rules 6 and 19).

At its limit the longest unused connection goes for a new one, whosever it is. If none is unused, origins
starve: they wait for room, those that have no connection at all before the others. No lane can fill the
pool: a place is kept for each lane that has none, and a lane gives its last one only to such a lane.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from pool_manager.core.origins import Connection, LaneState, Origin


class Room:
    """
    The places of one pool.

    Attributes:
        size: Connections, those being dialed included.

        idle: Of those, the ones that nobody holds.

        starving: Origins that would dial, had the pool room.
    """

    def __init__(self, max_connections: float, lanes: Iterable[LaneState]) -> None:
        self._max_connections, self._lanes = max_connections, [*lanes]
        self.size = self.idle = self.starving = 0

    # Places

    def take(self, connection: Connection) -> None:
        """Count *connection*: its dial begins."""
        connection.origin.connections[connection] = None
        connection.origin.lane.size += 1
        self.size += 1

    def leave(self, connection: Connection) -> None:
        """Count it no more."""
        del connection.origin.connections[connection]
        connection.origin.lane.size -= 1
        self.size -= 1

    def is_for(self, lane: LaneState) -> bool:
        """Tell whether *lane* may have another connection."""
        if not lane.size:
            return self.size < self._max_connections
        kept = sum(not other.size for other in self._lanes)
        return self.size + kept < self._max_connections

    # Connections that nobody holds

    def rest(self, connection: Connection) -> None:
        """Take *connection* for the one that was used last."""
        origin = connection.origin
        if not connection.multiplexed:
            origin.idle[connection] = None
        origin.lane.idle[connection] = None
        self.idle += 1

    def rouse(self, connection: Connection) -> None:
        """Take it from those that nobody holds, if it is one."""
        origin = connection.origin
        if origin.lane.idle.pop(connection, connection) is None:
            origin.idle.pop(connection, None)
            self.idle -= 1

    def longest_idle(self, taker: LaneState | None = None) -> Connection | None:
        """Find the one that was unused the longest, of those that make room for a connection of *taker*."""
        oldest = [
            next(iter(lane.idle))
            for lane in self._lanes
            if lane.idle and (taker is None or _makes_room(lane, taker))
        ]
        return min(oldest, key=lambda connection: connection.idle_since, default=None)

    # Origins that wait for a place

    def starve(self, origin: Origin) -> None:
        """Note that *origin* would dial; at the end of those that do, unless it is noted already."""
        lane = origin.lane
        if origin.connections:
            if origin not in lane.destitute and origin not in lane.starved:
                lane.starved[origin] = None
                self.starving += 1
        elif origin not in lane.destitute:
            self.sate(origin)  # it has lost its last connection since
            lane.destitute[origin] = None
            self.starving += 1

    def sate(self, origin: Origin) -> None:
        """Note that it has no reason to starve."""
        lane = origin.lane
        if lane.starved.pop(origin, origin) is None or lane.destitute.pop(origin, origin) is None:
            self.starving -= 1

    def is_needed_elsewhere(self, connection: Connection) -> bool:
        """
        Tell whether an origin without any connection has waited longer than the first one for this.

        Only then is a connection taken from an origin that has a use for it: else two busy origins would
        trade a handshake for each request. One that has served nobody yet is not taken.
        """
        if not self.starving or connection.in_use or not connection.requests:
            return False
        lane, first = connection.origin.lane, connection.origin.waiters.first().number
        return any(
            _longest_wait(other.destitute) < first
            for other in self._lanes
            if other.destitute and _makes_room(lane, other)
        )

    def hungriest(self, but: list[LaneState]) -> Origin | None:
        """
        Find who has room next: without any connection first, then the lane that has waited longest.

        Args:
            but: Lanes for which there is no room.
        """
        lanes = [lane for lane in self._lanes if lane not in but]
        for queues in ([lane.destitute for lane in lanes], [lane.starved for lane in lanes]):
            longest = min(filter(None, queues), key=_longest_wait, default=None)
            if longest is not None:
                return next(iter(longest))
        return None


def _makes_room(giver: LaneState, taker: LaneState) -> bool:
    """Tell whether *taker* may have another connection when one of *giver* goes."""
    return giver is taker or giver.size > 1 or not taker.size


def _longest_wait(origins: OrderedDict[Origin, None]) -> int:
    """Give the number of who waits first at the first of *origins*."""
    waiters = next(iter(origins)).waiters
    return waiters.first().number if waiters else 0
