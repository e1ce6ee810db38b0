"""Promise 4: after any storm the counters are back at zero and the next request is served."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import anyio
import httpx
import httpx2
import pytest
import trio
import uvloop

from pool_manager import Limits, PoolConfig, PoolManager, PoolOverloaded
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer
from tests.support.hypercorn_server import HypercornServer

Main: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
RUNS = [
    pytest.param(lambda main: asyncio.run(main()), id="asyncio"),
    pytest.param(lambda main: uvloop.run(main()), id="uvloop"),
    pytest.param(trio.run, id="trio"),
]


def assert_quiet(manager: PoolManager) -> None:
    """No request is counted as under way."""
    for pool in manager.stats().pools:
        assert pool.in_flight == 0
        assert pool.waiting == 0


@pytest.mark.parametrize("run", RUNS)
def test_cancelled_before_they_connect(run: Callable[[Main], Any], counting_server: CountingServer) -> None:
    """Case B: two requests cancelled in their first moments do not take the one connection with them."""

    async def main() -> None:
        async with (
            PoolManager(limits=Limits(max_connections=1)) as manager,
            manager.client(httpx.AsyncClient, timeout=httpx.Timeout(5, pool=2)) as client,
        ):
            for ticks in range(12):
                async with anyio.create_task_group() as group:
                    group.start_soon(client.get, counting_server.url)
                    group.start_soon(client.get, counting_server.url)
                    for _ in range(ticks):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                response = await client.get(counting_server.url)
                assert response.status_code == 200
                assert_quiet(manager)

    run(main)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_cancelled_at_random(
    run: Callable[[Main], Any], http2: bool, h2_server: HypercornServer, certificates: Certificates
) -> None:
    """Sixty requests at once, each cancelled at a random moment, five times over."""
    chance = random.Random(20261123)
    config = PoolConfig(verify=certificates.client_context(), http2=http2, trust_env=False)

    async def main() -> None:
        async with (
            PoolManager(config, limits=Limits(max_connections=10)) as manager,
            manager.client(httpx.AsyncClient, base_url=h2_server.url) as client,
        ):

            async def impatient(patience: float) -> None:
                with anyio.move_on_after(patience):
                    await client.get("/slow/20")

            for _ in range(5):
                async with anyio.create_task_group() as group:
                    for _ in range(60):
                        group.start_soon(impatient, chance.random() * 0.08)
                assert_quiet(manager)
                assert (await client.get("/echo")).status_code == 200

    run(main)


@pytest.mark.parametrize("run", RUNS)
def test_more_streams_cancelled_than_a_connection_allows(
    run: Callable[[Main], Any], h2_server: HypercornServer, certificates: Certificates
) -> None:
    """Case I: 150 cancelled HTTP/2 streams, past the server's limit of 100: the next is served."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)

    async def main() -> None:
        async with (
            PoolManager(config) as manager,
            manager.client(httpx.AsyncClient, base_url=h2_server.url) as client,
        ):
            await client.get("/echo")
            for _ in range(3):
                async with anyio.create_task_group() as group:
                    for _ in range(50):
                        group.start_soon(client.get, "/slow/5000")
                    await anyio.sleep(0.05)  # some are sent, some are not: both kinds are wanted
                    group.cancel_scope.cancel()
            assert (await client.get("/echo")).status_code == 200
            assert_quiet(manager)

    run(main)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_timeouts_in_threads(library: Any, counting_server: CountingServer) -> None:
    """Two hundred requests of twenty threads that time out: nothing stays taken, the next is served."""
    with (
        PoolManager(limits=Limits(max_connections=5)) as manager,
        manager.client(library.Client, timeout=0.02) as client,
        concurrent.futures.ThreadPoolExecutor(20) as threads,
    ):
        counting_server.hold()

        def get(_: int) -> str:
            try:
                client.get(counting_server.url)
            except library.TimeoutException as error:
                return type(error).__name__
            return "answered"

        outcomes = set(threads.map(get, range(200)))
        assert outcomes <= {"PoolTimeout", "ConnectTimeout", "ReadTimeout", "WriteTimeout"}
        counting_server.release()
        assert_quiet(manager)
        assert client.get(counting_server.url, timeout=5).status_code == 200


def test_faults_of_the_server(counting_server: CountingServer) -> None:
    """Connections closed instead of an answer, or half-way through one: one error, and it serves on."""
    with PoolManager() as manager, manager.client() as client:
        for close in ("instead", "halfway"):
            counting_server.respond = lambda _, close=close: Answer(close=close)  # type: ignore[misc]
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(counting_server.url)
            counting_server.respond = lambda _: Answer()
            assert client.get(counting_server.url).status_code == 200
        assert_quiet(manager)
        assert manager.stats().pools[0].failed >= 1


def test_nothing_listens() -> None:
    """A refused connection is the library's ConnectError, and counted as a failed dial."""
    with PoolManager() as manager, manager.client() as client:
        with pytest.raises(httpx.ConnectError):
            client.get("http://127.0.0.1:9")
        assert manager.stats().pools[0].dials_failed == 1
        assert_quiet(manager)


def test_too_many_waiting_are_turned_away_at_once(counting_server: CountingServer) -> None:
    """Past `max_pending` a request fails at once, as the library's PoolTimeout; others are served."""

    async def main() -> None:
        async with (
            PoolManager(limits=Limits(max_connections=1, max_pending=3)) as manager,
            manager.client(httpx.AsyncClient) as client,
        ):
            counting_server.hold()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.get(counting_server.url))]
                await asyncio.to_thread(counting_server.wait_for, lambda server: server.processed("GET") == 1)
                tasks += [group.create_task(client.get(counting_server.url)) for _ in range(3)]
                while manager.stats().pools[0].waiting < 3:
                    await asyncio.sleep(0)
                with pytest.raises(PoolOverloaded) as caught:
                    await client.get(counting_server.url)
                assert isinstance(caught.value, httpx.PoolTimeout)
                counting_server.release()
            assert [200] * 4 == [task.result().status_code for task in tasks]

    asyncio.run(main())


def test_case_f_many_threads_on_one_connection(
    h2_server: HypercornServer, certificates: Certificates
) -> None:
    """Case F: fifty threads on one HTTP/2 connection; a thousand answers, each to who asked for it."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with (
        PoolManager(config) as manager,
        manager.client(base_url=h2_server.url, timeout=30) as client,
        concurrent.futures.ThreadPoolExecutor(50) as threads,
    ):
        lengths = list(threads.map(lambda size: len(client.get(f"/bytes/{size}").content), range(1000)))
    assert lengths == list(range(1000))
    assert h2_server.seen().connections == 1


def test_threads_that_upload_at_once_over_http2(
    h2_server: HypercornServer, certificates: Certificates
) -> None:
    """Twelve threads send three megabytes each on one HTTP/2 connection, four times: all arrive whole."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    bodies = [bytes([number]) * 3_000_000 for number in range(48)]
    with (
        PoolManager(config) as manager,
        manager.client(base_url=h2_server.url, timeout=30) as client,
        concurrent.futures.ThreadPoolExecutor(12) as threads,
    ):
        answers = list(threads.map(lambda body: client.post("/echo", content=body).json(), bodies))
    assert [answer["body_sha256"] for answer in answers] == [
        hashlib.sha256(body).hexdigest() for body in bodies
    ]
    assert h2_server.seen().connections == 1
