"""Who shares a pool, what is never shared, and when a pool goes: with real SDKs."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import openai
import pytest

from pool_manager import Limits, PoolClosed, PoolConfig, PoolManager
from tests.support.counting_server import Answer, CountingServer
from tests.support.leaks import open_sockets
from tests.support.sdks import (
    ASYNC,
    FLAVOURS,
    RUNTIMES,
    SYNC,
    Flavour,
    Run,
    Sdk,
    called,
    close,
    echo,
    headers_of,
    inner,
    leases_out,
    post,
)
from tests.support.server import Server

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
every_async = pytest.mark.parametrize("flavour", ASYNC, ids=str)
every_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
both_colours = pytest.mark.parametrize("flavours", [SYNC, ASYNC], ids=["sync", "async"])


# By default instances share; who says otherwise does not


@every_flavour
def test_instances_share(flavour: Flavour, manager: PoolManager, h2_server: Server, run: Run) -> None:
    """Instances of one SDK, with different keys, are one connection."""
    sdks = [flavour.pooled(manager, h2_server.url, f"key-{number}") for number in range(3)]
    keys = [headers_of(run(echo(sdk)))["authorization"] for sdk in sdks]
    for sdk in sdks:
        run(sdk.close())
    assert keys == ["Bearer key-0", "Bearer key-1", "Bearer key-2"]
    assert h2_server.seen().connections == 1


@every_flavour
def test_not_shared_is_private(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """`shared=False` gives a client a pool that no other joins; a shared one beside it is as ever."""
    clients = [
        manager.client(flavour.default_client, shared=shared, base_url=counting_server.url)
        for shared in (False, False, True, True)
    ]
    for client in clients * 2:
        run(client.get("/"))
    for client in clients:
        run(close(client))
    assert sorted(counting_server.per_connection().values()) == [2, 2, 4]
    assert leases_out(manager) == 0


@pytest.mark.parametrize("name", ["Runloop", "AsyncRunloop"])
def test_the_sdks_own_opt_out_is_heard(
    name: str, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Runloop's own `shared_http_pool=False` keeps an instance to itself."""
    flavour = called(name)
    sdks = [
        flavour.pooled(manager, counting_server.url, **options)
        for options in ({}, {}, {"shared_http_pool": False})
    ]
    for sdk in sdks:
        run(echo(sdk))
    for sdk in sdks:
        run(sdk.close())
    assert sorted(counting_server.per_connection().values()) == [1, 2]


