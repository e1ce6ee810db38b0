"""Polls against a server: with whatever one polls, on lanes of their own, from threads and loops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio
import groq
import httpx
import httpx2
import openai
import pytest
import runloop_api_client
import trio
import uvloop

from pool_manager import (
    Lane,
    PollingConfig,
    PoolConfig,
    PoolManager,
    async_wait_for_status,
    wait_for_status,
)
from tests.support.clocks import FakeClock
from tests.support.counting_server import Answer, CountedRequest, CountingServer

PATH = "/v1/things/7/wait_for_status"
ROUNDS = 3
SECRET = "bearer_token"  # noqa: S105 - what Runloop calls it
CONFIG = PollingConfig(timeout=100, max_hold=20)

Run = Callable[[Callable[[], Any]], Any]


class Thing:
    """A server's thing, which is done at the third round; the second brings nothing."""

    def __init__(self, second: Answer) -> None:
        self._second = second
        self.bodies: list[dict[str, Any]] = []

    def respond(self, request: CountedRequest) -> Answer:
        """Answer a round."""
        if not request.path.endswith("/wait_for_status"):
            return Answer()
        self.bodies.append(json.loads(request.body))
        if len(self.bodies) == 2:
            return self._second
        return Answer(body=json.dumps({"status": ["queued", "", "done"][len(self.bodies) - 1]}).encode())


SECONDS = {"408": Answer(status=408), "lost": Answer(close="instead"), "cut": Answer(close="halfway")}


@pytest.fixture(params=SECONDS.values(), ids=SECONDS.keys())
def thing(request: pytest.FixtureRequest, counting_server: CountingServer) -> Thing:
    """Have the server hold a thing."""
    made = Thing(request.param)
    counting_server.respond = made.respond
    return made


@pytest.fixture
def manager() -> PoolManager:
    """Give a manager without lanes."""
    return PoolManager(PoolConfig(trust_env=False))


def is_done(view: Any) -> bool:
    """Tell whether the thing is done."""
    return bool(view["status"] == "done")


def options(clock: FakeClock | None = None) -> dict[str, Any]:
    """Give what all polls here are made with."""
    return {
        "statuses": ["done", "failed"],
        "is_terminal": is_done,
        "placeholder": lambda: {"status": "unknown"},
        "config": CONFIG,
        "clock": clock or FakeClock(),
    }


def as_asked(thing: Thing) -> None:
    """The server was asked three times, each time for as long as it honours."""
    assert len(thing.bodies) == ROUNDS
    assert all(body["statuses"] == ["done", "failed"] for body in thing.bodies)
    assert {body["timeout_seconds"] for body in thing.bodies} == {20}


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_with_a_client(
    library: Any, thing: Thing, manager: PoolManager, counting_server: CountingServer
) -> None:
    """A client of either library gives the JSON."""
    with manager, manager.client(library.Client, base_url=counting_server.url) as client:
        assert wait_for_status(client, PATH, **options()) == {"status": "done"}
    as_asked(thing)


def test_with_a_lease(thing: Thing, manager: PoolManager, counting_server: CountingServer) -> None:
    """A lease is asked by a URL."""
    with manager, manager.lease(name="poll") as lease:
        assert wait_for_status(lease, counting_server.url + PATH, **options()) == {"status": "done"}
    as_asked(thing)


SDKS = [(openai.OpenAI, "api_key"), (groq.Groq, "api_key"), (runloop_api_client.Runloop, SECRET)]


@pytest.mark.parametrize("kind", SDKS, ids=lambda kind: kind[0].__name__)
@pytest.mark.parametrize("by", ["sdk", "post"])
def test_with_an_sdk(
    by: str, kind: tuple[Any, str], thing: Thing, manager: PoolManager, counting_server: CountingServer
) -> None:
    """An SDK or its post function is asked once a round: its own retries are off."""
    sdk_class, secret = kind
    with manager:
        sdk: Any = manager.pooled(sdk_class, base_url=counting_server.url, max_retries=5, **{secret: "key"})
        target = sdk if by == "sdk" else sdk.post
        assert wait_for_status(target, PATH, cast_to=object, **options()) == {"status": "done"}
        sdk.close()
    as_asked(thing)


RUNNERS: dict[str, Run] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "trio": trio.run,
}


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS.keys())
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_in_a_loop(
    library: Any, run: Run, thing: Thing, manager: PoolManager, counting_server: CountingServer
) -> None:
    """The twin does the same with an async client and with a lease."""

    async def main() -> None:
        async with (
            manager,
            manager.lease() as lease,
            lease.client(library.AsyncClient, base_url=counting_server.url) as client,
        ):
            assert await async_wait_for_status(client, PATH, **options()) == {"status": "done"}
            as_asked(thing)
            thing.bodies.clear()
            url = counting_server.url + PATH
            assert await async_wait_for_status(lease, url, **options()) == {"status": "done"}

    run(main)
    as_asked(thing)


