"""Listeners are told what happens, where it happens, outside of every lock; and harm nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import httpx
import pytest
import trio

from pool_manager import (
    ConfigError,
    ConnectionEvent,
    Limits,
    Listener,
    PoolConfig,
    PoolManager,
    RequestEvent,
    Retries,
    RetryEvent,
)
from tests.support.counting_server import Answer, CountingServer

PLAIN = PoolConfig(http2=False, trust_env=False)
LONG = Answer(body=b"x" * 5_000_000)


class Notes(Listener):
    """Writes down what it is told, after a look at the pools: that takes every lock."""

    def __init__(self, manager: PoolManager) -> None:
        self.manager = manager
        self.told: list[tuple[str, Any]] = []
        self.threads: set[str] = set()

    def note(self, what: str, event: object) -> None:
        """Write it down."""
        self.manager.stats()
        self.threads.add(threading.current_thread().name)
        self.told.append((what, event))

    def on_connect(self, event: ConnectionEvent) -> None:
        """Note it."""
        self.note("connect", event)

    def on_close(self, event: ConnectionEvent) -> None:
        """Note it."""
        self.note("close", event)

    def on_queued(self, event: RequestEvent) -> None:
        """Note it."""
        self.note("queued", event)

    def on_acquired(self, event: RequestEvent) -> None:
        """Note it."""
        self.note("acquired", event)

    def on_released(self, event: RequestEvent) -> None:
        """Note it."""
        self.note("released", event)

    def on_retry(self, event: RetryEvent) -> None:
        """Note it."""
        self.note("retry", event)

    @property
    def names(self) -> list[str]:
        """What it was told of."""
        return [what for what, _ in self.told]


def twice_in_threads(manager: PoolManager, url: str) -> None:
    """Send two requests from a thread."""
    with manager.client(httpx.Client, name="mine", base_url=url) as client:
        client.get("/one?key=secret")
        client.post("/two")


async def _twice(manager: PoolManager, url: str) -> None:
    async with manager.client(httpx.AsyncClient, name="mine", base_url=url) as client:
        await client.get("/one?key=secret")
        await client.post("/two")


def twice_on_asyncio(manager: PoolManager, url: str) -> None:
    """Send two requests from a loop of asyncio."""
    asyncio.run(_twice(manager, url))


def twice_on_trio(manager: PoolManager, url: str) -> None:
    """Send two requests from a run of trio."""
    trio.run(_twice, manager, url)


@pytest.mark.parametrize("twice", [twice_in_threads, twice_on_asyncio, twice_on_trio])
def test_a_listener_is_told_the_story_of_each_request(twice: Any, counting_server: CountingServer) -> None:
    """Two requests on one connection: it is opened, had twice and closed; the first request waits for it."""
    with PoolManager(PLAIN) as manager:
        notes = Notes(manager)
        with manager.listen(notes):
            twice(manager, counting_server.url)
    assert notes.names == [
        *("queued", "connect", "acquired", "released"),
        *("acquired", "released", "close"),
    ]
    (_, queued), (_, connect), (_, first), (_, left), (_, second), _, (_, close) = notes.told
    assert (connect.scheme, connect.host, connect.lane, connect.http_version, connect.connection_id) == (
        *("http", "127.0.0.1", "default", "HTTP/1.1"),
        1,
    )
    assert (queued.method, queued.lease, queued.connection_id, queued.seconds) == ("GET", "mine", None, 0)
    assert (first.connection_id, second.connection_id, second.method) == (1, 1, "POST")
    assert 0 < connect.seconds <= first.seconds <= left.seconds < 60
    assert (left.status, first.status) == (200, 0)
    assert (close.cause, close.connection_id) == ("closed", 1)
    assert close.seconds > 0
    assert counting_server.url.endswith(str(close.port))


def test_who_gives_up_has_left(counting_server: CountingServer) -> None:
    """A wait that ends in a timeout ends in a `on_released`, without a connection or a status."""
    counting_server.respond = lambda _: LONG
    with PoolManager(PLAIN, limits=Limits(max_connections=1)) as manager:
        notes = Notes(manager)
        with manager.client(httpx.Client) as hog, hog.stream("GET", counting_server.url):
            with manager.listen(notes), pytest.raises(httpx.PoolTimeout):
                hog.get(counting_server.url, timeout=httpx.Timeout(5, pool=0.02))
            with pytest.raises(httpx.PoolTimeout):  # nobody listens any more
                hog.get(counting_server.url, timeout=httpx.Timeout(5, pool=0.02))
    assert notes.names == ["queued", "released"]
    released = notes.told[1][1]
    assert (released.connection_id, released.status) == (None, 0)
    assert released.seconds >= 0.02


def test_retries_are_told_of(counting_server: CountingServer) -> None:
    """What a client has sent again is told with its cause, and without its query."""
    answers = iter([Answer(status=503), Answer(status=200)])
    counting_server.respond = lambda _: next(answers)
    with PoolManager(PLAIN) as manager, manager.listen(notes := Notes(manager)):
        with manager.client(httpx.Client, name="mine", retries=Retries(initial=0)) as client:
            assert 200 == client.get(f"{counting_server.url}/x?key=secret").status_code
        (retry,) = [event for what, event in notes.told if what == "retry"]
        assert retry == RetryEvent(
            request=f"GET {counting_server.url}/x", lane="default", lease="mine", cause="503", asked_for=True
        )
        (runtime,) = manager.stats().runtimes
        assert runtime.retries == {"503": 1}


@pytest.mark.parametrize("twice", [twice_in_threads, twice_on_asyncio, twice_on_trio])
def test_one_that_raises_harms_nobody(
    twice: Any, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of its methods is written into the log once, and the next listener is told all the same."""

    class Broken(Listener):
        def on_acquired(self, event: RequestEvent) -> None:  # noqa: ARG002 - it fails before
            raise ZeroDivisionError

        def on_connect(self, event: ConnectionEvent) -> None:  # noqa: ARG002 - as above
            raise ZeroDivisionError

    with PoolManager(PLAIN) as manager:
        notes = Notes(manager)
        with manager.listen(Broken()), manager.listen(notes):
            twice(manager, counting_server.url)
            twice(manager, counting_server.url)
    assert notes.names.count("acquired") == 4
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert ["on_connect", "on_acquired"] == [record.args[1] for record in errors if record.args]  # type: ignore[index]


def test_only_a_listener_may_listen() -> None:
    """A mistake is told at once."""
    with PoolManager() as manager, pytest.raises(ConfigError, match="listener must be"):
        manager.listen(print)  # type: ignore[arg-type]


def test_it_listens_until_it_is_closed(counting_server: CountingServer) -> None:
    """Closed twice, it is told nothing any more; another one goes on."""
    with PoolManager(PLAIN) as manager, manager.listen(other := Notes(manager)):
        listening = manager.listen(notes := Notes(manager))
        listening.close()
        listening.close()
        twice_in_threads(manager, counting_server.url)
    assert (notes.told, len(other.told)) == ([], 7)
