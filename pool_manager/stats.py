"""
Numbers about pools at one instant.

Gauges say how things stand now. Counters only grow, so two readers never
disturb each other; for a rate take the difference of two snapshots with `since`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar, cast

import attrs

from pool_manager.config import PoolConfig
from pool_manager.differences import GROWS, grown
from pool_manager.histograms import Histogram

__all__ = ["ManagerStats", "OriginStats", "PoolStats", "RuntimeStats"]

T = TypeVar("T", bound="Traffic")

_NAMES_SHOWN: Final = 8  # a message is read by people: the rest is in `lease_names`

Runtime: TypeAlias = Literal["asyncio", "trio", "threads"]

# Why an open connection was closed. A limit (of `Limits`) was reached:
#   idle       nobody used it for long: `keepalive_expiry`, or what its server said that it waits
#   age        `max_connection_age`
#   requests   `max_requests_per_connection`
#   evicted    it made way: `max_connections`, `max_keepalive_connections`
#   surplus    another one to the same origin was there sooner
# Its server, or the network, had enough:
#   ended      it ended while nobody used it
#   lost       it ended under a request
#   suspect    nobody used it, and one beside it was lost
#   drained    its server takes no more requests (GOAWAY), or does not answer, or no stream is left to number
#   refused    its server refused streams
#   moved      its address has left DNS
# Or somebody here:
#   unusable   the last answer ended it (``Connection: close``), or was not read to its end
#   reset      `PoolManager.reset`
#   closed     the pool was closed
CloseCause: TypeAlias = Literal[
    "idle",
    "age",
    "requests",
    "evicted",
    "surplus",
    "ended",
    "lost",
    "suspect",
    "drained",
    "refused",
    "moved",
    "unusable",
    "reset",
    "closed",
]

_AGE: Final = {"age": True}  # of gauges of which the greatest counts


@attrs.frozen(kw_only=True)
class Traffic:
    """
    How requests fare on connections: those of one origin in one lane, or several of these together.

    Attributes:
        connecting: Connections being opened.

        active: Connections that carry a request.

        idle: Connections that wait for one.

        draining: Connections that carry requests, and will be given no other.

        streams: Requests that have a connection; over HTTP/2 many share one.

        waiting: Requests that wait for a connection, or for their lane to let them in.

        oldest_wait: Seconds for which the first of those has waited.

        requests: Counter: requests that asked for a connection.

        queued: Counter: how often one had to wait for it.

        given_up: Counter: of those waits, the ones that ended without a connection: it took too long, the
            caller went away, or none could be opened.

        opened: Counter: connections opened.

        reused: Counter: requests on a connection that was there already.

        dials_failed: Counter: connections that could not be opened.

        closed: Counter: connections closed, by cause: `CloseCause`.

        queue_time: Counter: how long those waits took.

        connect_time: Counter: how long it took to open a connection, proxies and TLS included.

        connection_age: Counter: how old connections were when they were closed.

        request_time: Counter: how long it took from asking for a connection to giving it back, the answer
            read. Time for which an event loop stood still does not count.
    """

    connecting: int = 0
    active: int = 0
    idle: int = 0
    draining: int = 0
    streams: int = 0
    waiting: int = 0
    oldest_wait: float = attrs.field(default=0.0, metadata=_AGE)
    requests: int = attrs.field(default=0, metadata=GROWS)
    queued: int = attrs.field(default=0, metadata=GROWS)
    given_up: int = attrs.field(default=0, metadata=GROWS)
    opened: int = attrs.field(default=0, metadata=GROWS)
    reused: int = attrs.field(default=0, metadata=GROWS)
    dials_failed: int = attrs.field(default=0, metadata=GROWS)
    closed: Mapping[CloseCause, int] = attrs.field(factory=dict[CloseCause, int], metadata=GROWS)
    queue_time: Histogram = attrs.field(default=Histogram(), metadata=GROWS)
    connect_time: Histogram = attrs.field(default=Histogram(), metadata=GROWS)
    connection_age: Histogram = attrs.field(default=Histogram(), metadata=GROWS)
    request_time: Histogram = attrs.field(default=Histogram(), metadata=GROWS)

    @property
    def connections(self) -> int:
        """Connections open."""
        return self.active + self.idle + self.draining

    def since(self, earlier: Self) -> Self:
        """Give the same gauges, with the counters counted from *earlier*."""
        return attrs.evolve(self, **grown(self, earlier))


@attrs.frozen(kw_only=True)
class OriginStats(Traffic):
    """
    One instant of one origin in one lane.

    An origin to which nothing is open keeps its numbers for as long as it is among the hundred last ones.

    Attributes:
        scheme: "https" ...

        host: The host, IDNA-encoded.

        port: The port.

        lane: The lane's name.
    """

    scheme: str
    host: str
    port: int
    lane: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What tells it from others."""
        return self.scheme, self.host, self.port, self.lane

    @property
    def url(self) -> str:
        """The origin: ``https://api.example.com:443``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        lane = "" if self.lane == "default" else f", lane {self.lane}"
        return f"{self.url}{lane}: {_in_words(self)}"


@attrs.frozen(kw_only=True)
class EngineStats:
    """
    What an engine says of its connections.

    Attributes:
        origins: Those that it knows.

        rest: What is known of no single one, or no longer.
    """

    origins: tuple[OriginStats, ...] = ()
    rest: Traffic = Traffic()

    @property
    def total(self) -> Traffic:
        """All of it together."""
        return total((*self.origins, self.rest))


@attrs.frozen(kw_only=True)
class PoolStats(Traffic):
    """
    One instant of one pool.

    What it says of connections is the sum over its origins, `requests` excepted: they are counted before it
    is known where they go.

    Attributes:
        number: Which pool of the process it is; counts from 1.

        runtime: Where it lives: "asyncio", "trio" or "threads".

        config: How it connects.

        leases: Leases that hold it.

        lease_names: Their names, in the order in which they were taken.

        in_flight: Requests being answered, open responses included.

        origins: Its origins, those of each lane by themselves.

        rest: What was counted of origins that are no longer told apart.

        requests: Counter: requests begun.

        failed: Counter: requests that ended in an error.

        retried: Counter: of the requests, those that were sent again since their client asked for that.

        replayed: Counter: how often the pool sent a request again by itself.

        retries: Counter: both of these by what made them necessary: an answer's status ("503"), or the
            name of an error ("ReadTimeout").
    """

    runtime: Runtime
    config: PoolConfig
    leases: int
    lease_names: tuple[str, ...]
    in_flight: int
    origins: tuple[OriginStats, ...] = attrs.field(default=(), metadata=GROWS)
    rest: Traffic = attrs.field(default=Traffic(), metadata=GROWS)
    failed: int = attrs.field(default=0, metadata=GROWS)
    retried: int = attrs.field(default=0, metadata=GROWS)
    replayed: int = attrs.field(default=0, metadata=GROWS)
    retries: Mapping[str, int] = attrs.field(factory=dict[str, int], metadata=GROWS)
    number: int = 0

    @property
    def key(self) -> int:
        """What tells it from others."""
        return self.number

    def __str__(self) -> str:
        named = ", ".join(self.lease_names[:_NAMES_SHOWN])
        more = f" and {self.leases - _NAMES_SHOWN} more" if self.leases > _NAMES_SHOWN else ""
        return (
            f"{self.runtime} pool: {_in_words(self, in_flight=self.in_flight)}"
            f"; held by {named or 'no lease'}{more}"
        )


@attrs.frozen(kw_only=True)
class RuntimeStats(Traffic):
    """
    All pools of a manager in one runtime together, those included that are closed by now.

    A program that calls `asyncio.run` a thousand times has had a thousand pools; their numbers are here.

    Attributes:
        runtime: "asyncio", "trio" or "threads".

        pools: Pools that serve.

        leases: Leases that hold them; one that holds two counts twice.

        in_flight: Requests being answered, open responses included.

        origins: Their origins, those of each lane by themselves.

        rest: What was counted of origins that are no longer told apart.

        requests: Counter: requests begun.

        failed: Counter: requests that ended in an error.

        retries: Counter: how often a request was sent again, by what made it necessary: see `PoolStats`.
    """

    runtime: Runtime
    pools: int
    leases: int
    in_flight: int
    origins: tuple[OriginStats, ...] = attrs.field(default=(), metadata=GROWS)
    rest: Traffic = attrs.field(default=Traffic(), metadata=GROWS)
    failed: int = attrs.field(default=0, metadata=GROWS)
    retries: Mapping[str, int] = attrs.field(factory=dict[str, int], metadata=GROWS)

    @property
    def key(self) -> str:
        """What tells it from others."""
        return self.runtime


@attrs.frozen(kw_only=True)
class ManagerStats:
    """
    One instant of a manager.

    What is told of requests and leases is of one instant, and what is told of the connections of one pool is
    of another, a moment later.

    Attributes:
        name: The manager's name.

        pools: Its pools, over all runtimes.

        runtimes: The same added up for each runtime, with the pools that are closed by now: what exporters
            show, since it never falls.

        leases_taken: Counter: leases handed out.

        leases_returned: Counter: leases given back.

        leases_leaked: Counter: of those, the ones that were collected unreleased.

        responses_leaked: Counter: responses that were collected unclosed.

        overdue: Counter: leases and responses that were held for longer than `Limits.leak_threshold`.
    """

    name: str
    pools: tuple[PoolStats, ...] = attrs.field(metadata=GROWS)
    runtimes: tuple[RuntimeStats, ...] = attrs.field(default=(), metadata=GROWS)
    leases_taken: int = attrs.field(default=0, metadata=GROWS)
    leases_returned: int = attrs.field(default=0, metadata=GROWS)
    leases_leaked: int = attrs.field(default=0, metadata=GROWS)
    responses_leaked: int = attrs.field(default=0, metadata=GROWS)
    overdue: int = attrs.field(default=0, metadata=GROWS)

    def since(self, earlier: ManagerStats) -> ManagerStats:
        """Give the same gauges, with all counters counted from *earlier*; those of a new pool are whole."""
        return attrs.evolve(self, **grown(self, earlier))


def total(parts: Iterable[Traffic]) -> Traffic:
    """Give what *parts* say together."""
    every = [*parts]
    if not every:
        return Traffic()
    return Traffic(
        **{
            field.name: _sum([getattr(part, field.name) for part in every], field)
            for field in attrs.fields(Traffic)
        }
    )


def counted(traffic: T) -> T:
    """Give the counters alone: nothing is there any more."""
    gauges = [field.name for field in attrs.fields(Traffic) if "grows" not in field.metadata]
    nothing: dict[str, Any] = dict.fromkeys(gauges, 0)
    return attrs.evolve(traffic, **nothing)


def by_origin(parts: Iterable[OriginStats]) -> tuple[OriginStats, ...]:
    """Add up those of one origin and lane."""
    groups: dict[object, list[OriginStats]] = {}
    for part in parts:
        groups.setdefault(part.key, []).append(part)
    return tuple(
        group[0] if len(group) == 1 else attrs.evolve(group[0], **attrs.asdict(total(group), recurse=False))
        for group in groups.values()
    )


def _sum(values: list[Any], field: attrs.Attribute[Any]) -> Any:  # noqa: ANN401 - of any field
    if "age" in field.metadata:
        return max(values)
    if isinstance(values[0], Mapping):
        by_cause = cast("list[Mapping[str, int]]", values)
        return {
            cause: sum(value.get(cause, 0) for value in by_cause) for cause in dict.fromkeys(chain(*by_cause))
        }
    return functools.reduce(operator.add, values)


def _in_words(traffic: Traffic, in_flight: int | None = None) -> str:
    """Say how connections and requests stand; what is not there is not mentioned."""
    states = ("active", "idle", "draining")
    told = [f"{number} {state}" for state in states if (number := getattr(traffic, state))]
    opened = f"{traffic.connections} open" + (f" ({', '.join(told)})" if told else "")
    coming = f", {traffic.connecting} connecting" if traffic.connecting else ""
    under_way = f"{traffic.streams} on them" if in_flight is None else f"{in_flight} in flight"
    waited = f" (for up to {traffic.oldest_wait:.1f} s)" if traffic.waiting else ""
    return f"connections: {opened}{coming}; requests: {under_way}, {traffic.waiting} waiting{waited}"
