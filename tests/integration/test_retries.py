"""`Retries` on clients and leases, against a server that fails; off by default, and apart from replays."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import trio
import uvloop

from pool_manager import ConfigError, PoolConfig, PoolManager, Retries
from tests.support.counting_server import Answer, CountedRequest, CountingServer
from tests.support.sdks import CLIENTS, HttpClient, Run

SOON = Retries(initial=0)
every_client = pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")

RUNNERS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "trio": trio.run,
}


class Failing:
    """A server that answers the first requests as it is told, and all others well."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = [*answers]

    def __call__(self, _: CountedRequest) -> Answer:
        """Answer a request."""
        return self._answers.pop(0) if self._answers else Answer()


UNAVAILABLE = Answer(status=503, body=b"later")


@pytest.fixture
def manager() -> PoolManager:
    """Give a manager of this test's own."""
    return PoolManager(PoolConfig(trust_env=False))


@every_client
def test_nothing_is_retried_unasked(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A client is given the failure, as SDKs expect that retry themselves."""
    counting_server.respond = Failing(UNAVAILABLE)
    client: Any = manager.client(kind, base_url=counting_server.url)
    assert run(client.get("/")).status_code == 503
    run(client.close() if hasattr(client, "close") else client.aclose())
    assert len(counting_server.requests) == 1
    manager.close()


@every_client
@pytest.mark.parametrize("holder", ["client", "lease", "client of a lease"])
def test_a_client_or_a_lease_is_given_retries(
    holder: str, kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """The request is sent until it is answered, and the pool and the answer say how often."""
    counting_server.respond = Failing(UNAVAILABLE, UNAVAILABLE)
    lease = manager.lease(retries=SOON if holder == "lease" else None)
    make: Any = manager.client if holder == "client" else lease.client
    own = {} if holder == "lease" else {"retries": SOON}
    client = make(kind, base_url=counting_server.url, **own)
    response = run(client.get("/"))
    assert (response.status_code, response.extensions["pool_manager"].retries) == (200, 2)
    (pool,) = [pool for pool in manager.stats().pools if pool.requests]
    assert (pool.requests, pool.retried, pool.replayed, pool.in_flight) == (3, 2, 0, 0)
    assert len(counting_server.requests) == 3
    run(client.close() if hasattr(client, "close") else client.aclose())
    lease.close()
    manager.close()


def test_a_client_can_do_without_its_leases_retries(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """What a client is given counts more than what its lease was."""
    counting_server.respond = Failing(UNAVAILABLE)
    with manager, manager.lease(retries=SOON) as lease:
        client = lease.client(base_url=counting_server.url, retries=None)
        assert client.get("/").status_code == 503


@pytest.mark.parametrize("bad", [-1, 1.5, "3", True, {"attempts": 3}])
def test_what_is_no_retries_is_refused(manager: PoolManager, bad: Any) -> None:
    """It is a `ConfigError`, and no lease is left."""
    with manager:
        with pytest.raises(ConfigError, match=r"retries must be a pool_manager\.Retries"):
            manager.client(retries=bad)
        with pytest.raises(ConfigError, match=r"retries must be a pool_manager\.Retries"):
            manager.lease(retries=bad)
        stats = manager.stats()
        assert stats.leases_taken == stats.leases_returned


def test_replays_and_retries_are_told_and_counted_apart(
    manager: PoolManager, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that died idle is the pool's business; a 503 after that is the client's."""
    caplog.set_level(logging.INFO, "pool_manager")
    hang_up, url = Answer(close="instead"), counting_server.url

    async def main() -> None:
        async with manager, manager.client(httpx.AsyncClient, base_url=url, retries=SOON) as client:
            await client.get("/first")
            counting_server.respond = Failing(hang_up, UNAVAILABLE)
            record = (await client.get("/second?key=hunter22")).extensions["pool_manager"]
            (pool,) = manager.stats().pools
            assert (pool.requests, pool.retried, pool.replayed) == (3, 1, 1)
            assert (record.retries, record.attempts) == (1, 1)

    asyncio.run(main())
    assert [request.path for request in counting_server.requests] == ["/first", *["/second?key=hunter22"] * 3]
    told = [message for message in caplog.messages if "ing GET" in message]
    assert len(told) == 2
    replayed = rf"replaying GET {url}/second at once \(attempt 2\): \w+Error: .+ \(it is safe to repeat\)"
    assert re.fullmatch(replayed, told[0])
    assert told[1] == f"retrying GET {url}/second at once (2 of 3): HTTP 503"


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS.keys())
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_pause_is_cancelled_at_once(
    library: Any, run: Callable[[Any], Any], manager: PoolManager, counting_server: CountingServer
) -> None:
    """Who waits for the next attempt holds no connection, and leaves nothing when cancelled."""
    counting_server.respond = Failing(Answer(status=503, headers=(("retry-after", "1000"),)))
    patient = Retries(max_retry_after=2000, timeout=5000)

    async def main() -> None:
        async with (
            manager,
            manager.client(library.AsyncClient, base_url=counting_server.url, retries=patient) as client,
        ):
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, "/")
                while not manager.stats().pools[0].requests or manager.stats().pools[0].in_flight:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert (await client.get("/")).status_code == 200
            assert manager.stats().pools[0].in_flight == 0

    run(main)
    assert len(counting_server.requests) == 2


def test_a_streamed_answer_is_retried_before_it_is_read(
    manager: PoolManager, counting_server: CountingServer
) -> None:
    """What is given to the reader is the last attempt's answer, whole."""
    counting_server.respond = Failing(UNAVAILABLE, Answer(body=b"well"))
    with (
        manager,
        manager.client(base_url=counting_server.url, retries=SOON) as client,
        client.stream("GET", "/") as response,
    ):
        assert b"".join(response.iter_bytes()) == b"well"
