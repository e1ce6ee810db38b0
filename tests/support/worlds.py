"""Where a fault is played: a library, a loop, and a pool that has to be whole again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs
import httpx
import httpx2
import trio
import trio.testing
import uvloop

from pool_manager import Limits, PoolConfig, PoolManager, PoolStats
from pool_manager.runtimes.on_threads import wires
from tests.support.guest import OnTrio
from tests.support.scripted import ScriptedServer
from tests.support.scripted_http2 import ScriptedHttp2
from tests.support.threaded import Threaded, interruptible

PATIENCE = 20.0  # seconds for one play; longer means that it hangs
ONE_CONNECTION = Limits(max_h2_connections_per_origin=1)
CLOSED_BY_CLIENT = {"FIN", "RST"}  # how a connection ended


@attrs.define
class World:
    """
    One library on one kind of loop.

    Attributes:
        library: The module, httpx or httpx2.

        run: What runs a coroutine to its end, on a loop of its own.

        in_threads: The requests are those of threads; the loop tells the story alone.

        on_trio: The requests are those of a trio run; the loop tells the story alone.
    """

    library: Any
    run: Callable[[Coroutine[Any, Any, None]], None]
    in_threads: bool = False
    on_trio: bool = False
    _manager: PoolManager | None = None

    def play(
        self,
        server: ScriptedServer[Any],
        main: Callable[[Any], Awaitable[None]],
        *,
        limits: Limits | None = None,
        **settings: Any,
    ) -> None:
        """
        Run *main* with a pooled client of *server*; then nothing may be counted, and the next be served.

        Args:
            server: Whom the client talks to.

            main: The client's part of the story.

            limits: Those of the manager.

            settings: What else the client is made with.
        """

        async def everything() -> None:
            manager = PoolManager(config_for(server), limits=limits)
            settings.setdefault("timeout", 5)
            async with (
                asyncio.timeout(PATIENCE),
                manager,
                self.client(manager, base_url=server.url, **settings) as client,
            ):
                self._manager = manager
                await main(client)
                self.assert_quiet()
                assert 200 == (await client.get("/afterwards", timeout=5)).status_code
                self.assert_quiet()

        self.tell(everything())

    def tell(self, story: Coroutine[Any, Any, None]) -> None:
        """Run a story with clients of this world."""
        with interruptible() if self.in_threads else contextlib.nullcontext():
            self.run(story)

    async def settled(self, client: Any) -> None:
        """Let what was begun come to where it waits."""
        await asyncio.sleep(0)
        if self.on_trio:
            await client.run(trio.testing.wait_all_tasks_blocked)

    def run_alone(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what is no story: it needs no loop beside its own, or its own run."""
        if self.on_trio:
            trio.run(lambda: work)
        else:
            self.run(work)

    def client(self, manager: PoolManager, **settings: Any) -> Any:
        """Give a pooled client of this world, whose methods are awaited."""

        def make() -> Any:
            return manager.client(self.library.AsyncClient, **settings)

        if self.in_threads:
            return Threaded(manager.client(self.library.Client, **settings), self.library)
        return OnTrio(make) if self.on_trio else make()

    @property
    def pool(self) -> PoolStats:
        """How the pool stands."""
        assert self._manager is not None
        (pool,) = self._manager.stats().pools
        return pool

    def has_news_on_idle(self) -> bool:
        """Tell whether it is known what the server did to the idle connection; in threads: can be known."""
        if not self.in_threads:
            return self.pool.connections == 0
        assert self._manager is not None
        (pool,) = self._manager._registry.holdings.threads.pools.values()  # noqa: SLF001 - there is no public word
        (connection,) = pool.engine._book.connections()  # type: ignore[union-attr]  # noqa: SLF001 - as above
        return bool(connection.carrier.wire.wait(wires.READABLE, 0))

    def assert_quiet(self) -> None:
        """No request is counted as under way."""
        assert self._manager is not None
        assert [] == [pool for pool in self._manager.stats().pools if pool.in_flight or pool.waiting]

    async def outcome(self, answer: Awaitable[Any]) -> str:
        """Tell what came of a request: its status, or the name of its error."""
        try:
            return str((await answer).status_code)
        except (self.library.HTTPError, self.library.InvalidURL) as error:
            return type(error).__name__


def config_for(server: ScriptedServer[Any]) -> PoolConfig:
    """Give the config that speaks what *server* speaks."""
    is_http2, certificates = isinstance(server, ScriptedHttp2), server.certificates
    return PoolConfig(
        http1=not is_http2 or certificates is not None,
        http2=is_http2,
        verify=True if certificates is None else certificates.client_context(),
        trust_env=False,
    )


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel *task* and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), task


WORLDS: dict[str, tuple[Any, ...]] = {
    "httpx-asyncio": (httpx, asyncio.run),
    "httpx-uvloop": (httpx, uvloop.run),
    "httpx2-asyncio": (httpx2, asyncio.run),
    "httpx2-uvloop": (httpx2, uvloop.run),
    "httpx-threads": (httpx, asyncio.run, True),
    "httpx2-threads": (httpx2, asyncio.run, True),
    "httpx-trio": (httpx, asyncio.run, False, True),
    "httpx2-trio": (httpx2, asyncio.run, False, True),
}
