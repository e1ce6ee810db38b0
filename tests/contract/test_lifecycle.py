"""Promises 6 and 7: leases are given back once, however that happens, and open responses live on."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest

from pool_manager import (
    ConfigError,
    Lane,
    LeaseClosed,
    Limits,
    PoolClosed,
    PoolManager,
    PoolTimeout,
    answers,
    leases,
)
from tests.support.counting_server import Answer, CountingServer
from tests.support.inside import threads_engine

LIBRARIES = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]
# More than is read at once: its connection is in use until it was read.
LONG = Answer(body=b"x" * 5_000_000)


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of this test's own, closed at its end."""
    with PoolManager(name="test") as manager:
        yield manager


def test_both_libraries_share_one_connection(manager: PoolManager, counting_server: CountingServer) -> None:
    """An httpx and an httpx2 client of equal config share a connection."""
    with manager.client(httpx.Client) as first, manager.client(httpx2.Client) as second:
        first.get(counting_server.url)
        second.get(counting_server.url)
        assert counting_server.connections == 1
        (pool,) = manager.stats().pools
        assert (pool.leases, pool.lease_names, pool.requests, pool.opened, pool.reused) == (
            2, ("Client", "Client"), 2, 1, 1,
        )  # fmt: skip


def test_the_last_lease_closes_the_pool(manager: PoolManager, counting_server: CountingServer) -> None:
    """A partial close keeps the pool, the final close ends it, the next lease makes a new one."""
    first, second = manager.client(), manager.client()
    first.get(counting_server.url)
    first.close()
    assert first.is_closed
    assert not second.is_closed
    assert counting_server.open_connections() == 1
    second.get(counting_server.url)
    second.close()
    assert manager.stats().pools == ()
    counting_server.wait_for(lambda server: server.open_connections() == 0)
    with manager.client() as third:
        third.get(counting_server.url)
    assert counting_server.connections == 2


def test_a_client_not_yet_used_holds_the_pool(manager: PoolManager, counting_server: CountingServer) -> None:
    """A client that made no request yet keeps the pool open for its first."""
    with manager.client() as idle:
        with manager.client() as busy:
            busy.get(counting_server.url)
        idle.get(counting_server.url)
    assert counting_server.connections == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_lease_is_given_back_once(library: Any, manager: PoolManager) -> None:
    """`with`, close and `__exit__` again: one lease back, and another client's stays."""
    with manager.client(library.Client):
        client = manager.client(library.Client)
        with client:
            client.close()
        client.close()
        stats = manager.stats()
        assert (stats.leases_taken, stats.leases_returned) == (2, 1)
        assert stats.pools[0].leases == 1


