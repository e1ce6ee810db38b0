"""One pool: the connections of one runtime and one config, and who holds it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import AsyncEngine, Engine
from pool_manager.core.snapshots import MAX_KEPT
from pool_manager.events import Audience
from pool_manager.runtimes.loops import Runtime, Watch
from pool_manager.runtimes.on_asyncio.engine import AsyncioEngine
from pool_manager.runtimes.on_asyncio.loop import AsyncioLoop
from pool_manager.runtimes.on_threads.engine import ThreadsEngine
from pool_manager.runtimes.tls import ContextCache
from pool_manager.stats import (
    EngineStats,
    OriginStats,
    PoolStats,
    Traffic,
    by_origin,
    counted,
    total,
)
from pool_manager.stats import Runtime as RuntimeName

_numbers = itertools.count(1)


@attrs.frozen(cache_hash=True)
class Share:
    """What must be equal for two leases to share a pool, in one runtime."""

    config: PoolConfig
    limits: Limits
    private: object = None  # a token of its own, for `shared=False`
    polls: bool = False  # they have a lane of their own; where the manager has none for them, a pool


@attrs.define(eq=False)
class Tenant:
    """A lease as pools count it. The registry's lock guards it."""

    name: str
    lane: str | None
    taken_at: object  # its `str` is a place in somebody's code
    reopens: bool  # a transport's own lease is taken anew when the transport is used after close
    installed: bool = False  # its client knows nothing of pools: it may wait as without them
    may_be_lost: bool = False  # nobody is to close it: it goes when it is collected, without a word
    closed: bool = False
    returning: bool = False  # was closed where that had to be put off
    pools: set[Pool] = attrs.field(factory=set)
    recent: Pool | None = None  # the one of `pools` that its requests took of late

    def leave(self, pool: Pool) -> None:
        """Hold *pool* no longer."""
        self.pools.discard(pool)
        if self.recent is pool:
            self.recent = None

    def __str__(self) -> str:
        return f"lease {self.name!r}, taken at {self.taken_at}"


@attrs.define(eq=False)
class Home:
    """The pools of one runtime, and those of them that are closing. The registry's lock guards it."""

    runtime: Runtime
    pools: dict[Share, Pool] = attrs.field(factory=dict)
    closing: set[Pool] = attrs.field(factory=set)
    watch: Watch | None = None

    def all(self) -> list[Pool]:
        """Every pool whose sockets may be open."""
        return [*self.pools.values(), *self.closing]


@attrs.define
class Tally:
    """
    What is counted of requests before it is known where they go: see `PoolStats`.

    Attributes:
        retries: Those that were sent again, asked for or not, by cause: a status, or the name of an error.
    """

    requests: int = 0
    failed: int = 0
    retried: int = 0
    replayed: int = 0
    retries: dict[str, int] = attrs.field(factory=dict)

    def count_retry(self, cause: str, *, asked_for: bool) -> None:
        """Count a request that is sent again."""
        self.retried += asked_for
        self.replayed += not asked_for
        self.retries[cause] = self.retries.get(cause, 0) + 1

    def copy(self) -> Tally:
        """Give another that counts on from here."""
        return attrs.evolve(self, retries=self.retries.copy())

    def merge(self, other: Tally) -> None:
        """Count what *other* has counted as well."""
        self.requests += other.requests
        self.failed += other.failed
        self.retried += other.retried
        self.replayed += other.replayed
        for cause, number in other.retries.items():
            self.retries[cause] = self.retries.get(cause, 0) + number


@attrs.frozen
class Holding:
    """One pool, and how it is held at one instant."""

    pool: Pool
    tally: Tally
    in_flight: int
    lease_names: tuple[str, ...]


@attrs.define
class Past:
    """What pools of one runtime have counted that are closed. Its size does not grow with their number."""

    runtime: RuntimeName
    tally: Tally = attrs.field(factory=Tally)
    origins: OrderedDict[object, OriginStats] = attrs.field(factory=OrderedDict)
    rest: Traffic = attrs.field(factory=Traffic)

    def take_in(self, pool: Pool, engine: EngineStats) -> None:
        """Count what *pool* has counted, and what it will: answers that were open go on, and may fail."""
        self.tally.merge(pool.tally)
        pool.tally = self.tally
        self.rest = total((self.rest, counted(engine.rest)))
        for origin in engine.origins:
            before = self.origins.pop(origin.key, None)
            both = [counted(origin)] if before is None else [before, counted(origin)]
            self.origins[origin.key] = by_origin(both)[0]
            if len(self.origins) > MAX_KEPT:
                self.rest = total((self.rest, self.origins.popitem(last=False)[1]))

    def copy(self) -> Past:
        """Give another that counts on from here."""
        return Past(self.runtime, self.tally.copy(), self.origins.copy(), self.rest)


