"""Promise 5: a forked child never touches its parent's connections, and both go on working."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio

from pool_manager import PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.counting_server import CountingServer
from tests.support.hypercorn_server import HypercornServer
from tests.support.payload import PAYLOAD
from tests.support.proxy_server import ProxyServer


def in_child(work: Callable[[], bool]) -> bool:
    """Fork, do *work* in the child, and give whether it said yes there; its errors are printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 2
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_starts_with_no_pool_and_makes_its_own(counting_server: CountingServer) -> None:
    """The child has no pool at first and makes connections of its own; the parent's lives on."""
    with PoolManager() as manager, manager.client() as client:
        client.get(counting_server.url)

        def work() -> bool:
            empty = manager.stats().pools == ()
            answered = client.get(counting_server.url).status_code == 200
            client.close()
            return empty and answered

        assert in_child(work)
        assert counting_server.connections == 2
        client.get(counting_server.url)
        assert counting_server.connections == 2
        assert [1, 2, 1] == [request.connection for request in counting_server.requests]


def test_the_child_does_not_hold_the_parents_sockets_open(counting_server: CountingServer) -> None:
    """When the parent closes, the server sees it at once, though the child is still there."""
    read, write = os.pipe()
    with PoolManager() as manager, manager.client() as client:
        client.get(counting_server.url)
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)  # until the parent is done
            os._exit(0)
    # The child lives, the parent's pool is closed.
    try:
        counting_server.wait_for(lambda server: server.open_connections() == 0)
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "by-proxy"])
@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_a_fork_within_a_run(  # noqa: PLR0917 - parameters and fixtures
    run: Callable[[Any], None],
    version: str,
    by_proxy: bool,
    proxy: ProxyServer,
    certificates: Certificates,
    request: pytest.FixtureRequest,
) -> None:
    """An answer that was open goes on, and its TLS connection is used again: no byte of the child's came."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(
        verify=certificates.client_context(), trust_env=False, proxy=proxy.url if by_proxy else None
    )
    with PoolManager(config) as manager:
        client = manager.client(httpx.AsyncClient, base_url=server.url)

        def work() -> bool:
            with manager.client(base_url=server.url) as own:
                answered = own.get("/").status_code == 200
            manager.close()
            gc.collect()
            return answered

        async def main() -> None:
            async with client.stream("GET", "/payload") as answer:
                parts = answer.aiter_raw()
                body = await anext(parts)
                assert in_child(work)
                body += b"".join([part async for part in parts])
            assert body == PAYLOAD
            again = await client.get("/")
            assert again.extensions["pool_manager"].reused
            await client.aclose()

        run(main if run is trio.run else main())
    assert server.seen().connections == 2


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_tls_sessions_survive_a_fork(
    http2: bool, h2_server: HypercornServer, certificates: Certificates
) -> None:
    """A TLS connection of the parent's goes on after a child has lived, worked and died."""
    config = PoolConfig(verify=certificates.client_context(), http2=http2, trust_env=False)
    with PoolManager(config) as manager, manager.client(base_url=h2_server.url) as client:
        client.get("/echo")

        def work() -> bool:
            lengths = [len(client.get(f"/bytes/{n}").content) for n in range(5)]
            client.close()
            return lengths == [0, 1, 2, 3, 4]

        assert in_child(work)
        response = client.get("/echo")
        assert response.extensions["pool_manager"].reused
        assert h2_server.seen().connections == 2


def test_fork_from_inside_a_loop(counting_server: CountingServer) -> None:
    """A child forked while a loop runs may run a loop of its own, and the parent's loop does not notice."""
    with PoolManager() as manager:
        client = manager.client(httpx.AsyncClient)

        async def get() -> bool:
            return (await client.get(counting_server.url)).status_code == 200

        async def main() -> None:
            assert await get()

            def work() -> bool:
                asyncio.events._set_running_loop(None)  # noqa: SLF001 - what a forked worker does, multiprocessing too
                asyncio.set_event_loop(None)
                return asyncio.run(get())

            assert in_child(work)
            assert await get()

        asyncio.run(main())
        assert [1, 2, 1] == [request.connection for request in counting_server.requests]
        asyncio.run(client.aclose())


def test_a_child_may_close_what_it_inherited(counting_server: CountingServer) -> None:
    """A response that was open at the fork is closed in the child without upsetting the child's counts."""
    with PoolManager() as manager, manager.client() as client:
        response = client.send(client.build_request("GET", counting_server.url), stream=True)

        def work() -> bool:
            response.close()
            answered = client.get(counting_server.url).status_code == 200
            (pool,) = manager.stats().pools
            client.close()
            return answered and pool.in_flight == 0 and manager._registry.holdings.in_flight == 0  # noqa: SLF001

        assert in_child(work)
        assert response.read() == b'{"ok": true}'
