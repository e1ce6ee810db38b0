"""
What exporters read off a snapshot, said once for all of them.

They show sums over all pools that a runtime has had, by origin and lane: a program that calls `asyncio.run` a
thousand times has had a thousand pools, and a series for each would end with it. Those sums never fall. What
was counted of origins that are no longer told apart is shown without a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol

import attrs

from pool_manager.events import Listener, Listening
from pool_manager.stats import ManagerStats, OriginStats, RuntimeStats, Traffic

__all__ = ["OF_MANAGERS", "OF_ORIGINS", "OF_RUNTIMES", "TIMES", "Observed", "Reading", "Times", "origins_of"]


class Observed(Protocol):
    """What an exporter needs of a manager; `PoolManager` is one."""

    @property
    def name(self) -> str:
        """The manager's name."""
        ...

    def stats(self) -> ManagerStats:
        """Give a snapshot."""
        ...

    def listen(self, listener: Listener) -> Listening:
        """Have *listener* told what happens."""
        ...


@attrs.frozen
class Reading:
    """
    One number of a snapshot, or several of one kind.

    Attributes:
        name: Its name outside, behind `pool_manager`.

        unit: What it counts.

        about: What it says.

        read: Reads it: numbers by the value of the label `by`, or one number by "".

        by: A label that tells several apart.

        grows: Whether it is a counter; else it is a gauge.

        convention: Its name in OpenTelemetry's semantic conventions for HTTP clients, where they have one.
    """

    name: str
    unit: Literal["connection", "request", "lease", "response", "pool", "s"]
    about: str
    read: Callable[[Any], Mapping[str, float]]
    by: str = ""
    grows: bool = True
    convention: str | None = None

    @property
    def otel(self) -> str:
        """Its name in OpenTelemetry."""
        return self.convention or f"pool_manager.{self.name}"

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus; the client writes the `_total` of counters."""
        unit = "_seconds" if self.unit == "s" else ""
        return f"pool_manager_{self.name.replace('.', '_')}{unit}"


@attrs.frozen
class Times:
    """
    One histogram of a snapshot.

    Attributes:
        field: Its name in `Traffic`.

        name: Its name outside, behind `pool_manager`, and before the unit.

        about: What it says.
    """

    field: str
    name: str
    about: str


def _field(name: str) -> Callable[[Any], Mapping[str, float]]:
    return lambda stats: {"": getattr(stats, name)}


def _causes(name: str) -> Callable[[Any], Mapping[str, float]]:
    return lambda stats: getattr(stats, name)


def _states(traffic: Traffic) -> Mapping[str, float]:
    """Tell connections that are open by the states that the conventions know."""
    return {"active": traffic.active + traffic.draining, "idle": traffic.idle}


OF_ORIGINS: Final = (
    Reading(
        "connections.open",
        "connection",
        "Connections open now.",
        _states,
        by="state",
        grows=False,
        convention="http.client.open_connections",
    ),
    Reading(
        "connections.connecting",
        "connection",
        "Connections being opened now.",
        _field("connecting"),
        grows=False,
    ),
    Reading(
        "requests.active",
        "request",
        "Requests that have a connection now, or wait for one.",
        lambda traffic: {"": traffic.streams + traffic.waiting},
        grows=False,
        convention="http.client.active_requests",
    ),
    Reading(
        "requests.waiting",
        "request",
        "Requests that wait for a connection now.",
        _field("waiting"),
        grows=False,
    ),
    Reading(
        "requests.oldest_wait",
        "s",
        "For how long the first of those has waited.",
        _field("oldest_wait"),
        grows=False,
    ),
    Reading("requests", "request", "Requests that asked for a connection.", _field("requests")),
    Reading("requests.queued", "request", "Requests that had to wait for it.", _field("queued")),
    Reading("requests.given_up", "request", "Waits that ended without a connection.", _field("given_up")),
    Reading(
        "requests.reused", "request", "Requests on a connection that was there already.", _field("reused")
    ),
    Reading("connections.opened", "connection", "Connections opened.", _field("opened")),
    Reading("connections.closed", "connection", "Connections closed.", _causes("closed"), by="cause"),
    Reading(
        "connections.failed", "connection", "Connections that could not be opened.", _field("dials_failed")
    ),
)

TIMES: Final = (
    Times("request_time", "request_time", "From asking for a connection to giving it back."),
    Times("queue_time", "queue_time", "Waits for a connection."),
    Times("connect_time", "connect_time", "To open a connection, proxies and TLS included."),
    Times("connection_age", "connection_age", "How old connections were when they were closed."),
)

OF_RUNTIMES: Final = (
    Reading("pools", "pool", "Pools that serve now.", _field("pools"), grows=False),
    Reading("leases.held", "lease", "Leases that hold pools now.", _field("leases"), grows=False),
    Reading(
        "requests.in_flight",
        "request",
        "Requests being answered now, open responses included.",
        _field("in_flight"),
        grows=False,
    ),
    Reading("requests.failed", "request", "Requests that ended in an error.", _field("failed")),
    Reading("requests.retried", "request", "Requests sent again.", _causes("retries"), by="cause"),
)

OF_MANAGERS: Final = (
    Reading("leases.taken", "lease", "Leases handed out.", _field("leases_taken")),
    Reading("leases.returned", "lease", "Leases given back, lost ones included.", _field("leases_returned")),
    Reading("leases.leaked", "lease", "Leases that were collected unreleased.", _field("leases_leaked")),
    Reading(
        "responses.leaked", "response", "Responses that were collected unclosed.", _field("responses_leaked")
    ),
    Reading(
        "leases.overdue", "lease", "Leases and responses held for longer than they may be.", _field("overdue")
    ),
)


def origins_of(runtime: RuntimeStats) -> Iterator[tuple[OriginStats | None, Traffic]]:
    """Give the numbers of each origin, and of all that are no longer told apart."""
    yield from ((origin, origin) for origin in runtime.origins)
    if runtime.rest != Traffic():
        yield None, runtime.rest
