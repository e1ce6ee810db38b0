"""
Where dials are due and where there is room for them, brought together (rules 2, 6 and 19).

Whether a dial is due is decided in `dials.py`, who makes way for whom in `room.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pool_manager.core.dials import Dials
from pool_manager.core.directory import Directory
from pool_manager.core.effects import Dial, Effect
from pool_manager.core.origins import Connection, LaneState, Origin
from pool_manager.core.room import Room
from pool_manager.core.stock import Stock


class Supply:
    """
    Has connections opened, and idle ones closed for them.

    Args:
        room: The places of the pool.

        dials: Its dials.

        stock: Its open connections.

        directory: Its origins; one whose last connection is closed for another's sake is forgotten.

        numbers: Where the next number of a ticket comes from.

        effects: Where it is noted what is to be dialed.
    """

    def __init__(
        self,
        room: Room,
        dials: Dials,
        stock: Stock,
        directory: Directory,
        *,
        numbers: Iterator[int],
        effects: list[Effect],
    ) -> None:
        self._room, self._dials, self._stock = room, dials, stock
        self._directory, self._numbers, self._effects = directory, numbers, effects

    def dial(self, origin: Origin, now: float) -> None:
        """Dial as many as are due (rule 2), as far as there is room; who starves already goes first (19)."""
        while not self._room.starving and self._dials.is_due(origin, now):
            if self._make_room(origin.lane, now):
                self._begin(origin, now)
            else:
                self._room.starve(origin)
        if self._room.starving:
            if self._dials.is_due(origin, now):
                self._room.starve(origin)
            else:
                self._room.sate(origin)
            self._feed(now)
        if origin.watch is None and origin.usable_shared:
            self._dials.watch(origin, now)

    def evict(self, connection: Connection, now: float) -> None:
        """Close an idle connection for the sake of others, and see to what its origin makes of it."""
        self._stock.close(connection, now, "evicted")
        if self._dials.is_due(connection.origin, now):  # they wait for a stream, and the server allows none
            self._room.starve(connection.origin)
        else:
            self._directory.forget(connection.origin)

    def _begin(self, origin: Origin, now: float) -> None:
        connection = self._dials.begin(origin, now, next(self._numbers))
        self._room.take(connection)
        self._effects.append(Dial(connection))

    def _make_room(self, lane: LaneState, now: float) -> bool:
        """Have room for a connection of *lane*; the longest idle one goes for it (rules 6 and 19)."""
        if not self._room.is_for(lane):
            idle = self._room.longest_idle(lane)
            if idle is None:
                return False
            self.evict(idle, now)
        return True

    def _feed(self, now: float) -> None:
        """Give room to those that starve, one dial each in turn."""
        full: list[LaneState] = []
        while (origin := self._room.hungriest(full)) is not None:
            if not self._dials.is_due(origin, now):
                self._room.sate(origin)
            elif not self._make_room(origin.lane, now):
                full.append(origin.lane)
            else:
                self._room.sate(origin)
                self._begin(origin, now)
                if self._dials.is_due(origin, now):
                    self._room.starve(origin)