def test_with_an_async_sdk(thing: Thing, manager: PoolManager, counting_server: CountingServer) -> None:
    """An async SDK's answer is awaited."""

    async def main() -> None:
        async with manager:
            sdk: Any = manager.pooled(
                runloop_api_client.AsyncRunloop, base_url=counting_server.url, **{SECRET: "key"}
            )
            assert await async_wait_for_status(sdk, PATH, **options()) == {"status": "done"}
            await sdk.close()

    asyncio.run(main())
    as_asked(thing)


LANES: dict[str, tuple[list[Lane], dict[str, Any], str]] = {
    "none given": ([], {}, "polling"),
    "the preset": ([Lane.long_poll()], {}, "polling"),
    "another": ([Lane("slow")], {"lane": "slow"}, "slow"),
    "the client's own": (
        [Lane("slow"), Lane.long_poll("p", paths=("/wait_for_status",))],
        {"lane": None},
        "p",
    ),
}


@pytest.mark.parametrize(("lanes", "kwargs", "lane"), LANES.values(), ids=LANES.keys())
@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "asyncio"])
def test_a_poll_has_a_lane_of_its_own(
    *, is_async: bool, lanes: list[Lane], kwargs: dict[str, Any], lane: str, counting_server: CountingServer
) -> None:
    """Its requests share no connection with others', whether or not the manager was given a lane for them."""
    counting_server.respond = lambda _: Answer(body=b'{"status": "done"}')
    taken: list[str] = []

    def note(response: Any) -> None:
        taken.append(response.extensions["pool_manager"].lane)

    async def anote(response: Any) -> None:
        note(response)

    manager = PoolManager(PoolConfig(trust_env=False), lanes=lanes)
    kwargs = options() | kwargs

    def in_thread() -> None:
        hooks = {"response": [note]}
        with manager, manager.client(base_url=counting_server.url, event_hooks=hooks) as client:
            client.get("/")
            wait_for_status(client, PATH, **kwargs)
            client.get("/")

    async def in_loop() -> None:
        hooks = {"response": [anote]}
        async with (
            manager,
            manager.client(httpx.AsyncClient, base_url=counting_server.url, event_hooks=hooks) as client,
        ):
            await client.get("/")
            await async_wait_for_status(client, PATH, **kwargs)
            await client.get("/")

    asyncio.run(in_loop()) if is_async else in_thread()
    assert taken == ["default", lane, "default"]
    first, poll, last = (request.connection for request in counting_server.requests)
    assert first == last != poll


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS.keys())
@pytest.mark.parametrize("where", ["in a round", "between two"])
def test_a_poll_is_cancelled_at_once(where: str, run: Run, counting_server: CountingServer) -> None:
    """Whether it waits for the server or for the next round, nothing is left and the next is served."""
    if where == "in a round":
        counting_server.hold()
    else:
        counting_server.respond = lambda _: Answer(status=408)
    kwargs = options() | {"config": PollingConfig(interval=1000, timeout=9000)}
    del kwargs["clock"]  # by the real one: it would sleep for minutes

    async def main() -> None:
        async with (
            PoolManager(PoolConfig(trust_env=False)) as manager,
            manager.client(httpx.AsyncClient, base_url=counting_server.url) as client,
        ):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: async_wait_for_status(client, PATH, **kwargs))
                await anyio.to_thread.run_sync(
                    lambda: counting_server.wait_for(lambda server: len(server.requests) == 1)
                )
                while where == "between two" and manager.stats().pools[0].in_flight:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            assert not [pool for pool in manager.stats().pools if pool.in_flight or pool.waiting]
            counting_server.release()
            counting_server.respond = lambda _: Answer()
            (await client.get("/")).raise_for_status()

    run(main)


def test_a_lane_that_is_not_there_is_an_error(counting_server: CountingServer) -> None:
    """A poll in a lane that the manager has not is refused at once, also where an SDK wraps the error."""
    with PoolManager(PoolConfig(trust_env=False)) as manager:
        sdk = manager.pooled(runloop_api_client.Runloop, base_url=counting_server.url, **{SECRET: "key"})
        with pytest.raises(runloop_api_client.APIConnectionError) as caught:
            wait_for_status(sdk, PATH, **options() | {"lane": "slow"})
        sdk.close()
    assert "lane must be one of" in str(caught.value.__cause__)
    assert counting_server.requests == ()
