"""
What exporters read off a snapshot, said once for all of them.

Each pool has a series of its own, by its number: the counters of a pool that
closed go with it, and a sum over those that are left would fall, which a reader
of counters takes for a restart.
"""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["OF_MANAGERS", "OF_POOLS", "Reading"]


@attrs.frozen
class Reading:
    """
    One number of a snapshot.

    Attributes:
        field: Its name in `PoolStats` or `ManagerStats`.

        name: Its name outside, behind `pool_manager`.

        unit: What it counts.

        about: What it says.

        grows: Whether it is a counter; else it is a gauge.

        convention: Its name in OpenTelemetry's semantic conventions for HTTP clients, where they have one.
    """

    field: str
    name: str
    unit: Literal["connection", "request", "lease"]
    about: str
    grows: bool = True
    convention: str | None = None

    @property
    def otel(self) -> str:
        """Its name in OpenTelemetry."""
        return self.convention or f"pool_manager.{self.name}"

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus; the client writes the `_total` of counters."""
        return f"pool_manager_{self.name.replace('.', '_')}"

    def of(self, stats: object) -> int:
        """Read it off a snapshot."""
        value: int = getattr(stats, self.field)
        return value


OF_POOLS = (
    Reading(
        "connections",
        "connections.open",
        "connection",
        "Connections open now.",
        grows=False,
        convention="http.client.open_connections",
    ),
    Reading(
        "in_flight",
        "requests.active",
        "request",
        "Requests being answered now, open responses included.",
        grows=False,
        convention="http.client.active_requests",
    ),
    Reading("waiting", "requests.waiting", "request", "Requests waiting for a connection now.", grows=False),
    Reading("leases", "leases.held", "lease", "Leases that hold the pool now.", grows=False),
    Reading("requests", "requests", "request", "Requests begun."),
    Reading("failed", "requests.failed", "request", "Requests that ended in an error."),
    Reading("retried", "requests.retried", "request", "Requests sent again since their client asked for it."),
    Reading("replayed", "requests.replayed", "request", "Requests sent again by the pool itself."),
    Reading("reused", "requests.reused", "request", "Requests on a connection that was there already."),
    Reading("opened", "connections.opened", "connection", "Connections opened."),
    Reading("dials_failed", "connections.failed", "connection", "Connections that could not be opened."),
)

OF_MANAGERS = (
    Reading("leases_taken", "leases.taken", "lease", "Leases handed out."),
    Reading("leases_returned", "leases.returned", "lease", "Leases given back, lost ones included."),
    Reading("leases_leaked", "leases.leaked", "lease", "Leases that were collected unreleased."),
)
