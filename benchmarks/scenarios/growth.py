"""What a request costs with many idle connections, or with many that wait, and without."""

from __future__ import annotations

import functools

from benchmarks import threads
from benchmarks.contenders import CONTENDERS, HTTP1
from benchmarks.driving import Window, drive
from benchmarks.peers import chosen
from benchmarks.scenarios.arena import Arena, Ask, Numbers, Scenario

IDLE = 1000
IDLE_MS = 3000  # so long are they held that no connection carries two
WAITERS, SERVED = 2000, 20  # requests that wait, connections they wait for
WAITING_THREADS = 200


async def beside_idle_connections(arena: Arena) -> Numbers:
    """One request at a time, first with one connection, then with many that do nothing."""
    idle = arena.fewer(IDLE)
    async with arena.open(connections=IDLE) as http:
        arena.check(await http.version(arena.url()))
        ask = functools.partial(http.get, arena.url())
        alone = await drive(ask, 1, arena.effort)
        hold: Ask = functools.partial(http.get, arena.url(f"/hold?{arena.held(IDLE_MS)}"))
        failed = await arena.all_at_once([hold] * idle)
        beside = await drive(ask, 1, arena.effort)
    return _compared(alone, beside, failed + arena.count(alone) + arena.count(beside))


async def beside_waiters(arena: Arena) -> Numbers:
    """As many requests as connections; then far more, so that most wait."""
    waiters = arena.fewer(WAITERS)
    async with arena.open(connections=SERVED) as http:
        arena.check(await http.version(arena.url()))
        ask = functools.partial(http.get, arena.url())
        alone = await drive(ask, SERVED, arena.effort)
        beside = await drive(ask, SERVED + waiters, arena.effort)
    numbers = _compared(alone, beside, arena.count(alone) + arena.count(beside))
    return {**numbers, "starved": beside.starved}


async def beside_waiting_threads(arena: Arena) -> Numbers:
    """As many threads as connections; then far more."""
    waiting = arena.fewer(WAITING_THREADS)
    with threads.CONTENDERS[arena.contender].open(arena.terms(connections=SERVED)) as get:
        arena.check(get(arena.url()))
        alone = threads.drive(get, arena.url(), SERVED, arena.effort)
        beside = threads.drive(get, arena.url(), SERVED + waiting, arena.effort)
    return _compared(alone, beside, arena.count(alone) + arena.count(beside))


def _compared(alone: Window, beside: Window, failed: float) -> Numbers:
    return {
        "rate": beside.rate,
        "cpu_ratio": beside.cpu_us / alone.cpu_us,
        "cpu_us": beside.cpu_us,
        "cpu_us_alone": alone.cpu_us,
        "failed": failed,
    }


def scenarios() -> list[Scenario]:
    """All are over HTTP/1.1, where a request needs a connection of its own."""
    compared = ("cpu_ratio", "cpu_us", "cpu_us_alone", "rate")
    return [
        Scenario(
            name="idle",
            title=f"HTTP/1.1, 1 at once, with {IDLE:,} idle connections and without",
            contenders=chosen(CONTENDERS, *HTTP1),
            metrics=(*compared, "connections", "failed"),
            run=beside_idle_connections,
        ),
        Scenario(
            name="waiters",
            title=f"HTTP/1.1, {SERVED} connections, with {WAITERS:,} waiters and without",
            contenders=chosen(CONTENDERS, *HTTP1),
            metrics=(*compared, "starved", "failed"),
            run=beside_waiters,
        ),
        Scenario(
            name="threads-waiters",
            title=f"HTTP/1.1, {SERVED} connections, with {WAITING_THREADS} more threads and without",
            contenders=chosen(threads.CONTENDERS, *threads.HTTP1),
            metrics=(*compared, "connections", "failed"),
            run=beside_waiting_threads,
        ),
    ]
