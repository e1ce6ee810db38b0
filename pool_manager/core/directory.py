"""The origins that a pool knows: those that it has a connection to, and those that somebody waits for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pool_manager.config import Limits
from pool_manager.core.deadlines import Deadlines
from pool_manager.core.lanes import Lanes
from pool_manager.core.origins import Connection, LaneState, Origin, OriginKey
from pool_manager.core.protocols import Protocols
from pool_manager.core.snapshots import Ledger


class Directory(dict[OriginKey, Origin]):
    """
    Origins by their keys; one that is asked for is made if it is not there.

    Args:
        lanes: Those of the pool, by their names.

        protocols: What origins were known to speak when they were last heard of.

        deadlines: One that is forgotten has none.

    Attributes:
        ledger: What was counted of those that are not known.
    """

    def __init__(
        self,
        lanes: Mapping[str, LaneState],
        protocols: Protocols,
        deadlines: Deadlines[Connection | Origin],
    ) -> None:
        super().__init__()
        self._lanes, self._protocols, self._deadlines = lanes, protocols, deadlines
        self.ledger = Ledger()

    def __missing__(self, key: OriginKey) -> Origin:
        speaks, streams = self._protocols.recall(key)
        origin = Origin(key, self._lanes[key.lane], speaks, streams, self.ledger.take(key))
        self[key] = origin
        return origin

    def forget(self, origin: Origin) -> None:
        """Know *origin* no more if it has no connection and nobody waits for one, nor for its lane."""
        if origin.connections or origin.waiters or origin.kept_out:
            return
        if self.get(origin.key) is origin:  # else it was forgotten, and perhaps met again
            del self[origin.key]
            self.ledger.put(origin.key, origin.counts)
            self._deadlines.discard(origin)


def lane_states(lanes: Lanes, limits: Limits) -> dict[str, LaneState]:
    """Give every lane as it begins: with bounds, and empty."""
    return {name: LaneState(*_bounds(lanes, name, limits)) for name in lanes.names()}


def _bounds(lanes: Lanes, name: str, limits: Limits) -> tuple[float, float]:
    """Give how many requests a lane may have in flight, and connections to one origin."""
    lane = lanes[name]
    if lane is None:
        return math.inf, limits.max_connections_per_origin
    return lane.max_in_flight, min(lane.max_connections_per_origin, limits.max_connections_per_origin)
