"""One pool: the connections of one runtime and one config, and who holds it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import AsyncEngine, Engine
from pool_manager.runtimes.loops import Runtime, Watch
from pool_manager.runtimes.on_asyncio.engine import AsyncioEngine
from pool_manager.runtimes.on_asyncio.loop import AsyncioLoop
from pool_manager.runtimes.on_threads.engine import ThreadsEngine
from pool_manager.runtimes.tls import ContextCache
from pool_manager.stats import EngineStats, PoolStats

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


class Pool:
    """
    The connections of one runtime and one config.

    Its engine is made at the first request. The registry's lock guards what is
    counted here; the engine looks after itself.
    """

    def __init__(self, share: Share, home: Home) -> None:
        self._number: Final = next(_numbers)
        self.share: Final = share
        self.home: Final = home
        self.runtime: Final = home.runtime
        self.tenants: dict[Tenant, None] = {}  # in the order in which they came
        self.in_flight = 0
        self.requests = 0
        self.failed = self.retried = self.replayed = 0
        self.times_unheld = 0
        self.lingers = False
        self.closed = False
        self._engine: Engine | AsyncEngine | None = None

    @property
    def is_held(self) -> bool:
        """Whether a lease or an open answer needs it."""
        return bool(self.tenants) or self.in_flight > 0

    def count_replay(self) -> None:
        """Know that the engine sent a request again by itself."""
        self.replayed += 1

    @property
    def engine(self) -> Engine | AsyncEngine | None:
        """What carries its requests, once there was one."""
        return self._engine

    def ensure_engine(self, lanes: Lanes, contexts: ContextCache, stand_in: StandIn | None = None) -> None:
        """Make the engine if there is none, by *stand_in* if given. Cheap: no TLS context, no socket."""
        if self._engine is None and stand_in is not None:
            self._engine = stand_in(self)
        elif self._engine is None:
            lanes = Lanes([Lane.long_poll()]) if self.share.polls else lanes
            self._engine = self._engine_type()(self.share.config, self.share.limits, lanes, contexts)

    def _engine_type(self) -> Callable[[PoolConfig, Limits, Lanes, ContextCache], Engine | AsyncEngine]:
        if self.runtime.name == "threads":
            return ThreadsEngine
        if isinstance(self.runtime, AsyncioLoop):
            return functools.partial(AsyncioEngine, self.runtime.get())
        from pool_manager.runtimes.on_trio.engine import TrioEngine  # noqa: PLC0415 - only where trio runs

        return TrioEngine

    def withdraw(self) -> None:
        """Serve no new tenant: leave the table, if this is still the pool there."""
        self.closed = True
        if self.home.pools.get(self.share) is self:
            del self.home.pools[self.share]
        self.home.closing.add(self)
        for tenant in self.tenants:
            tenant.pools.discard(self)
        self.tenants.clear()

    def close_connections(self) -> None:
        """Let every socket go, here and now: in the pool's own loop, in a thread, or after the loop's end."""
        if isinstance(self._engine, ThreadsEngine):
            self._engine.close()
        elif self._engine is not None:
            self._engine.abandon()

    def stats(self) -> PoolStats:
        """How things stand now."""
        engine = self._engine.stats() if self._engine is not None else EngineStats()
        tenants = list(self.tenants)
        return PoolStats(
            number=self._number,
            runtime=self.runtime.name,
            config=self.share.config,
            leases=len(tenants),
            lease_names=tuple(tenant.name for tenant in tenants),
            in_flight=self.in_flight,
            origins=engine.origins,
            failed=self.failed,
            retried=self.retried,
            replayed=self.replayed,
            **{**attrs.asdict(engine.total, recurse=False), "requests": self.requests},
        )


# Makes an engine that has no connections: see `pool_manager.testing`.
StandIn: TypeAlias = Callable[[Pool], Engine | AsyncEngine]
