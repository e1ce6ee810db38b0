"""What trio promises its users, and the pool keeps: clocks of tests, cancel scopes, checkpoints."""

from __future__ import annotations

import contextlib
import gc
import socket
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.counting_server import Answer, CountingServer
from tests.support.listener import Listener, say_http

PLAIN = PoolConfig(http2=False, trust_env=False)
CHUNKED = {"host": "127.0.0.1", "transfer-encoding": "chunked"}


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the URL of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def autojump() -> MockClock:
    """Give a clock that jumps to the next deadline once every task waits."""
    return MockClock(autojump_threshold=0.05)


def system_tasks() -> list[str]:
    """Name the system tasks of this run that are the pool's."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    todo, names = [root], []
    while todo:
        task = todo.pop()
        names.append(task.name)
        todo.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return [name for name in names if name.startswith("pool_manager.")]


def test_a_read_timeout_goes_by_the_clock_of_the_run(silent: str) -> None:
    """A server that says nothing for half an hour: ReadTimeout after 1800 s of a MockClock."""

    async def main() -> None:
        async with PoolManager(PLAIN) as manager, manager.client(httpx.AsyncClient, timeout=1800) as client:
            started = trio.current_time()
            with pytest.raises(httpx.ReadTimeout):
                await client.get(silent)
            assert (
                1800 <= trio.current_time() - started <= 1800 * 65 / 64
            )  # as finely as deadlines are told apart

    trio.run(main, clock=autojump())


def test_a_pool_timeout_goes_by_the_clock_of_the_run(silent: str) -> None:
    """Who waits behind another for the one connection there may be gives up after 600 s of a MockClock."""

    async def main() -> None:
        async with (
            PoolManager(PLAIN, limits=Limits(max_connections=1)) as manager,
            manager.client(httpx.AsyncClient, timeout=httpx.Timeout(3600, pool=600)) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(client.get, silent)
            await trio.testing.wait_all_tasks_blocked()
            started = trio.current_time()
            with pytest.raises(httpx.PoolTimeout):
                await client.get(silent)
            assert trio.current_time() - started == pytest.approx(600, abs=1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=autojump())


def test_an_answer_that_is_left_half_way_leaves_no_generator(counting_server: CountingServer) -> None:
    """Trio warns of those: whoever iterates over a stream of the pool's may break off, and just closes it."""
    counting_server.respond = lambda _: Answer(body=b"x" * 1_000_000)

    async def main() -> None:
        async with PoolManager(PLAIN) as manager, manager.transport() as transport:
            response = await transport.handle_async_request(httpx.Request("GET", counting_server.url))
            stream: Any = response.stream
            async for part in stream:
                assert part
                break
            gc.collect()
            await response.aclose()

    with warnings.catch_warnings(action="error"):
        trio.run(main)


def test_an_upload_that_is_refused_half_way_leaves_no_generator() -> None:
    """The iterator over a body is closed where the rest is not wanted any more."""
    ended: list[str] = []

    async def parts() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            ended.append("closed")

    class Body(httpx.AsyncByteStream):
        def __aiter__(self) -> AsyncIterator[bytes]:
            return parts()

    async def main() -> None:
        async with PoolManager(PLAIN) as manager, manager.transport() as transport:
            url = f"http://127.0.0.1:{server.port}"
            request = httpx.Request("POST", url, headers=CHUNKED, stream=Body())
            with contextlib.suppress(httpx.TransportError), trio.fail_after(5):  # the answer, or its RST
                await (await transport.handle_async_request(request)).aclose()
            assert ended == ["closed"]

    with Listener(serve=say_http) as server:
        trio.run(main)


def test_an_idle_connection_expires_by_the_clock_of_the_run(counting_server: CountingServer) -> None:
    """A connection that was idle for a minute of a MockClock is closed, with nobody there to ask for it."""

    async def main() -> None:
        async with (
            PoolManager(PLAIN, limits=Limits(keepalive_expiry=60)) as manager,
            manager.client(httpx.AsyncClient) as client,
        ):
            await client.get(counting_server.url)
            clock.jump(30)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert counting_server.open_connections() == 1
            clock.jump(31)
            await trio.testing.wait_all_tasks_blocked(0.01)
            counting_server.wait_for(lambda server: server.open_connections() == 0)

    clock = MockClock()
    trio.run(main, clock=clock)


