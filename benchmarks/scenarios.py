"""
What is done, and with whom. Each scenario gives numbers by the names in `METRICS`.

Not measured here: trio.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TypeAlias

import attrs

from benchmarks import sdks, threads
from benchmarks.contenders import CONTENDERS, Opened, Terms
from benchmarks.driving import Effort, Window, described, drive
from benchmarks.servers import LONG, MIB, TRANSFERS, Address
from pool_manager import Lane

BURST = 500  # requests at once on a cold pool
CAP = 30.0  # seconds for what is bounded by number; what is out by then has failed
POLLS, SHORT_CALLS = 300, 200
POLL_MS = 2000
ALONE = 400  # short calls with nothing beside them
HARDLY_MS = 100
HEAD_START = 0.3  # seconds: the polls are out before the first short call
PACE = 0.005  # seconds from one short call to the next
IDLE = 1000
IDLE_MS = 3000  # so long are they held that no connection carries two
WAITERS, SERVED = 2000, 20  # requests that wait, connections they wait for
MANY = 1000  # rounds: as many as are asked for

HTTP1 = ("httpx", "httpx2", "httpx-aiohttp", "httpx2-aiohttp", "aiohttp", "pool+httpx", "pool+httpx2")
HTTP2 = ("httpx", "httpx2", "pool+httpx", "pool+httpx2")
FLOORS = ("floor+httpx", "floor+httpx2")
THREADS1 = ("httpx", "httpx2", "urllib3", "requests", "niquests", "pool+httpx", "pool+httpx2")
THREADS2 = ("httpx", "httpx2", "niquests", "pool+httpx", "pool+httpx2")


@attrs.frozen
class Metric:
    """
    A number, and how people read it.

    Attributes:
        label: What it is.

        unit: What follows it.

        digits: After the point.
    """

    label: str
    unit: str = ""
    digits: int = 0


METRICS = {
    "rate": Metric("requests/s"),
    "mib_s": Metric("MiB/s"),
    "wall_s": Metric("wall time", "s", 2),
    "short_p99_ms": Metric("short calls p99", "ms", 1),
    "short_p50_ms": Metric("short calls p50", "ms", 1),
    "p99_ratio": Metric("p99, with to without", "", 2),
    "short_p99_alone_ms": Metric("p99 without", "ms", 1),
    "cpu_us": Metric("CPU/request", "us"),
    "cpu_us_alone": Metric("CPU/request without", "us"),
    "cpu_ratio": Metric("CPU, with to without", "", 2),
    "cpu_ms_mib": Metric("CPU/MiB", "ms", 2),
    "cpu_s": Metric("CPU", "s", 2),
    "make_ms": Metric("making the clients", "ms", 1),
    "off_core": Metric("kept off its core", "%"),
    "starved": Metric("starved"),
    "connections": Metric("connections"),
    "failed": Metric("failed"),
}


@attrs.frozen(kw_only=True)
class Arena:
    """
    Where one contender shows what it can do.

    Attributes:
        contender: Its name.

        address: Of the server.

        effort: How long to measure.

        http2: Which protocol this is about.

        tls: Whether over TLS; HTTP/2 always is.

        causes: Of failures, to be shown beside the numbers.
    """

    contender: str
    address: Address
    effort: Effort
    http2: bool
    tls: bool
    causes: Counter[str] = attrs.field(factory=Counter)

    def url(self, path: str = "/") -> str:
        """Give the address of something on the server."""
        return (self.address.tls if self.tls else self.address.plain) + path

    def open(self, *, connections: int | None = None, lanes: Sequence[Lane] = ()) -> Opened:
        """Make the contender's client; see `Terms`."""
        return CONTENDERS[self.contender].make(self.terms(connections, lanes))

    def terms(self, connections: int | None = None, lanes: Sequence[Lane] = ()) -> Terms:
        """Say what is asked of a client."""
        tls = ssl.create_default_context(cafile=self.address.ca_file) if self.tls else None
        return Terms(http2=self.http2, tls=tls, connections=connections, lanes=tuple(lanes))

    def count(self, window: Window) -> float:
        """Keep the causes of a window's failures; give their number."""
        self.causes.update(window.causes)
        return window.failed


Ask: TypeAlias = Callable[[], Awaitable[object]]
Numbers: TypeAlias = Mapping[str, float]