def test_a_transport_used_after_close_takes_its_lease_anew(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """SDKs that close after each request go on working, and what they took comes back each time."""
    transport = manager.transport()
    for _ in range(3):
        with httpx.Client(transport=transport) as client:
            client.get(counting_server.url)
    stats = manager.stats()
    assert (stats.leases_taken, stats.leases_returned) == (3, 3)
    assert stats.pools == ()


def test_what_a_lease_made_ends_with_it(manager: PoolManager, counting_server: CountingServer) -> None:
    """After the lease is closed its clients raise LeaseClosed, which says where it was taken."""
    with manager.lease(name="billing") as lease:
        client, transport = lease.client(), lease.transport(httpx2)
        assert client.get(counting_server.url).status_code == 200
        assert lease.stats()[0].lease_names == ("billing",)
    assert lease.closed
    with pytest.raises(LeaseClosed, match=r"'billing', taken at .*test_lifecycle\.py:\d+"):
        client.get(counting_server.url)
    with pytest.raises(LeaseClosed), httpx2.Client(transport=transport) as other:
        other.get(counting_server.url)
    with pytest.raises(LeaseClosed):
        lease.client()
    assert manager.stats().pools == ()


def test_closing_a_leases_client_does_not_close_the_lease(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """The lease outlives the clients made on it."""
    with manager.lease() as lease:
        with lease.client() as client:
            client.get(counting_server.url)
        assert not lease.closed
        assert lease.client().get(counting_server.url).extensions["pool_manager"].reused


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_open_response_outlives_its_client(
    library: Any, manager: PoolManager, counting_server: CountingServer
) -> None:
    """Case C: client closed, dropped and collected in mid-stream; the rest of the body still comes."""
    counting_server.respond = lambda _: LONG
    client = manager.client(library.Client)
    response = client.send(client.build_request("GET", counting_server.url), stream=True)
    parts = response.iter_raw()
    read = len(next(parts))
    client.close()
    del client
    gc.collect()

    assert read + sum(map(len, parts)) == 5_000_000
    response.close()
    assert manager.stats().pools == ()
    counting_server.wait_for(lambda server: server.open_connections() == 0)


def test_a_lost_client_is_given_back_and_reported(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """A collected, unclosed client gives its lease back and warns with the line that made it."""
    client = manager.client(name="forgetful")
    client.get(counting_server.url)
    with pytest.warns(
        ResourceWarning, match=r"unclosed lease 'forgetful', taken at .*test_lifecycle\.py:\d+"
    ):
        del client
        gc.collect()
    stats = manager.stats()
    counting_server.wait_for(lambda server: server.open_connections() == 0)
    assert (stats.pools, stats.leases_returned, stats.leases_leaked) == ((), 1, 1)


def test_a_lost_response_is_given_back_and_reported(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """A collected, unclosed response gives its connection back and warns with the line that asked for it."""
    counting_server.respond = lambda _: LONG
    with manager.client() as client:
        response = client.send(
            client.build_request("GET", counting_server.url + "/big?key=secret"), stream=True
        )
        with pytest.warns(
            ResourceWarning, match=r"GET http://127.0.0.1:\d+/big, taken at .*test_lifecycle\.py"
        ) as told:
            del response
            gc.collect()
        assert "secret" not in str(told[0].message)
        (pool,) = manager.stats().pools
        assert (pool.in_flight, pool.failed) == (0, 1)
        counting_server.respond = lambda _: Answer()
        assert client.get(counting_server.url).status_code == 200


def test_a_lost_response_on_a_loop_is_given_back(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """The same on a loop, where the loop itself lets the connection go."""
    counting_server.respond = lambda _: LONG

    async def main() -> None:
        async with manager.client(httpx.AsyncClient) as client:
            response = await client.send(client.build_request("GET", counting_server.url), stream=True)
            with pytest.warns(ResourceWarning, match="unclosed response"):
                del response
                gc.collect()
            await asyncio.to_thread(counting_server.wait_for, lambda server: server.open_connections() == 0)
            assert manager.stats().pools[0].in_flight == 0

    asyncio.run(main())


def test_a_factory_that_fails_gives_the_lease_back(manager: PoolManager) -> None:
    """A client that cannot be made leaves no lease behind."""
    with pytest.raises(TypeError):
        manager.client(httpx.Client, no_such_argument=1)
    stats = manager.stats()
    assert (stats.pools, stats.leases_taken, stats.leases_returned) == ((), 1, 1)


def test_private_pools_share_with_nobody(manager: PoolManager, counting_server: CountingServer) -> None:
    """`shared=False` gives a pool of its own."""
    with manager.client() as shared, manager.client(shared=False) as private:
        shared.get(counting_server.url)
        private.get(counting_server.url)
    assert counting_server.connections == 2


def test_limits_of_a_client_bind_it_and_those_that_ask_for_the_same(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """A client with `limits=` of its own is bound by them and shares only with its equals."""
    counting_server.respond = lambda _: LONG
    limits = httpx.Limits(max_connections=1)
    timeout = httpx.Timeout(5, pool=0.05)
    with (
        manager.client(limits=limits, timeout=timeout) as first,
        manager.client(limits=limits, timeout=timeout) as second,
        manager.client() as other,
        first.stream("GET", counting_server.url),
    ):
        with pytest.raises(PoolTimeout):
            second.get(counting_server.url)
        assert other.get(counting_server.url).status_code == 200


def test_a_pool_timeout_says_who_holds_the_pool(counting_server: CountingServer) -> None:
    """It is the library's PoolTimeout and ours, and names the pool's state and its holders."""
    counting_server.respond = lambda _: LONG
    with (
        PoolManager(limits=Limits(max_connections=1)) as manager,
        manager.client(name="hog") as hog,
        manager.client(httpx2.Client, name="victim", timeout=httpx2.Timeout(5, pool=0.05)) as victim,
        hog.stream("GET", counting_server.url),
        pytest.raises(
            httpx2.PoolTimeout,
            match=r"in 0\.05 s: .* 1 open .* 1 waiting \(for up to 0\.1 s\); held by hog, victim",
        ) as caught,
    ):
        victim.get(counting_server.url)
    assert isinstance(caught.value, PoolTimeout)


def test_queue_timeout_bounds_a_caller_who_would_wait_for_ever(counting_server: CountingServer) -> None:
    """A request whose own pool timeout is None waits no longer than `Limits.queue_timeout`."""
    counting_server.respond = lambda _: LONG
    with (
        PoolManager(limits=Limits(max_connections=1, queue_timeout=0.05)) as manager,
        manager.client(timeout=None) as client,
        client.stream("GET", counting_server.url),
        pytest.raises(PoolTimeout),
    ):
        client.get(counting_server.url)


@pytest.mark.parametrize("runtime", ["threads", "asyncio"])
def test_linger_keeps_the_pool_for_the_next_lease(runtime: str, counting_server: CountingServer) -> None:
    """With `linger`, a lease taken soon after the last one went finds the connection still there."""
    with PoolManager(limits=Limits(linger=0.2)) as manager:

        async def on_loop() -> None:
            for _ in range(3):
                async with manager.client(httpx.AsyncClient) as client:
                    await client.get(counting_server.url)
            assert counting_server.connections == 1
            await asyncio.to_thread(counting_server.wait_for, lambda server: server.open_connections() == 0)

        if runtime == "asyncio":
            asyncio.run(on_loop())
        else:
            for _ in range(3):
                with manager.client() as client:
                    client.get(counting_server.url)
            assert counting_server.connections == 1
            counting_server.wait_for(lambda server: server.open_connections() == 0)
        assert manager.stats().pools == ()


def test_reset_retires_connections_and_no_request(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """After `reset` an open response finishes, and the next request has a new connection."""
    with manager.client() as client:
        with client.stream("GET", counting_server.url) as response:
            manager.reset()
            assert response.read() == b'{"ok": true}'
        counting_server.wait_for(lambda server: server.open_connections() == 0)
        client.get(counting_server.url)
    assert counting_server.connections == 2


def test_a_closed_manager_refuses(counting_server: CountingServer) -> None:
    """After `close`, twice, requests and leases raise PoolClosed, which is the library's ConnectError too."""
    manager = PoolManager(name="gone")
    client = manager.client()
    client.get(counting_server.url)
    manager.close()
    manager.close()
    counting_server.wait_for(lambda server: server.open_connections() == 0)
    with pytest.raises(PoolClosed, match="'gone'") as caught:
        client.get(counting_server.url)
    assert isinstance(caught.value, httpx.ConnectError)
    with pytest.raises(PoolClosed):
        manager.lease()
    client.close()


def test_closing_wakes_a_thread_that_waits_for_an_answer(counting_server: CountingServer) -> None:
    """`close` of the manager fails a request that is out, at once and not at its read timeout."""
    counting_server.hold()
    with PoolManager() as manager, manager.client(timeout=30) as client:
        failures: list[BaseException] = []

        def wait() -> None:
            try:
                client.get(counting_server.url)
            except httpx.TransportError as error:
                failures.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        counting_server.wait_for(lambda server: server.processed("GET") == 1)
        manager.close()
        thread.join(5)
        assert not thread.is_alive()
        assert len(failures) == 1


def test_aclose_gives_requests_that_are_out_their_grace(counting_server: CountingServer) -> None:
    """`aclose` refuses new requests, and waits for the one that is out to end."""
    counting_server.hold()

    async def main() -> None:
        manager = PoolManager()
        client = manager.client(httpx.AsyncClient)
        request = asyncio.create_task(client.get(counting_server.url))
        await asyncio.to_thread(counting_server.wait_for, lambda server: server.processed("GET") == 1)
        closing = asyncio.create_task(manager.aclose(grace=10))
        await asyncio.sleep(0)
        with pytest.raises(PoolClosed):
            await client.get(counting_server.url)
        counting_server.release()
        assert (await request).status_code == 200
        await closing
        await asyncio.to_thread(counting_server.wait_for, lambda server: server.open_connections() == 0)
        await client.aclose()

    asyncio.run(main())


def test_aclose_ends_what_outlasts_the_grace(counting_server: CountingServer) -> None:
    """What is still out after the grace fails, and its connection is closed."""
    counting_server.hold()

    async def main() -> None:
        manager = PoolManager()
        client = manager.client(httpx.AsyncClient)
        request = asyncio.create_task(client.get(counting_server.url))
        await asyncio.to_thread(counting_server.wait_for, lambda server: server.processed("GET") == 1)
        await manager.aclose(grace=0.01)
        with pytest.raises(httpx.TransportError):
            await request
        await client.aclose()

    asyncio.run(main())


def test_sixty_four_threads_at_a_barrier_make_one_pool(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """Clients made and closed by many threads at once: one pool, every lease back."""
    barrier = threading.Barrier(64)
    answered: list[int] = []

    def work() -> None:
        with manager.client() as client:
            barrier.wait()
            assert len(manager.stats().pools) == 1
            answered.append(client.get(counting_server.url).status_code)
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = manager.stats()
    assert answered == [200] * 64
    assert (stats.pools, stats.leases_taken, stats.leases_returned) == ((), 64, 64)


def test_lanes_do_not_hold_up_one_another(counting_server: CountingServer) -> None:
    """Requests of a full lane wait; those of others go by, on connections of their own."""
    counting_server.respond = lambda _: LONG
    lanes = [
        Lane("polls", paths=("/wait_for_status",), max_in_flight=1),
        Lane("uploads", max_connections_per_origin=1),
    ]
    timeout = httpx.Timeout(5, pool=0.05)
    with PoolManager(lanes=lanes) as manager, manager.client(timeout=timeout) as client:
        url = counting_server.url + "/devboxes/1/wait_for_status?x=1"
        with client.stream("GET", url) as poll:
            assert poll.extensions["pool_manager"].lane == "polls"
            with pytest.raises(PoolTimeout):
                client.get(url)
            short = client.get(counting_server.url)
            assert short.extensions["pool_manager"].lane == "default"
            asked = client.get(counting_server.url, extensions={"pool_manager": {"lane": "uploads"}})
            assert asked.extensions["pool_manager"].lane == "uploads"
            poll.read()
        assert client.get(url).status_code == 200
        assert counting_server.connections == 3


def test_a_lease_names_the_lane_of_its_requests(counting_server: CountingServer) -> None:
    """A lease's lane holds for its requests, and a request may name another."""
    with (
        PoolManager(lanes=[Lane("uploads"), Lane("polls")]) as manager,
        manager.lease(lane="uploads") as lease,
        lease.client() as client,
    ):
        assert client.get(counting_server.url).extensions["pool_manager"].lane == "uploads"
        other = client.get(counting_server.url, extensions={"pool_manager": {"lane": "polls"}})
        assert other.extensions["pool_manager"].lane == "polls"


def test_an_unknown_lane_is_named(manager: PoolManager, counting_server: CountingServer) -> None:
    """A lane that there is not: an error that names it and those there are; the pool serves on."""
    with pytest.raises(ConfigError, match="lane must be one of default, not 'fast'"):
        manager.client(lane="fast")
    with manager.client() as client:
        with pytest.raises(ConfigError, match="not 'fast'"):
            client.get(counting_server.url, extensions={"pool_manager": {"lane": "fast"}})
        with pytest.raises(ConfigError, match=r'must be \{"lane": name\}'):
            client.get(counting_server.url, extensions={"pool_manager": {"line": "fast"}})
        assert client.get(counting_server.url).status_code == 200
        assert manager.stats().pools[0].in_flight == 0


def test_a_finaliser_waits_for_no_lock(manager: PoolManager, counting_server: CountingServer) -> None:
    """A client collected inside the engine's own critical section gives back later, and stops nobody."""
    client = manager.client()
    client.get(counting_server.url)
    engine = threads_engine(manager)  # the collector may strike just there
    with engine._guard.lock, pytest.warns(ResourceWarning, match="unclosed lease"):  # noqa: SLF001 - see above
        del client
        gc.collect()
    assert manager.stats().leases_leaked == 1
    counting_server.wait_for(lambda server: server.open_connections() == 0)


def test_closing_refuses_those_who_wait(counting_server: CountingServer) -> None:
    """Requests that wait for a connection when the manager is closed are refused, and none is dialed."""
    counting_server.hold()
    with PoolManager(limits=Limits(max_connections=1)) as manager, manager.client(timeout=30) as client:
        failures: list[type[Exception]] = []

        def get() -> None:
            try:
                client.get(counting_server.url)
            except httpx.TransportError as error:
                failures.append(PoolClosed if isinstance(error, PoolClosed) else httpx.TransportError)

        threads = [threading.Thread(target=get) for _ in range(4)]
        for thread in threads:
            thread.start()
        counting_server.wait_for(lambda _: manager.stats().pools[0].in_flight == 4)
        counting_server.wait_for(lambda server: server.processed("GET") == 1)
        manager.close()
        for thread in threads:
            thread.join(10)
        assert sorted(failure.__name__ for failure in failures) == ["PoolClosed"] * 3 + ["TransportError"]
    assert counting_server.connections == 1


def test_lingering_takes_one_timer(counting_server: CountingServer) -> None:
    """Many leases given back one after another leave one thread that waits, and one that keeps time."""
    before = threading.active_count()
    with PoolManager(limits=Limits(linger=0.1)) as manager:
        for _ in range(50):
            with manager.client() as client:
                client.get(counting_server.url)
        assert threading.active_count() <= before + 2
        counting_server.wait_for(lambda server: server.open_connections() == 0)


def test_a_finaliser_asks_no_module_that_may_be_empty(
    manager: PoolManager, counting_server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the interpreter modules may lose their names before their objects are collected."""
    client = manager.client()
    answer = client.send(client.build_request("GET", counting_server.url), stream=True)
    for module in (leases, answers):
        monkeypatch.setattr(module, "sys", None)
    with pytest.warns(ResourceWarning, match="unclosed response"):
        del answer
        gc.collect()
    with pytest.warns(ResourceWarning, match="unclosed lease"):
        del client
        gc.collect()