def test_any_thread_may_look(silent: str, counting_server: CountingServer) -> None:
    """A look from another thread goes by the clock of the run, and the run goes on as before."""

    async def main() -> None:
        async with (
            PoolManager(PLAIN, limits=Limits(max_connections=1)) as manager,
            manager.client(httpx.AsyncClient, timeout=None) as client,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, silent)
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.start_soon(client.get, silent)
                await trio.testing.wait_all_tasks_blocked(0.01)
                clock.jump(30)
                (pool,) = (await trio.to_thread.run_sync(manager.stats)).pools
                assert (1, 1) == (pool.streams, pool.waiting)
                assert pool.oldest_wait == pytest.approx(30, abs=1)
                nursery.cancel_scope.cancel()
            assert 200 == (await client.get(counting_server.url)).status_code

    clock = MockClock()
    trio.run(main, clock=clock)


def test_a_cancel_scope_ends_a_request(silent: str) -> None:
    """`move_on_after` ends a request in time, and its place is somebody else's at once."""

    async def main() -> None:
        async with PoolManager(PLAIN) as manager, manager.client(httpx.AsyncClient, timeout=None) as client:
            with trio.move_on_after(5) as scope:
                await client.get(silent)
            assert scope.cancelled_caught
            (pool,) = manager.stats().pools
            assert (0, 0, 0) == (pool.in_flight, pool.waiting, pool.connections)

    trio.run(main, clock=autojump())


def test_a_cancelled_scope_lets_no_request_through(counting_server: CountingServer) -> None:
    """A request that begins in a scope that was cancelled is cancelled."""

    async def main() -> None:
        async with PoolManager(PLAIN) as manager, manager.client(httpx.AsyncClient) as client:
            with trio.CancelScope() as scope:
                scope.cancel()
                await client.get(counting_server.url)
            assert scope.cancelled_caught
            assert 200 == (await client.get(counting_server.url)).status_code

    trio.run(main)


def test_requests_and_parts_of_answers_are_checkpoints(counting_server: CountingServer) -> None:
    """Others have a turn at each request, and at each part of an answer, even if all of it is there."""

    async def main() -> None:
        async with PoolManager(PLAIN) as manager, manager.client(httpx.AsyncClient) as client:
            await client.get(counting_server.url)
            with trio.testing.assert_checkpoints():
                await client.get(counting_server.url)
            async with client.stream("GET", counting_server.url) as answer:
                await trio.testing.wait_all_tasks_blocked(0.01)  # all of it has come
                parts: AsyncIterator[bytes] = aiter(answer.stream)  # type: ignore[arg-type]  # it is async here
                with trio.testing.assert_checkpoints():
                    assert await anext(parts)
                with trio.testing.assert_checkpoints():
                    assert await anext(parts, None) is None

    trio.run(main)


def test_no_task_is_left_when_the_pool_was_closed(counting_server: CountingServer) -> None:
    """While the pool lives its tasks are the run's own, in nobody's nursery; after it there are none."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            async with PoolManager(PLAIN) as manager, manager.client(httpx.AsyncClient) as client:
                await client.get(counting_server.url)
                assert system_tasks()
                assert not nursery.child_tasks
            await trio.testing.wait_all_tasks_blocked()
            assert [] == system_tasks()

    trio.run(main)


def test_a_run_that_fails_takes_its_pool_along(counting_server: CountingServer) -> None:
    """The run ends by an error, with an answer open and another request under way: nothing is left."""
    manager = PoolManager(PLAIN)
    client = manager.client(httpx.AsyncClient, timeout=None)
    kept: list[Any] = []

    async def main() -> None:
        request = client.build_request("GET", counting_server.url)
        kept.append(await client.send(request, stream=True))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, counting_server.url)
            raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        trio.run(main)
    assert () == manager.stats().pools
    counting_server.wait_for(lambda server: server.open_connections() == 0)
    with pytest.warns(ResourceWarning, match="unclosed response to GET"):
        kept.clear()
        gc.collect()
    client_closed = client.aclose
    trio.run(client_closed)
    manager.close()


def test_names_are_asked_of_the_resolver_that_trio_was_given(counting_server: CountingServer) -> None:
    """`trio.socket.set_custom_hostname_resolver` holds for the pool, and one look-up serves all who dial."""
    asked: list[object] = []

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: bytes | None, port: Any, *_: int) -> Any:
            asked.append(host)
            await trio.sleep(0.01)
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", int(port)))]

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    url = counting_server.url.replace("127.0.0.1", "somewhere.test")

    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver())
        async with (
            PoolManager(PLAIN) as manager,
            manager.client(httpx.AsyncClient) as client,
            trio.open_nursery() as nursery,
        ):
            for _ in range(3):
                nursery.start_soon(client.get, url)

    trio.run(main)
    assert [b"somewhere.test"] == asked
