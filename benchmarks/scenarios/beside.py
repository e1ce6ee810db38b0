"""Short calls beside long polls and transfers, with lanes and without: who starves?"""

from __future__ import annotations

import asyncio
import functools
import time

from benchmarks.contenders import CONTENDERS, HTTP1, HTTP2, OfHttpx
from benchmarks.driving import described
from benchmarks.peers import chosen
from benchmarks.scenarios.arena import Arena, Ask, Numbers, Scenario, quantile, spoken
from benchmarks.servers import TRANSFERS
from pool_manager import Lane

POLLS, SHORT_CALLS = 300, 200
POLL_MS = 2000
ALONE = 400  # short calls with nothing beside them
HEAD_START = 0.3  # seconds: the polls are out before the first short call
PACE = 0.005  # seconds from one short call to the next
MOST = 500  # connections: enough for all of them at once


async def short_calls_beside_polls(arena: Arena) -> Numbers:
    """
    Long polls, and short calls that should not notice them.

    A short call counts from when it was due, so that a late start is no excuse.
    Over HTTP/1.1 the pool has a lane for polls; on HTTP/2 nobody is told anything.
    """
    polls, calls = arena.fewer(POLLS), arena.fewer(SHORT_CALLS)
    lanes = () if arena.http2 else (Lane("polls", paths=("/hold",), max_connections_per_origin=POLLS),)
    waits: list[float] = []
    async with arena.open(lanes=lanes) as http:
        arena.check(await http.version(arena.url()))
        first = time.perf_counter() + HEAD_START

        async def call(number: int) -> None:
            due = first + number * PACE
            await asyncio.sleep(due - time.perf_counter())
            await http.get(arena.url())
            waits.append(time.perf_counter() - due)

        poll: Ask = functools.partial(http.get, arena.url(f"/hold?{arena.held(POLL_MS)}"))
        asks: list[Ask] = [functools.partial(call, number) for number in range(calls)]
        wall, cpu = time.perf_counter(), time.process_time()
        failed = await arena.all_at_once([poll] * polls + asks)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "short_p99_ms": 1000 * quantile(waits, 0.99),
        "short_p50_ms": 1000 * quantile(waits, 0.5),
        "wall_s": wall,
        "cpu_us": 1e6 * cpu / (polls + calls),
        "failed": failed,
    }


async def short_calls_beside_all(arena: Arena, huge: str) -> Numbers:
    """
    Short calls alone, then beside long polls and transfers.

    Both have lanes, on either protocol: that is what lanes are for. The transfers go on, one after another
    in each of eight places, for as long as short calls are made. Flat out they take all of the server's core
    and of the client's, and no lane can give those back.
    """
    polls, calls = arena.fewer(POLLS), arena.fewer(ALONE)
    lanes = (Lane.long_poll(paths=("/hold",), max_in_flight=POLLS), Lane.transfer(paths=(huge,)))
    async with arena.open(lanes=lanes, connections=MOST) as http:
        assert isinstance(http, OfHttpx)  # nobody else has lanes
        arena.check(await http.version(arena.url()))
        short: Ask = functools.partial(http.get, arena.url())
        alone = await _paced(short, calls)
        held = arena.held(POLL_MS)

        async def again_and_again(ask: Ask) -> None:
            while True:
                await ask()

        async def poll(number: int) -> None:
            # The first is shorter: they begin together, and are to end one by one.
            await http.get(arena.url(f"/hold?{held * (number + 1) // polls}"))
            await again_and_again(functools.partial(http.get, arena.url(f"/hold?{held}")))

        others = [asyncio.create_task(poll(number)) for number in range(polls)]
        pours: Ask = functools.partial(http.pour, arena.url(huge))
        places = [asyncio.create_task(again_and_again(pours)) for _ in range(arena.fewer(TRANSFERS))]
        await asyncio.sleep(HEAD_START)
        beside = await _paced(short, calls)
        for task in (*places, *others):
            task.cancel()  # a transfer over the line takes six seconds to its end
        ended = await asyncio.gather(*places, *others, return_exceptions=True)
    failed = [described(end) for end in ended if isinstance(end, Exception)]
    arena.causes.update(failed)
    return {
        "p99_ratio": quantile(beside, 0.99) / quantile(alone, 0.99),
        "short_p99_ms": 1000 * quantile(beside, 0.99),
        "short_p99_alone_ms": 1000 * quantile(alone, 0.99),
        "short_p50_ms": 1000 * quantile(beside, 0.5),
        "failed": len(failed),
    }


async def _paced(ask: Ask, count: int) -> list[float]:
    """Ask at a steady pace; give the seconds that each took from when it was due."""
    first, waits = time.perf_counter() + PACE, list[float]()

    async def one(number: int) -> None:
        due = first + number * PACE
        await asyncio.sleep(due - time.perf_counter())
        await ask()
        waits.append(time.perf_counter() - due)

    await asyncio.gather(*[one(number) for number in range(count)])
    return waits


def scenarios(*, http2: bool) -> list[Scenario]:
    """Beside polls, everybody; beside polls and transfers, who has lanes."""
    # With the ten connections that niquests keeps, the polls alone would take a minute.
    who = HTTP2 if http2 else (*(name for name in HTTP1 if name != "niquests"), "no-lanes+httpx2")
    add = functools.partial(Scenario, http2=http2, tls=http2)
    name, protocol = "h2" if http2 else "h1", spoken(http2)
    return [
        add(
            name=f"polls-{name}",
            title=f"{protocol}, {SHORT_CALLS} short calls beside {POLLS} polls of {POLL_MS // 1000} s",
            contenders=chosen(CONTENDERS, *who),
            metrics=("short_p99_ms", "short_p50_ms", "wall_s", "connections", "failed"),
            run=short_calls_beside_polls,
        ),
        *(
            add(
                name=f"lanes-{place}-{name}" if place else f"lanes-{name}",
                title=f"{protocol}, short calls with {POLLS} polls, {TRANSFERS} x 100 MB {how}, and without",
                contenders=chosen(CONTENDERS, "pool+httpx", "pool+httpx2"),
                metrics=(
                    *("p99_ratio", "short_p99_ms", "short_p99_alone_ms", "short_p50_ms"),
                    *("connections", "failed"),
                ),
                run=functools.partial(short_calls_beside_all, huge=huge),
            )
            for place, huge, how in (("", "/huge", "flat out"), ("line", "/line/huge", "over 1 Gbit/s"))
        ),
    ]
