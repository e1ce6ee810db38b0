"""What a client costs to make, and to have: time, heap, memory and sockets."""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import statistics
import time
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs

from benchmarks.contenders import CONTENDERS, HTTP1, HTTP2
from benchmarks.footprint import memory, sockets
from benchmarks.peers import chosen, come, is_there
from benchmarks.scenarios.arena import Arena, Numbers, Scenario, spoken
from benchmarks.sdks import SDKS, Sdk
from pool_manager import PoolManager

KEPT = 50  # clients that are had at once
USUAL, POOLED = 20, 200  # clients that are made: the usual ones take 20-40 ms each
WARM = 3


@attrs.frozen
class Library:
    """
    How clients of a library are made.

    Attributes:
        module: Where they are.

        in_threads: The class for threads.

        on_asyncio: The one for asyncio.
    """

    module: str
    in_threads: str | None
    on_asyncio: str | None

    @property
    def available(self) -> bool:
        """Whether it is installed."""
        return is_there(self.module.partition(".")[0])

    def maker(self, manager: PoolManager | None, *, in_threads: bool) -> Callable[[], Any]:
        """Say how a client is made: the usual way, or on *manager*."""
        come(self.module.partition(".")[0])
        name = self.in_threads if in_threads else self.on_asyncio
        factory = getattr(importlib.import_module(self.module), str(name))
        if str(name).endswith("Builder"):
            return lambda: factory().build()
        return factory if manager is None else functools.partial(manager.client, factory)


LIBRARIES = {
    "httpx": Library("httpx", "Client", "AsyncClient"),
    "httpx2": Library("httpx2", "Client", "AsyncClient"),
    "httpx-aiohttp": Library("httpx_aiohttp", None, "HttpxAiohttpClient"),
    "aiohttp": Library("aiohttp", None, "ClientSession"),
    "urllib3": Library("urllib3", "PoolManager", None),
    "requests": Library("requests", "Session", None),
    "niquests": Library("niquests", "Session", "AsyncSession"),
    "pyreqwest": Library("pyreqwest.client", "SyncClientBuilder", "ClientBuilder"),
}
SHARED = ("httpx", "httpx2", *SDKS)
KINDS: dict[str, Library | Sdk] = {**LIBRARIES, **SDKS}
KINDS |= {f"pool+{name}": KINDS[name] for name in SHARED}
THREADED = (
    *("httpx", "httpx2", "urllib3", "requests", "niquests", "pyreqwest", "openai"),
    *("pool+httpx", "pool+httpx2", "pool+openai"),
)


async def make_clients(arena: Arena, *, in_threads: bool) -> Numbers:
    """Make clients one after another; those of a pool share one that somebody else has, too."""
    pooled = arena.contender.startswith("pool+")
    count = arena.fewer(POOLED if pooled else USUAL)
    async with PoolManager() as manager:
        make = KINDS[arena.contender].maker(manager if pooled else None, in_threads=in_threads)
        return {
            "make_us": 1e6 * await _seconds(make, count),
            "heap_kib": await _heap(make, count) / 1024,
        }


async def _seconds(make: Callable[[], Any], count: int) -> float:
    """Give the median time to make one, with the collector off."""
    kept, times = [make() for _ in range(WARM)], []
    gc.collect()
    gc.disable()
    try:
        for _ in range(count):
            begun = time.perf_counter()
            kept.append(make())
            times.append(time.perf_counter() - begun)
    finally:
        gc.enable()
    for client in kept:
        await _close(client)
    return statistics.median(times)


async def _heap(make: Callable[[], Any], count: int) -> float:
    """Give the bytes that one keeps, on average, as `tracemalloc` sees it: without what OpenSSL takes."""
    kept = [make()]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept += [make() for _ in range(count)]
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for client in kept:
        await _close(client)
    return (after - before) / count


async def _close(client: Any) -> None:
    """Close a client of any library."""
    names = (name for name in ("aclose", "close", "clear") if hasattr(client, name))
    closing = getattr(client, next(names))()
    if inspect.isawaitable(closing):
        await closing


async def keep_clients(arena: Arena) -> Numbers:
    """Have many clients, each with one answer behind it."""
    async with AsyncExitStack() as stack:
        times: list[float] = []

        async def one() -> None:
            begun = time.perf_counter()
            http = await stack.enter_async_context(arena.open(own_trust=True))
            await http.get(arena.url())
            times.append(time.perf_counter() - begun)

        await one()  # what is imported, and made once, is no client's
        gc.collect()
        before, opened, count = memory(), sockets(), arena.fewer(KEPT)
        failed = sum([await arena.all_at_once([one]) for _ in range(count)])
        gc.collect()
        taken, open_now = memory() - before, sockets()
    return {
        "memory_kib": taken / count / 1024,
        "sockets": (open_now - opened) / count,
        "ready_ms": 1000 * statistics.median(times[1:]),
        "failed": failed,
    }


def making() -> list[Scenario]:
    """Make clients of each kind."""
    return [
        Scenario(
            name=name,
            title=f"Making a client for {where}; some make their TLS context later",
            contenders={kind: KINDS[kind] for kind in kinds},
            metrics=("make_us", "heap_kib"),
            run=functools.partial(make_clients, in_threads=in_threads),
        )
        for name, where, in_threads, kinds in (
            ("make", "asyncio", False, [kind for kind in KINDS if kind not in ("urllib3", "requests")]),
            ("make-threads", "threads", True, THREADED),
        )
    ]


def having(*, http2: bool) -> list[Scenario]:
    """Have clients of each library."""
    return [
        Scenario(
            name=f"clients-{'h2' if http2 else 'h1'}",
            title=f"{spoken(http2)}, TLS, {KEPT} clients of one server, each with one answer behind it",
            contenders=chosen(CONTENDERS, *(HTTP2 if http2 else HTTP1)),
            metrics=("memory_kib", "sockets", "ready_ms", "connections", "failed"),
            run=keep_clients,
            http2=http2,
            tls=True,
        )
    ]