@attrs.frozen(kw_only=True)
class Scenario:
    """
    Something to be done.

    Attributes:
        name: For ``--only``.

        title: For people.

        contenders: Who takes part.

        metrics: What is looked at, the headline first.

        run: Does it.

        http2: Which protocol it is about.

        tls: Whether over TLS.

        rounds: At most so many: it takes long and varies little.

        in_threads: Its contenders are those of `threads`.
    """

    name: str
    title: str
    contenders: Sequence[str]
    metrics: Sequence[str]
    run: Callable[[Arena], Coroutine[object, object, Numbers]]
    http2: bool = False
    tls: bool = False
    rounds: int = 3
    in_threads: bool = False


async def get_many(arena: Arena, in_flight: int) -> Numbers:
    """Small answers, many at once."""
    async with arena.open() as http:
        await _check_version(arena, http.version)
        window = await drive(functools.partial(http.get, arena.url()), in_flight, arena.effort)
    return {
        "rate": window.rate,
        "cpu_us": window.cpu_us,
        "off_core": window.off_core,
        "failed": arena.count(window),
    }


async def get_in_threads(arena: Arena, count: int) -> Numbers:
    """Small answers, many threads at once; the loop has nothing to do meanwhile."""
    with threads.CONTENDERS[arena.contender].open(arena.terms()) as get:
        _check(arena, get(arena.url()))
        window = threads.drive(get, arena.url(), count, arena.effort)
    return {
        "rate": window.rate,
        "cpu_us": window.cpu_us,
        "off_core": window.off_core,
        "failed": arena.count(window),
    }


async def _check_version(arena: Arena, version: Callable[[str], Awaitable[str]]) -> None:
    """See that what is measured is what it is called."""
    _check(arena, await version(arena.url()))


def _check(arena: Arena, spoken: str) -> None:
    wanted = "HTTP/2" if arena.http2 else "HTTP/1.1"
    if spoken != wanted:
        raise RuntimeError(f"{arena.contender} speaks {spoken} where {wanted} is measured")


async def download(arena: Arena) -> Numbers:
    """Long answers, one after another."""
    async with arena.open() as http:
        await _check_version(arena, http.version)
        window = await drive(functools.partial(http.get, arena.url("/long")), 1, arena.effort)
    return _per_mib(arena, window)


async def upload(arena: Arena) -> Numbers:
    """Long bodies, one after another."""
    body = bytes(range(256)) * (LONG // 256)
    async with arena.open() as http:
        await _check_version(arena, http.version)
        window = await drive(functools.partial(http.post, arena.url("/sink"), body), 1, arena.effort)
    return _per_mib(arena, window)


def _per_mib(arena: Arena, window: Window) -> Numbers:
    mib = LONG / MIB
    return {
        "mib_s": mib * window.rate,
        "cpu_ms_mib": window.cpu_us / 1000 / mib,
        "off_core": window.off_core,
        "failed": arena.count(window),
    }


async def burst(arena: Arena) -> Numbers:
    """All at once on a client that has no connection yet."""
    count = _fewer(BURST, arena.effort)
    async with arena.open() as http:
        wall, cpu = time.perf_counter(), time.process_time()
        failed = await _all_at_once(arena, [functools.partial(http.get, arena.url())] * count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall, "cpu_us": 1e6 * cpu / count, "failed": failed}


def _fewer(count: int, effort: Effort) -> int:
    """Give *count*, or less where all is to be over soon."""
    return count if effort.answers is None else min(count, int(effort.answers))


async def _all_at_once(arena: Arena, asks: Sequence[Ask]) -> int:
    """Give how many failed."""
    before = arena.causes.total()

    async def one(ask: Ask) -> None:
        try:
            await ask()
        except Exception as error:  # noqa: BLE001 - each library has errors of its own; all are counted and shown
            arena.causes[described(error)] += 1

    _, late = await asyncio.wait([asyncio.create_task(one(ask)) for ask in asks], timeout=CAP)
    for task in late:
        task.cancel()
    if late:
        arena.causes[f"no answer in {CAP:.0f} s"] += len(late)
        await asyncio.wait(late, timeout=CAP)
    return arena.causes.total() - before


async def many_sdk_clients(arena: Arena) -> Numbers:
    """Clients of an SDK, each with requests of its own, all at once."""
    count = _fewer(sdks.CLIENTS, arena.effort)
    async with sdks.opened(arena.contender, arena.url("/v1"), count) as (clients, made):
        asks = [functools.partial(sdks.ask, client) for client in clients] * sdks.REQUESTS
        gc.collect()  # of the making
        wall, cpu = time.perf_counter(), time.process_time()
        failed = await _all_at_once(arena, asks)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall, "cpu_s": cpu, "make_ms": 1000 * made, "failed": failed}