@every_flavour
def test_an_explicit_client_opts_out(
    flavour: Flavour,
    manager: PoolManager,
    counting_server: CountingServer,
    run: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An SDK that is given a client uses that one, unpooled, with one warning in the log."""
    mine = flavour.default_client(verify=False, trust_env=False)
    with caplog.at_level(logging.WARNING):
        sdk = flavour.pooled(manager, counting_server.url, http_client=mine)
    run(echo(sdk))
    run(sdk.close())
    (record,) = caplog.records
    assert (record.name.partition(".")[0], record.levelname) == ("pool_manager", "WARNING")
    assert flavour.name in record.getMessage()
    assert inner(sdk) is mine
    assert mine.is_closed
    assert manager.stats().leases_taken == 0


@both_colours
def test_cookies_and_headers_stay_apart(
    flavours: tuple[Flavour, ...], manager: PoolManager, h2_server: Server, run: Run
) -> None:
    """On one connection, no SDK sends a cookie, a key or a header that another was given."""
    sdks = [flavour.pooled(manager, h2_server.url, f"key-{n}") for n, flavour in enumerate(flavours * 2)]
    for number, sdk in enumerate(sdks[:4]):
        run(sdk.get(f"/cookies/set/session/{number}", cast_to=object))
        inner(sdk).headers["x-mine"] = str(number)
    answers = [headers_of(run(echo(sdk))) for sdk in sdks]
    for sdk in sdks:
        run(sdk.close())
    assert [answer.get("cookie") for answer in answers] == [*(f"session={n}" for n in range(4)), *[None] * 4]
    assert [answer.get("x-mine") for answer in answers] == [*"0123", *[None] * 4]
    assert [answer["authorization"] for answer in answers] == [f"Bearer key-{n}" for n in range(8)]
    assert h2_server.seen().connections == 1


# Closing


@both_colours
def test_the_last_close_closes(
    flavours: tuple[Flavour, ...], manager: PoolManager, h2_server: Server, run: Run
) -> None:
    """A close leaves the pool to the others; the last one takes it down; the next client gets a new one."""
    h2_server.wait_for(lambda seen: seen.open == 0)
    for round_ in (1, 2):
        sdks = [flavour.pooled(manager, h2_server.url) for flavour in flavours]
        while sdks:
            for sdk in sdks:
                run(echo(sdk))
            assert (h2_server.seen().connections, h2_server.seen().open) == (round_, 1)
            run(sdks.pop().close())
        assert manager.stats().pools == ()
        h2_server.wait_for(lambda seen: seen.open == 0)


@every_flavour
def test_is_closed_is_ones_own(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """`is_closed` is true of the client that was closed, twice if you like, and of no other."""
    one, other = (flavour.pooled(manager, counting_server.url) for _ in range(2))
    run(echo(one))
    run(echo(other))
    run(one.close())
    run(one.close())
    assert (one.is_closed(), other.is_closed()) == (True, False)
    assert leases_out(manager) == 1
    run(echo(other))
    run(other.close())
    assert counting_server.connections == 1
    assert (leases_out(manager), manager.stats().pools) == (0, ())


@every_flavour
def test_a_closed_client_refuses(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A closed SDK sends nothing more, as it would not unpooled."""
    sdk = flavour.pooled(manager, counting_server.url, max_retries=0)
    run(sdk.close())
    with pytest.raises((flavour.sdk.APIConnectionError, RuntimeError)):
        run(echo(sdk))
    assert counting_server.requests == ()


@every_flavour
def test_a_failed_init_takes_nothing(flavour: Flavour, manager: PoolManager) -> None:
    """An SDK that cannot be made raises what it always raises and leaves no lease."""
    with pytest.raises(TypeError, match="no_such_argument"):
        flavour.pooled(manager, "http://127.0.0.1", no_such_argument=1)
    assert (manager.stats().leases_taken, leases_out(manager), manager.stats().pools) == (1, 0, ())


@every_flavour
def test_close_after_a_failed_init(flavour: Flavour, manager: PoolManager, run: Run) -> None:
    """An SDK whose making failed half-way has given back already; closing it is safe and counts once."""
    half_made: list[Sdk] = []
    make = cast("type[object]", flavour.sdk_class).__init__

    def fail(self: object, **options: object) -> None:
        make(self, **options)
        half_made.append(cast("Sdk", self))
        raise OSError("not today")

    broken = type("Broken", (cast("type[object]", flavour.sdk_class),), {"__init__": fail})
    with pytest.raises(OSError, match="not today"):
        manager.pooled(broken, **flavour.options("http://127.0.0.1"))
    assert (leases_out(manager), manager.stats().pools) == (0, ())
    for _ in range(2):
        run(half_made[0].close())
    assert (manager.stats().leases_taken, leases_out(manager)) == (1, 0)


@every_flavour
def test_a_closed_manager_makes_none(flavour: Flavour, manager: PoolManager) -> None:
    """A closed manager refuses to make an SDK; what was half made goes without a word."""
    manager.close()
    with pytest.raises(PoolClosed):
        flavour.pooled(manager, "http://127.0.0.1")
    gc.collect()


@every_runtime
@every_async
def test_aclose_waits_for_the_real_close(
    flavour: Flavour, runtime: str, manager: PoolManager, h2_server: Server
) -> None:
    """When the last client's close returns, its socket is closed; nothing is left for later."""

    async def use() -> tuple[int, int]:
        before = open_sockets().keys()
        sdks = [flavour.pooled(manager, h2_server.url) for _ in range(2)]
        for sdk in sdks:
            await cast("openai.AsyncOpenAI", sdk).get("/echo", cast_to=object)
        left = []
        for sdk in sdks:
            await cast("openai.AsyncOpenAI", sdk).close()
            left.append(len(open_sockets().keys() - before))
        return left[0], left[1]

    assert RUNTIMES[runtime](use) == (1, 0)


@every_async
@pytest.mark.parametrize("inside", [True, False], ids=["in its loop", "after its loop"])
def test_losing_one_needs_no_await(
    flavour: Flavour, manager: PoolManager, h2_server: Server, *, inside: bool
) -> None:
    """An async SDK dropped unclosed, in its loop or after, gives back with one warning and no await."""
    lost: list[object] = []

    def lose() -> list[type[Warning]]:
        with pytest.warns(ResourceWarning, match=f"unclosed lease '{flavour.name}', taken at ") as told:
            lost.clear()
            gc.collect()
        return [warning.category for warning in told]

    async def use() -> list[type[Warning]]:
        lost.append(flavour.pooled(manager, h2_server.url))
        await cast("openai.AsyncOpenAI", lost[0]).get("/echo", cast_to=object)
        return lose() if inside else []

    told = asyncio.run(use()) or lose()
    assert told == [ResourceWarning]
    assert (leases_out(manager), manager.stats().leases_leaked, manager.stats().pools) == (0, 1, ())
    h2_server.wait_for(lambda seen: seen.open == 0)


# Loops and threads


@every_runtime
@every_async
def test_one_pool_in_each_run(
    flavour: Flavour, runtime: str, manager: PoolManager, counting_server: CountingServer
) -> None:
    """Clients made in one loop, and one made before it, share; the next loop has a pool of its own."""
    made_before = flavour.pooled(manager, counting_server.url)

    async def use() -> None:
        sdks = [made_before, *(flavour.pooled(manager, counting_server.url) for _ in range(2))]
        for sdk in sdks:
            await cast("openai.AsyncOpenAI", sdk).get("/", cast_to=object)
        (pool,) = [pool for pool in manager.stats().pools if pool.runtime != "threads"]
        assert (pool.leases, pool.opened, pool.reused) == (3, 1, 2)
        for sdk in sdks:
            await cast("openai.AsyncOpenAI", sdk).close()

    RUNTIMES[runtime](use)
    assert manager.stats().pools == ()
    made_before = flavour.pooled(manager, counting_server.url)
    RUNTIMES[runtime](use)
    assert counting_server.per_connection() == {1: 3, 2: 3}
    assert manager.stats().pools == ()


@every_async
def test_live_loops_have_pools_of_their_own(
    flavour: Flavour, manager: PoolManager, h2_server: Server
) -> None:
    """One client object used in two loops at once has a connection in each."""
    sdk = flavour.pooled(manager, h2_server.url)
    together = threading.Barrier(2, timeout=10)

    async def use() -> None:
        for _ in range(3):
            await cast("openai.AsyncOpenAI", sdk).get("/echo", cast_to=object)
            together.wait()  # on purpose: neither loop ends before both have sent

    threads = [threading.Thread(target=asyncio.run, args=[use()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(cast("openai.AsyncOpenAI", sdk).close())
    assert sorted(h2_server.seen().per_client.values()) == [3, 3]
    assert manager.stats().pools == ()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_and_loops_keep_apart(runtime: str, manager: PoolManager, h2_server: Server) -> None:
    """Sync SDKs beside async ones are one connection more, and each side shares within."""

    async def use() -> None:
        sdks = [flavour.pooled(manager, h2_server.url) for flavour in ASYNC]
        others = [flavour.pooled(manager, h2_server.url) for flavour in SYNC]
        for sdk, other in zip(sdks, others, strict=True):
            await cast("openai.AsyncOpenAI", sdk).get("/echo", cast_to=object)
            echo(other)
        pools = manager.stats().pools
        name = "trio" if runtime == "trio" else "asyncio"
        assert {pool.runtime: (pool.leases, pool.opened) for pool in pools} == {
            name: (4, 1),
            "threads": (4, 1),
        }
        for sdk, other in zip(sdks, others, strict=True):
            await cast("openai.AsyncOpenAI", sdk).close()
            other.close()

    RUNTIMES[runtime](use)
    assert sorted(h2_server.seen().per_client.values()) == [4, 4]


@pytest.fixture
def restless() -> Iterator[None]:
    """Have Python change threads a hundred times as often: races show that are rare otherwise."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("limit", [1, 4])
def test_threads_lose_nothing(limit: int, config: PoolConfig, counting_server: CountingServer) -> None:
    """Many threads on few connections: each of 1,000 POSTs is answered, and was processed once."""
    counting_server.respond = lambda request: Answer(body=b'"%s"' % request.path.encode())
    with PoolManager(config, limits=Limits(max_connections_per_origin=limit)) as manager:
        sdks = [flavour.pooled(manager, counting_server.url, max_retries=0) for flavour in SYNC]
        try:
            with ThreadPoolExecutor(20) as threads:
                answers = list(threads.map(lambda number: post(sdks[number % 4], f"/{number}"), range(1000)))
        finally:
            for sdk in sdks:
                sdk.close()
    assert answers == [f"/{number}" for number in range(1000)]
    assert counting_server.processed("POST") == 1000
    assert counting_server.connections == limit
