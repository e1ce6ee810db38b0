"""Promises 1 and 2: a pool belongs to its loop, and ends with it, however the loop ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import httpx
import httpx2
import pytest
import trio
import uvloop

from pool_manager import PoolManager
from tests.support.counting_server import CountingServer

Main: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
Run: TypeAlias = Callable[[Main], Any]


def run_asyncio(main: Main) -> Any:
    """Run as most programs do."""
    return asyncio.run(main())


def run_uvloop(main: Main) -> Any:
    """Run on uvloop."""
    return uvloop.run(main())


def run_runner(main: Main) -> Any:
    """Run with `asyncio.Runner`."""
    with asyncio.Runner() as runner:
        return runner.run(main())


def run_by_hand(main: Main) -> Any:
    """Run on a loop made by hand, and closed without `shutdown_asyncgens`."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def run_uvloop_by_hand(main: Main) -> Any:
    """Run on a uvloop made by hand, and closed without `shutdown_asyncgens`."""
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        with warnings.catch_warnings():
            # uvloop says, rightly, that whoever closes it so leaves transports open: that is the case here.
            warnings.simplefilter("ignore", ResourceWarning)
            loop.close()


RUNS = [
    pytest.param(run_asyncio, id="asyncio.run"),
    pytest.param(run_uvloop, id="uvloop.run"),
    pytest.param(run_runner, id="asyncio.Runner"),
    pytest.param(run_by_hand, id="by-hand"),
    pytest.param(run_uvloop_by_hand, id="uvloop-by-hand"),
    pytest.param(trio.run, id="trio.run"),
]
LIBRARIES = [pytest.param(httpx.AsyncClient, id="httpx"), pytest.param(httpx2.AsyncClient, id="httpx2")]


@pytest.mark.parametrize("kind", LIBRARIES)
@pytest.mark.parametrize("run", RUNS)
def test_one_client_serves_twenty_loops(run: Run, kind: Any, counting_server: CountingServer) -> None:
    """One client object through twenty loops: twenty answers, each request processed once, nothing left."""
    with PoolManager() as manager:
        client = manager.client(kind)

        async def post() -> int:
            response = await client.post(counting_server.url, json={"n": 1})
            return int(response.status_code)

        assert [200] * 20 == [run(post) for _ in range(20)]
        assert counting_server.processed("POST") == 20
        assert manager.stats().pools == ()
        counting_server.wait_for(lambda server: server.open_connections() == 0)
        run(client.aclose)


@pytest.mark.parametrize("run", RUNS)
def test_a_finished_loop_is_collected(run: Run, counting_server: CountingServer) -> None:
    """The loop object itself goes, although the client that used it lives on."""
    with PoolManager() as manager:
        client = manager.client(httpx.AsyncClient)
        loops: list[weakref.ref[object]] = []

        async def get() -> None:
            if run is not trio.run:
                loops.append(weakref.ref(asyncio.get_running_loop()))
            else:
                loops.append(weakref.ref(trio.lowlevel.current_trio_token()))
            await client.get(counting_server.url)

        for _ in range(5):
            run(get)
        manager.stats()
        gc.collect()

        assert [None] * 5 == [loop() for loop in loops]
        run(client.aclose)


@pytest.mark.parametrize("run", RUNS)
def test_a_loop_that_ends_with_an_open_response_is_let_go(run: Run, counting_server: CountingServer) -> None:
    """A response left open when its loop ends keeps neither the loop nor the socket."""
    with PoolManager() as manager:
        client = manager.client(httpx.AsyncClient)
        kept: list[httpx.Response] = []

        async def leave_open() -> None:
            kept.append(await client.send(client.build_request("GET", counting_server.url), stream=True))

        run(leave_open)

        assert manager.stats().pools == ()
        counting_server.wait_for(lambda server: server.open_connections() == 0)
        with pytest.warns(ResourceWarning, match="unclosed response to GET"):
            kept.clear()
            gc.collect()
        run(client.aclose)


def test_live_loops_in_threads_never_share_a_connection(counting_server: CountingServer) -> None:
    """Three live loops at once on one client: each answers, each on connections of its own."""
    with PoolManager() as manager:
        client = manager.client(httpx.AsyncClient)
        barrier = threading.Barrier(3)
        used: list[set[tuple[str, int]]] = []

        async def get() -> tuple[str, int]:
            async with client.stream("GET", counting_server.url) as response:
                await response.aread()
                address: tuple[str, int] = response.extensions["network_stream"].get_extra_info("client_addr")
                return address

        async def work() -> None:
            barrier.wait()
            used.append(set(await asyncio.gather(*(get() for _ in range(8)))))

        threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert counting_server.processed("GET") == 24
        assert len(used) == 3
        assert not used[0] & used[1]
        assert not used[1] & used[2]
        assert not used[0] & used[2]
        asyncio.run(client.aclose())


@pytest.mark.parametrize("run", RUNS)
def test_aclose_closes_the_sockets_before_it_returns(run: Run, counting_server: CountingServer) -> None:
    """`await client.aclose()` of the last client awaits the real close."""
    with PoolManager() as manager:

        async def once() -> None:
            client = manager.client(httpx.AsyncClient)
            await client.get(counting_server.url)
            assert counting_server.open_connections() == 1
            await client.aclose()
            assert manager.stats().pools == ()
            counting_server.wait_for(lambda server: server.open_connections() == 0)

        run(once)


def test_closing_from_another_thread_closes_on_the_loop(counting_server: CountingServer) -> None:
    """A transport closed in a thread that is not its loop's gives all back, on the loop, without an error."""
    with PoolManager() as manager:

        async def main() -> None:
            transport = manager.transport()
            async with httpx.AsyncClient(transport=transport) as client:
                await client.get(counting_server.url)
                await asyncio.to_thread(transport.close)
                await asyncio.to_thread(
                    counting_server.wait_for, lambda server: server.open_connections() == 0
                )
                assert manager.stats().pools == ()

        asyncio.run(main())


@pytest.mark.parametrize("run", RUNS)
def test_closing_after_the_loop_is_over_is_quiet(run: Run, counting_server: CountingServer) -> None:
    """A sync close long after the loop has ended: no error, no leak, safe to repeat."""
    with PoolManager() as manager:
        transport = manager.transport()

        async def get() -> None:
            response = await httpx.AsyncClient(transport=transport).get(counting_server.url)
            assert response.status_code == 200

        run(get)
        transport.close()
        transport.close()

        assert manager.stats().leases_taken == manager.stats().leases_returned == 1
        counting_server.wait_for(lambda server: server.open_connections() == 0)


def test_the_same_loop_shares_and_another_does_not(counting_server: CountingServer) -> None:
    """Two clients on one loop are on one connection; the next loop has its own."""
    with PoolManager() as manager:

        async def two() -> None:
            async with (
                manager.client(httpx.AsyncClient) as first,
                manager.client(httpx2.AsyncClient) as second,
            ):
                await first.get(counting_server.url)
                await second.get(counting_server.url)

        asyncio.run(two())
        assert counting_server.connections == 1
        asyncio.run(two())
        assert counting_server.connections == 2


def test_an_unused_lease_does_not_keep_its_loop() -> None:
    """A client made on a loop and never used there lets the loop go."""
    with PoolManager() as manager:
        clients: list[httpx.AsyncClient] = []
        loops: list[weakref.ref[object]] = []

        async def make() -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            clients.append(manager.client(httpx.AsyncClient))

        run_by_hand(make)
        gc.collect()

        assert loops[0]() is None
        assert manager.stats().pools == ()
        asyncio.run(clients[0].aclose())
