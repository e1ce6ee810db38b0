"""
Numbers about pools at one instant.

Gauges say how things stand now. Counters only grow, so two readers never
disturb each other; for a rate take the difference of two snapshots with `since`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from pool_manager.config import PoolConfig

__all__ = ["ManagerStats", "PoolStats", "RequestRecord"]

_NAMES_SHOWN = 8  # a message is read by people: the rest is in `lease_names`

Runtime: TypeAlias = Literal["asyncio", "trio", "threads"]


@attrs.frozen(kw_only=True)
class RequestRecord:
    """
    How one response came about: ``response.extensions["pool_manager"]``.

    Attributes:
        connection_id: Which connection of the pool carried it; counts from 1.

        http_version: "HTTP/1.1", "HTTP/2" ...

        reused: Whether the connection had carried a request before.

        idle_for: Seconds the connection had been idle; 0.0 on a new or busy one.

        queued_for: Seconds the request waited for a connection.

        connect_time: Seconds spent on opening the connection; 0.0 if it was there.

        attempts: How often the request was sent: 1 unless it was safe to repeat.

        lane: The lane it took.

        lease: The name of the lease it came by.

        retries: How often it was sent before since its client asked for that (`Retries`); each time it may
            have taken several attempts.
    """

    connection_id: int
    http_version: str
    reused: bool
    idle_for: float
    queued_for: float
    connect_time: float
    attempts: int
    lane: str
    lease: str
    retries: int = 0


@attrs.frozen(kw_only=True)
class EngineStats:
    """
    What an engine says of its connections.

    Attributes:
        connections: Open now.

        waiting: Requests waiting for a connection now.

        opened: Connections that came to carry a request, ever.

        reused: Requests sent on a connection that had carried one before, ever.

        dials_failed: Connections that could not be opened, ever.
    """

    connections: int = 0
    waiting: int = 0
    opened: int = 0
    reused: int = 0
    dials_failed: int = 0


@attrs.frozen(kw_only=True)
class PoolStats:
    """
    One instant of one pool.

    Attributes:
        number: Which pool of the process it is; counts from 1.

        runtime: Where it lives: "asyncio", "trio" or "threads".

        config: How it connects.

        leases: Leases that hold it.

        lease_names: Their names, in the order in which they were taken.

        in_flight: Requests being answered, open responses included.

        waiting: Of those, the ones that wait for a connection.

        connections: Connections open.

        requests: Counter: requests begun.

        failed: Counter: requests that ended in an error.

        opened: Counter: connections opened.

        reused: Counter: requests on a connection that was there already.

        dials_failed: Counter: connections that could not be opened.

        retried: Counter: of the requests, those that were sent again since their client asked for that.

        replayed: Counter: how often the pool sent a request again by itself.
    """

    runtime: Runtime
    config: PoolConfig
    leases: int
    lease_names: tuple[str, ...]
    in_flight: int
    waiting: int
    connections: int
    requests: int
    failed: int
    opened: int
    reused: int
    dials_failed: int
    retried: int = 0
    replayed: int = 0
    number: int = 0

    def since(self, earlier: PoolStats) -> PoolStats:
        """Give the same gauges, with the counters counted from *earlier*."""
        counters = ("requests", "failed", "opened", "reused", "dials_failed", "retried", "replayed")
        return attrs.evolve(self, **{name: getattr(self, name) - getattr(earlier, name) for name in counters})

    def __str__(self) -> str:
        named = ", ".join(self.lease_names[:_NAMES_SHOWN])
        more = f" and {self.leases - _NAMES_SHOWN} more" if self.leases > _NAMES_SHOWN else ""
        return (
            f"{self.runtime} pool: connections: {self.connections} open;"
            f" requests: {self.in_flight} in flight, {self.waiting} waiting;"
            f" held by {named or 'no lease'}{more}"
        )


@attrs.frozen(kw_only=True)
class ManagerStats:
    """
    One instant of a manager.

    Attributes:
        name: The manager's name.

        pools: Its pools, over all runtimes.

        leases_taken: Counter: leases handed out.

        leases_returned: Counter: leases given back.

        leases_leaked: Counter: of those, the ones that were collected unreleased.
    """

    name: str
    pools: tuple[PoolStats, ...]
    leases_taken: int
    leases_returned: int
    leases_leaked: int

    def since(self, earlier: ManagerStats) -> ManagerStats:
        """Give the same pools, with the manager's counters counted from *earlier*."""
        counters = ("leases_taken", "leases_returned", "leases_leaked")
        return attrs.evolve(self, **{name: getattr(self, name) - getattr(earlier, name) for name in counters})
