"""Long bodies, one after another, down and up."""

from __future__ import annotations

import functools

from benchmarks.contenders import CONTENDERS, HTTP1, HTTP2
from benchmarks.driving import Window, drive
from benchmarks.peers import chosen
from benchmarks.scenarios.arena import Arena, Numbers, Scenario, spoken
from benchmarks.servers import LONG, MIB

METRICS = ("mib_s", "cpu_ms_mib", "off_core", "failed")


async def download(arena: Arena) -> Numbers:
    """Read long answers."""
    async with arena.open() as http:
        arena.check(await http.version(arena.url()))
        window = await drive(functools.partial(http.get, arena.url("/long")), 1, arena.effort)
    return _per_mib(arena, window)


async def upload(arena: Arena) -> Numbers:
    """Send long bodies."""
    body = bytes(range(256)) * (LONG // 256)
    async with arena.open() as http:
        arena.check(await http.version(arena.url()))
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


def scenarios(*, http2: bool) -> list[Scenario]:
    """16 MiB each way."""
    return [
        Scenario(
            name=f"{way}-{'h2' if http2 else 'h1'}",
            title=f"{spoken(http2)}, {LONG // MIB} MiB {way}",
            contenders=chosen(CONTENDERS, *(HTTP2 if http2 else HTTP1)),
            metrics=METRICS,
            run=run,
            http2=http2,
            tls=http2,
        )
        for way, run in (("down", download), ("up", upload))
    ]
