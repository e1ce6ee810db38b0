"""Cancellation at every await: the request leaves nothing behind, and the next one is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import httpx
import httpx2
import pytest
import uvloop

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer

ENOUGH = 200  # awaits; no scenario has so many


class CancelledAt:
    """Awaits a coroutine, and throws `CancelledError` into it where it would wait for the k-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], k: int) -> None:
        self._coroutine, self._k = coroutine, k
        self.struck = False

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._coroutine.__await__()
        waits = 0
        try:
            awaited = next(steps)
            while True:
                waits += 1
                if waits == self._k:
                    self.struck = True
                    awaited = steps.throw(asyncio.CancelledError())  # it may await what it cleans up
                try:
                    result = yield awaited
                except BaseException as error:  # noqa: BLE001 - the loop's, for the coroutine
                    awaited = steps.throw(error)
                else:
                    awaited = steps.send(result)
        except StopIteration:
            return


async def parts() -> AsyncIterator[bytes]:
    """Give a body bit by bit."""
    for _ in range(4):
        await asyncio.sleep(0)
        yield b"x" * 50_000


async def upload(client: Any, url: str) -> None:
    """Send a body that is made on the way."""
    await client.post(url, content=parts())


async def read_half(client: Any, url: str) -> None:
    """Read the first parts of a long answer, and close it."""
    async with client.stream("GET", f"{url}/payload") as answer:
        left = 5
        async for _ in answer.aiter_raw():
            await asyncio.sleep(0)
            left -= 1
            if not left:
                break


async def ask(client: Any, url: str) -> None:
    """Ask for something short."""
    await client.get(url)


@pytest.mark.parametrize("scenario", [upload, read_half, ask], ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize(
    ("run", "library"),
    [
        pytest.param(asyncio.run, httpx, id="asyncio-httpx"),
        pytest.param(uvloop.run, httpx2, id="uvloop-httpx2"),
    ],
)
def test_cancelled_at_every_await(  # noqa: PLR0917 - parameters and fixtures
    run: Callable[[Coroutine[Any, Any, None]], None],
    library: Any,
    version: str,
    scenario: Callable[[Any, str], Coroutine[Any, Any, None]],
    certificates: Certificates,
    request: pytest.FixtureRequest,
) -> None:
    """Wherever it strikes: counters are back at zero, the neighbour is answered, the next request served."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(verify=certificates.client_context(), http2=version == "h2", trust_env=False)

    async def main() -> None:
        for k in range(1, ENOUGH):
            async with (
                PoolManager(config, limits=Limits(max_connections=2)) as manager,
                manager.client(library.AsyncClient, timeout=library.Timeout(10, pool=5)) as client,
            ):
                struck = CancelledAt(scenario(client, server.url), k)
                neighbour = asyncio.create_task(client.get(server.url))
                cancelled = False
                try:
                    await struck
                except asyncio.CancelledError:
                    cancelled = True
                assert cancelled == struck.struck
                assert (await neighbour).status_code == 200
                (pool,) = manager.stats().pools
                assert (pool.in_flight, pool.waiting) == (0, 0)
                answers = await asyncio.gather(*[client.get(server.url) for _ in range(3)])
                assert [answer.status_code for answer in answers] == [200] * 3
            if not struck.struck:
                return
        pytest.fail(f"the scenario had more than {ENOUGH} awaits")

    run(main())
