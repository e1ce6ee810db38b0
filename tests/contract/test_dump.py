"""A dump says who holds what and who waits, whoever asks for it, and when."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
import trio

from pool_manager import Lane, Limits, PoolConfig, PoolManager
from tests.support.counting_server import Answer, CountingServer

PLAIN = PoolConfig(http2=False, trust_env=False)
LONG = Answer(body=b"x" * 5_000_000)


def dumped(manager: PoolManager) -> list[str]:
    """Give the lines of a dump."""
    file = io.StringIO()
    manager.dump(file)
    return [line.strip() for line in file.getvalue().splitlines()]


@pytest.fixture
def tight() -> Iterator[PoolManager]:
    """Give a manager of one connection, and a lane for one request."""
    lanes = [Lane("narrow", max_in_flight=1)]
    with PoolManager(PLAIN, limits=Limits(max_connections=2), lanes=lanes, name="tight") as manager:
        yield manager


def seen(lines: list[str], *parts: str) -> bool:
    """Tell whether one line has all *parts*."""
    return any(all(part in line for part in parts) for line in lines)


async def crowd(manager: PoolManager, url: str, look: object) -> list[str]:
    """Hold a connection, have others wait, and look."""
    assert callable(look)
    async with manager.client(httpx.AsyncClient, name="hog", base_url=url) as hog:
        holding = {"extensions": {"pool_manager": {"lane": "narrow"}}}
        async with hog.stream("GET", "/held?key=secret", **holding):
            return await look(hog)


def test_it_says_who_holds_and_who_waits(tight: PoolManager, counting_server: CountingServer) -> None:
    """Pools, leases with where they were taken, connections, who holds them, who waits for what; no query."""
    counting_server.respond = lambda _: LONG

    async def look(client: httpx.AsyncClient) -> list[str]:
        lane = {"extensions": {"pool_manager": {"lane": "narrow"}}}
        waiting = asyncio.ensure_future(client.get("/waits?key=secret", **lane))
        await asyncio.sleep(0)
        try:
            return dumped(tight)
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])

    lines = asyncio.run(crowd(tight, counting_server.url, look))
    url = counting_server.url
    assert lines[0] == "manager 'tight': leases: 1 taken, 0 returned, 0 leaked; responses: 0 leaked"
    assert seen(lines, "asyncio pool: connections: 1 open (1 active); requests: 2 in flight, 1 waiting")
    assert seen(lines, "lease 'hog', taken at", __file__)
    assert seen(lines, f"{url}, lane narrow")
    assert seen(lines, "connection 1: active, HTTP/1.1", "requests: 1")
    assert seen(lines, f"held by GET {url}/held of lease 'hog', for ")
    assert seen(lines, f"waiting for the lane: GET {url}/waits of lease 'hog', for ")
    assert not seen(lines, "secret")


def test_it_says_so_of_threads(tight: PoolManager, counting_server: CountingServer) -> None:
    """In threads as in loops: an idle connection is held by nobody, another by its request."""
    counting_server.respond = lambda _: LONG
    with tight.client(httpx.Client, name="hog") as hog:
        hog.get(counting_server.url)
        assert seen(dumped(tight), "connection 1: idle, HTTP/1.1", "requests: 1")
        with hog.stream("GET", f"{counting_server.url}/held"):
            lines = dumped(tight)
    assert seen(lines, "connection 1: active, HTTP/1.1", "requests: 2")
    assert seen(lines, f"held by GET {counting_server.url}/held of lease 'hog', for ")


def test_another_thread_may_ask(tight: PoolManager, counting_server: CountingServer) -> None:
    """Of a run of trio, too."""
    counting_server.respond = lambda _: LONG

    async def look(_: object) -> list[str]:
        return await trio.to_thread.run_sync(dumped, tight)

    lines = trio.run(crowd, tight, counting_server.url, look)
    assert seen(lines, f"held by GET {counting_server.url}/held of lease 'hog', for ")


STRUCK = """
import os, signal, sys
from pool_manager import PoolManager

manager = PoolManager(name="struck")
manager.dump_on(signal.SIGUSR1)
lease = manager.lease(name="mine")
engine = manager._registry
engine.guard.move(os.kill, os.getpid(), signal.SIGUSR1)  # in the middle of a move
sys.stderr.write("goes on\\n")
lease.close()
"""


def test_a_signal_has_it_dumped_wherever_it_strikes() -> None:
    """A handler runs inside whatever its thread does, here under the pool's own lock: nothing hangs."""
    done = subprocess.run(
        [sys.executable, "-c", STRUCK],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr.splitlines()[0].startswith("manager 'struck': leases: 1 taken, 0 returned")
    assert "lease 'mine', taken at <string>:" in done.stderr
    assert done.stderr.endswith("goes on\n")


def test_a_signal_that_is_none_is_refused() -> None:
    """As `signal.signal` would."""
    with PoolManager() as manager, pytest.raises(ValueError, match="signal"):
        manager.dump_on(signal.NSIG + 1)
