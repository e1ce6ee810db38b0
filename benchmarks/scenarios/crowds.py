"""Many at once from nothing: a storm on a cold pool, and clients of SDKs that all begin together."""

from __future__ import annotations

import functools
import gc
import importlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import attrs

from benchmarks.contenders import CONTENDERS, HTTP1, HTTP2
from benchmarks.footprint import memory
from benchmarks.peers import chosen
from benchmarks.scenarios.arena import Arena, Ask, Numbers, Scenario, spoken
from benchmarks.sdks import SDKS
from benchmarks.servers import MIB
from pool_manager import PoolManager

BURST = 500  # requests at once on a cold pool
CLIENTS, REQUESTS = 50, 20


async def burst(arena: Arena) -> Numbers:
    """All at once on a client that has no connection yet."""
    count = arena.fewer(BURST)
    async with arena.open() as http:
        wall, cpu = time.perf_counter(), time.process_time()
        failed = await arena.all_at_once([functools.partial(http.get, arena.url())] * count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall, "cpu_us": 1e6 * cpu / count, "failed": failed}


@attrs.frozen(kw_only=True)
class Crowd:
    """
    Clients of SDKs, which trust what ``SSL_CERT_FILE`` says.

    Attributes:
        sdks: Whose, in turn.

        pooled: Whether they are on a pool.
    """

    sdks: Sequence[str]
    pooled: bool

    @property
    def available(self) -> bool:
        """Whether those SDKs are installed."""
        return all(SDKS[name].available for name in self.sdks)

    @asynccontextmanager
    async def made(self, url: str, count: int) -> AsyncIterator[Sequence[Ask]]:
        """Make so many clients; give what each of them asks."""
        kinds = [SDKS[name] for name in self.sdks]
        async with AsyncExitStack() as stack:
            manager = await stack.enter_async_context(PoolManager()) if self.pooled else None
            makers = [(kind, kind.maker(manager, url=url)) for kind in kinds]
            asks: list[Ask] = []
            for kind, make in itertools.islice(itertools.cycle(makers), count):
                client = await stack.enter_async_context(make())
                asks.append(functools.partial(kind.ask, client))
            yield asks


CROWDS = {
    "openai": Crowd(sdks=("openai",), pooled=False),
    "pool+openai": Crowd(sdks=("openai",), pooled=True),
    "sdks": Crowd(sdks=tuple(SDKS), pooled=False),
    "pool+sdks": Crowd(sdks=tuple(SDKS), pooled=True),
}


async def many_sdk_clients(arena: Arena) -> Numbers:
    """Clients of SDKs, each with requests of its own, all at once."""
    crowd = CROWDS[arena.contender]
    _import_what_comes_late(crowd)
    grown, made = memory(), time.perf_counter()
    async with crowd.made(arena.url(""), arena.fewer(CLIENTS)) as asks:
        made = time.perf_counter() - made
        gc.collect()  # of the making
        wall, cpu = time.perf_counter(), time.process_time()
        failed = await arena.all_at_once([*asks] * REQUESTS)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        grown = memory() - grown
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "make_ms": 1000 * made,
        "memory_mib": grown / MIB,
        "failed": failed,
    }


def _import_what_comes_late(crowd: Crowd) -> None:
    """Modules are no part of what clients cost, neither in time nor in memory."""
    for name in ("httpcore", "httpcore2", "h2.connection", *(SDKS[name].module for name in crowd.sdks)):
        with suppress(ImportError):
            importlib.import_module(name)


def storms(*, http2: bool) -> list[Scenario]:
    """500 requests at once, no connection yet."""
    return [
        Scenario(
            name=f"burst-{'h2' if http2 else 'h1'}",
            title=f"{spoken(http2)}, TLS, {BURST} requests at once, no connection yet",
            contenders=chosen(CONTENDERS, *(HTTP2 if http2 else HTTP1)),
            metrics=("wall_s", "cpu_us", "connections", "failed"),
            run=burst,
            http2=http2,
            tls=True,
        )
    ]


def of_sdks() -> list[Scenario]:
    """50 clients, of one SDK and of four."""
    return [
        Scenario(
            name=name,
            title=f"{CLIENTS} clients of {whose}, {REQUESTS} requests each at once",
            contenders=chosen(CROWDS, *who),
            metrics=("wall_s", "make_ms", "memory_mib", "cpu_s", "connections", "failed"),
            run=many_sdk_clients,
            http2=True,
            tls=True,
        )
        for name, whose, who in (
            ("sdk", "openai", ("openai", "pool+openai")),
            ("sdks", "openai, anthropic, groq and runloop", ("sdks", "pool+sdks")),
        )
    ]