def _held(milliseconds: int, effort: Effort) -> int:
    """Give how long to hold a request, or little where all is to be over soon."""
    return milliseconds if effort.answers is None else min(milliseconds, HARDLY_MS)


async def short_calls_beside_polls(arena: Arena) -> Numbers:
    """
    Long polls, and short calls that should not notice them.

    A short call counts from when it was due, so that a late start is no excuse.
    Over HTTP/1.1 the pool has a lane for polls; on HTTP/2 nobody is told anything.
    """
    polls, calls = _fewer(POLLS, arena.effort), _fewer(SHORT_CALLS, arena.effort)
    lanes = () if arena.http2 else (Lane("polls", paths=("/hold",), max_connections_per_origin=POLLS),)
    waits: list[float] = []
    async with arena.open(lanes=lanes) as http:
        await _check_version(arena, http.version)
        first = time.perf_counter() + HEAD_START

        async def call(number: int) -> None:
            due = first + number * PACE
            await asyncio.sleep(due - time.perf_counter())
            await http.get(arena.url())
            waits.append(time.perf_counter() - due)

        poll: Ask = functools.partial(http.get, arena.url(f"/hold?{_held(POLL_MS, arena.effort)}"))
        asks: list[Ask] = [functools.partial(call, number) for number in range(calls)]
        wall, cpu = time.perf_counter(), time.process_time()
        failed = await _all_at_once(arena, [poll] * polls + asks)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "short_p99_ms": 1000 * _quantile(waits, 0.99),
        "short_p50_ms": 1000 * _quantile(waits, 0.5),
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
    polls, calls = _fewer(POLLS, arena.effort), _fewer(ALONE, arena.effort)
    lanes = (Lane.long_poll(paths=("/hold",), max_in_flight=POLLS), Lane.transfer(paths=(huge,)))
    async with arena.open(lanes=lanes, connections=BURST) as http:
        await _check_version(arena, http.version)
        short: Ask = functools.partial(http.get, arena.url())
        alone = await _paced(short, calls)
        held = _held(POLL_MS, arena.effort)
        over = asyncio.Event()

        async def again_and_again(ask: Ask) -> None:
            while not over.is_set():
                await ask()

        async def poll(number: int) -> None:
            # The first is shorter: they begin together, and are to end one by one.
            await http.get(arena.url(f"/hold?{held * (number + 1) // polls}"))
            await again_and_again(functools.partial(http.get, arena.url(f"/hold?{held}")))

        others = [asyncio.create_task(poll(number)) for number in range(polls)]
        pours: Ask = functools.partial(http.pour, arena.url(huge))
        places = [asyncio.create_task(again_and_again(pours)) for _ in range(_fewer(TRANSFERS, arena.effort))]
        await asyncio.sleep(HEAD_START)
        beside = await _paced(short, calls)
        over.set()
        ended = await asyncio.gather(*places, *others, return_exceptions=True)
    failed = [described(end) for end in ended if isinstance(end, Exception)]
    arena.causes.update(failed)
    return {
        "p99_ratio": _quantile(beside, 0.99) / _quantile(alone, 0.99),
        "short_p99_ms": 1000 * _quantile(beside, 0.99),
        "short_p99_alone_ms": 1000 * _quantile(alone, 0.99),
        "short_p50_ms": 1000 * _quantile(beside, 0.5),
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


def _quantile(waits: Sequence[float], share: float) -> float:
    """Say how long that share of them took at most; of none, nothing is known."""
    return sorted(waits)[math.ceil(share * len(waits)) - 1] if waits else math.nan


async def beside_idle_connections(arena: Arena) -> Numbers:
    """One request at a time, first with one connection, then with many that do nothing."""
    idle = _fewer(IDLE, arena.effort)
    async with arena.open(connections=IDLE) as http:
        await _check_version(arena, http.version)
        ask = functools.partial(http.get, arena.url())
        alone = await drive(ask, 1, arena.effort)
        hold: Ask = functools.partial(http.get, arena.url(f"/hold?{_held(IDLE_MS, arena.effort)}"))
        failed = await _all_at_once(arena, [hold] * idle)
        beside = await drive(ask, 1, arena.effort)
    return _compared(alone, beside, failed + arena.count(alone) + arena.count(beside))


async def beside_waiters(arena: Arena) -> Numbers:
    """As many requests as connections; then far more, so that most wait."""
    waiters = _fewer(WAITERS, arena.effort)
    async with arena.open(connections=SERVED) as http:
        await _check_version(arena, http.version)
        ask = functools.partial(http.get, arena.url())
        alone = await drive(ask, SERVED, arena.effort)
        beside = await drive(ask, SERVED + waiters, arena.effort)
    numbers = _compared(alone, beside, arena.count(alone) + arena.count(beside))
    return {**numbers, "starved": beside.starved}


def _compared(alone: Window, beside: Window, failed: float) -> Numbers:
    return {
        "rate": beside.rate,
        "cpu_ratio": beside.cpu_us / alone.cpu_us,
        "cpu_us": beside.cpu_us,
        "cpu_us_alone": alone.cpu_us,
        "failed": failed,
    }


def _scenarios() -> list[Scenario]:
    small = ("rate", "cpu_us", "off_core", "connections", "failed")
    long = ("mib_s", "cpu_ms_mib", "off_core", "failed")
    cold = ("wall_s", "cpu_us", "connections", "failed")
    polls = ("short_p99_ms", "short_p50_ms", "wall_s", "connections", "failed")
    lanes = ("p99_ratio", "short_p99_ms", "short_p99_alone_ms", "short_p50_ms", "connections", "failed")
    found: list[Scenario] = []
    for http2, name, spoken, who in ((False, "h1", "HTTP/1.1", HTTP1), (True, "h2", "HTTP/2", HTTP2)):
        add = functools.partial(Scenario, http2=http2, contenders=who)
        found += [
            add(
                name=f"{name}-c{in_flight}",
                title=f"{spoken}, {in_flight} at once",
                contenders=(*who, *FLOORS),
                metrics=small,
                run=functools.partial(get_many, in_flight=in_flight),
                tls=http2,
                rounds=MANY,
            )
            for in_flight in (1, 20, 200)
        ]
        found += [
            add(
                name=f"threads-{name}-{count}",
                title=f"{spoken}, {count} threads" if count > 1 else f"{spoken}, 1 thread",
                contenders=(*(THREADS2 if http2 else THREADS1), *FLOORS),
                metrics=small,
                run=functools.partial(get_in_threads, count=count),
                tls=http2,
                rounds=MANY,
                in_threads=True,
            )
            for count in (1, 20, 100)
        ]
        found += [
            add(name=f"down-{name}", title=f"{spoken}, 16 MiB down", metrics=long, run=download, tls=http2),
            add(name=f"up-{name}", title=f"{spoken}, 16 MiB up", metrics=long, run=upload, tls=http2),
            add(
                name=f"burst-{name}",
                title=f"{spoken}, TLS, {BURST} requests at once, no connection yet",
                metrics=cold,
                run=burst,
                tls=True,
            ),
            add(
                name=f"polls-{name}",
                title=f"{spoken}, {SHORT_CALLS} short calls beside {POLLS} polls of {POLL_MS // 1000} s",
                metrics=polls,
                run=short_calls_beside_polls,
                tls=http2,
            ),
        ]
        found += [
            add(
                name=f"lanes-{place}-{name}" if place else f"lanes-{name}",
                title=f"{spoken}, short calls with {POLLS} polls and {TRANSFERS} x 100 MB {how}, and without",
                contenders=[one for one in who if one.startswith("pool+")],
                metrics=lanes,
                run=functools.partial(short_calls_beside_all, huge=huge),
                tls=http2,
            )
            for place, huge, how in (("", "/huge", "flat out"), ("line", "/line/huge", "over 1 Gbit/s"))
        ]
    sdk = Scenario(
        name="sdk",
        title=f"{sdks.CLIENTS} openai clients, {sdks.REQUESTS} requests each, all at once",
        contenders=sdks.CONTENDERS,
        metrics=("wall_s", "make_ms", "cpu_s", "connections", "failed"),
        run=many_sdk_clients,
        http2=True,
        tls=True,
    )
    idle = Scenario(
        name="idle",
        title=f"HTTP/1.1, 1 at once, with {IDLE:,} idle connections and without",
        contenders=HTTP1,
        metrics=("cpu_ratio", "cpu_us", "cpu_us_alone", "rate", "connections", "failed"),
        run=beside_idle_connections,
    )
    waiters = Scenario(
        name="waiters",
        title=f"HTTP/1.1, {SERVED} connections, with {WAITERS:,} waiters and without",
        contenders=HTTP1,
        metrics=("cpu_ratio", "cpu_us", "cpu_us_alone", "rate", "starved", "failed"),
        run=beside_waiters,
    )
    return [*found, sdk, idle, waiters]


SCENARIOS = {scenario.name: scenario for scenario in _scenarios()}
