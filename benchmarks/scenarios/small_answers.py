"""Small answers, many at once: on asyncio, and in threads."""

from __future__ import annotations

import functools

from benchmarks import threads
from benchmarks.contenders import CONTENDERS, FLOORS, HTTP1, HTTP2
from benchmarks.driving import Window, drive
from benchmarks.peers import chosen
from benchmarks.scenarios.arena import ALWAYS, Arena, Numbers, Scenario, spoken

METRICS = ("rate", "cpu_us", "off_core", "connections", "failed")
THREADED = tuple(metric for metric in METRICS if metric != "off_core")  # threads keep each other off it


async def get_many(arena: Arena, in_flight: int) -> Numbers:
    """Keep so many requests in flight."""
    async with arena.open() as http:
        arena.check(await http.version(arena.url()))
        window = await drive(functools.partial(http.get, arena.url()), in_flight, arena.effort)
    return _numbers(arena, window)


async def get_in_threads(arena: Arena, count: int) -> Numbers:
    """Keep so many threads asking; the loop has nothing to do meanwhile."""
    with threads.CONTENDERS[arena.contender].open(arena.terms()) as get:
        arena.check(get(arena.url()))
        window = threads.drive(get, arena.url(), count, arena.effort)
    return _numbers(arena, window)


def _numbers(arena: Arena, window: Window) -> Numbers:
    return {
        "rate": window.rate,
        "cpu_us": window.cpu_us,
        "off_core": window.off_core,
        "failed": arena.count(window),
    }


def on_asyncio(*, http2: bool) -> list[Scenario]:
    """1, 20 and 200 at once."""
    who = HTTP2 if http2 else (*HTTP1[:3], "httpx2-aiohttp", *HTTP1[3:])
    return [
        Scenario(
            name=f"{'h2' if http2 else 'h1'}-c{in_flight}",
            title=f"{spoken(http2)}, {in_flight} at once",
            contenders=chosen(CONTENDERS, *who, *FLOORS),
            metrics=METRICS,
            run=functools.partial(get_many, in_flight=in_flight),
            http2=http2,
            tls=http2,
            rounds=ALWAYS,
        )
        for in_flight in (1, 20, 200)
    ]


def in_threads(*, http2: bool) -> list[Scenario]:
    """1, 20 and 100 threads."""
    who = threads.HTTP2 if http2 else threads.HTTP1
    return [
        Scenario(
            name=f"threads-{'h2' if http2 else 'h1'}-{count}",
            title=f"{spoken(http2)}, {count} thread{'s' if count > 1 else ''}",
            contenders=chosen(threads.CONTENDERS, *who, *FLOORS),
            metrics=THREADED,
            run=functools.partial(get_in_threads, count=count),
            http2=http2,
            tls=http2,
            rounds=ALWAYS,
        )
        for count in (1, 20, 100)
    ]