class Pool:
    """
    The connections of one runtime and one config.

    Its engine is made at the first request. The registry's lock guards what is
    counted here; the engine looks after itself.
    """

    def __init__(self, share: Share, home: Home) -> None:
        self.number: Final = next(_numbers)
        self.share: Final = share
        self.looks_for_leaks: Final = share.limits.leak_threshold != math.inf
        self.home: Final = home
        self.loop: object | None = None  # known while it is a recent one: see `Tenant`
        self.runtime: Final = home.runtime
        self.tenants: dict[Tenant, None] = {}  # in the order in which they came
        self.in_flight = 0
        self.tally = Tally()
        self.times_unheld = 0
        self.lingers = False
        self.closed = False
        self.is_outdated = False  # it was to be reset, and has not come to it
        self.engine: Engine | AsyncEngine | None = None  # what carries its requests, once there was one

    @property
    def is_held(self) -> bool:
        """Whether a lease or an open answer needs it."""
        return bool(self.tenants) or self.in_flight > 0

    def open(
        self, lanes: Lanes, contexts: ContextCache, audience: Audience, stand_in: StandIn | None = None
    ) -> None:
        """Make the engine, by *stand_in* if given. Cheap: no TLS context, no socket."""
        if stand_in is not None:
            self.engine = stand_in(self)
        else:
            lanes = Lanes([Lane.long_poll()]) if self.share.polls else lanes
            make, share = self._engine_type(), self.share
            self.engine = make(share.config, share.limits, lanes, contexts, audience=audience)

    def _engine_type(self) -> Callable[..., Engine | AsyncEngine]:
        if self.runtime.name == "threads":
            return ThreadsEngine
        if isinstance(self.runtime, AsyncioLoop):
            return functools.partial(AsyncioEngine, self.runtime.get())
        from pool_manager.runtimes.on_trio.engine import TrioEngine  # noqa: PLC0415 - only where trio runs

        return TrioEngine

    def withdraw(self) -> None:
        """Serve no new tenant: leave the table, if this is still the pool there."""
        self.closed = True
        self.home.closing.add(self)  # first of all: a fork in another thread is to find it here or there
        if self.home.pools.get(self.share) is self:
            del self.home.pools[self.share]
        for tenant in self.tenants:
            tenant.leave(self)
        self.tenants.clear()
        self.loop = None

    def close_connections(self) -> None:
        """Let every socket go, here and now: in the pool's own loop, in a thread, or after the loop's end."""
        if isinstance(self.engine, ThreadsEngine):
            self.engine.close()
        elif self.engine is not None:
            self.engine.abandon()

    def reset(self) -> None:
        """
        Have no connection that is there used again. From any thread, and from a signal handler.

        In a loop it is done in a turn of its own, or before the next request.
        """
        if self.engine is not None:
            self.is_outdated = True
            with contextlib.suppress(RuntimeError):  # its loop is over: the sweep will find it
                self.runtime.call_soon(self.catch_up)

    def catch_up(self) -> None:
        """Do what `reset` asked for, if that was not done yet."""
        if self.is_outdated and self.engine is not None:
            self.is_outdated = False
            self.engine.reset()

    def engine_stats(self) -> EngineStats:
        """Tell how its connections stand now; not to be asked under the registry's lock."""
        return self.engine.stats() if self.engine is not None else EngineStats()

    def seen(self) -> Holding:
        """See how it is held now; a move of the registry's."""
        return Holding(self, self.tally.copy(), self.in_flight, tuple(tenant.name for tenant in self.tenants))

    def stats(self, seen: Holding | None = None) -> PoolStats:
        """Tell how it stands, as it was *seen* or is seen now."""
        held = seen or self.seen()
        engine, tally = self.engine_stats(), held.tally
        return PoolStats(
            **{**attrs.asdict(engine.total, recurse=False), **attrs.asdict(tally)},
            number=self.number,
            runtime=self.runtime.name,
            config=self.share.config,
            leases=len(held.lease_names),
            lease_names=held.lease_names,
            in_flight=held.in_flight,
            origins=engine.origins,
            rest=engine.rest,
        )


# Makes an engine that has no connections: see `pool_manager.testing`.
StandIn: TypeAlias = Callable[[Pool], Engine | AsyncEngine]
