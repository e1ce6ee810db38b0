"""What is compared: one way of making clients against the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs


@attrs.frozen(kw_only=True)
class Task:
    """
    The load.

    Attributes:
        url: Of our server, or of the user's.

        ours: Whether it is our server: then SDKs call it.

        clients: How many to make, of each kind in turn.

        requests: How many to send, over all clients.

        pooled: On a pool, or the usual way.
    """

    url: str
    ours: bool
    clients: int
    requests: int
    pooled: bool = False

    @classmethod
    def from_json(cls, value: object) -> Task:
        """Read what `attrs.asdict` wrote."""
        return cls(**cast("dict[str, Any]", value))


@attrs.frozen(kw_only=True)
class Phase:
    """
    What one way cost.

    Attributes:
        requests: Requests the server saw; those sent, if it is not our server.

        failed: Requests that got no answer, or an answer that is an error.

        causes: Why they failed, and how often.

        connections: TCP connections the server accepted; those of which answers
            came, if it is not our server.

        handshakes: TLS handshakes completed.

        wall_seconds: From the first client being made to the last answer.

        p50_ms: Half of the answers took no longer.

        p99_ms: All answers but one in a hundred took no longer.

        memory_mib: By how much the process grew; None where the system does not say.

        client_ms: Making one client, on average.
    """

    requests: int
    failed: int
    causes: Mapping[str, int]
    connections: int
    handshakes: int
    wall_seconds: float
    p50_ms: float
    p99_ms: float
    memory_mib: float | None
    client_ms: float

    @classmethod
    def from_json(cls, value: object) -> Phase:
        """Read what `attrs.asdict` wrote."""
        return cls(**cast("dict[str, Any]", value))

    def counted(self, before: Mapping[str, object], after: Mapping[str, object]) -> Phase:
        """Give the same, with what the server counted meanwhile."""
        counts = {name: cast("int", after[name]) - cast("int", before[name]) for name in after}
        return attrs.evolve(self, **cast("dict[str, Any]", counts))


@attrs.frozen(kw_only=True)
class Comparison:
    """
    Both ways, under the same load.

    Attributes:
        target: Where the requests went, in words.

        clients: How many of each kind, by class name.
    """

    target: str
    clients: Mapping[str, int]
    usual: Phase
    pooled: Phase


@attrs.frozen
class Metric:
    """One number of a `Phase`, and how people read it."""

    label: str
    of: Callable[[Phase], float | None]
    unit: str = ""
    digits: int = 0

    def shown(self, phase: Phase) -> str:
        """Write the number."""
        value = self.of(phase)
        return "unknown" if value is None else f"{value:,.{self.digits}f} {self.unit}".rstrip()

    def ratio(self, comparison: Comparison) -> str:
        """Say how many times the pooled way's number the usual way's is."""
        usual, pooled = self.of(comparison.usual), self.of(comparison.pooled)
        if not usual or not pooled:
            return ""
        ratio = usual / pooled
        return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"  # noqa: PLR2004 - two digits will do


COSTS = (
    Metric("TCP connections", lambda phase: phase.connections),
    Metric("TLS handshakes", lambda phase: phase.handshakes),
    Metric("Wall time", lambda phase: phase.wall_seconds, "s", 2),
    Metric("Request, p50", lambda phase: phase.p50_ms, "ms", 1),
    Metric("Request, p99", lambda phase: phase.p99_ms, "ms", 1),
    Metric("Memory", lambda phase: phase.memory_mib, "MiB", 1),
    Metric("Making a client", lambda phase: phase.client_ms, "ms", 2),
)
REQUESTS = Metric("Requests", lambda phase: phase.requests)
FAILED = Metric("Failed requests", lambda phase: phase.failed)
