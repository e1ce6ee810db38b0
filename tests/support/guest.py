"""
A client of a trio run in the shape of one of asyncio's, so that one story serves both.

The story is told by an asyncio loop, and the run is its guest (`trio.lowlevel.start_guest_run`): all of it in
one thread. Requests begin in the order in which the story begins them, as they do on asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

import pytest
import trio

T = TypeVar("T")


class InOrder(random.Random):
    """What trio takes for random: tasks run in the order in which they became able to."""

    def random(self) -> float:
        """Have each batch reversed: it is taken from its end."""
        return 0.0

    def uniform(self, a: float, _: float) -> float:
        """Begin the clock somewhere."""
        return a


class OnTrio:
    """
    A client whose requests are those of a trio run.

    Args:
        make: Makes the client; called in the run.
    """

    _client: Any

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._stop = trio.Event()
        self._patch = pytest.MonkeyPatch()

    async def __aenter__(self) -> Self:
        self._patch.setattr("trio._core._run._r", InOrder())
        self._patch.setattr(
            "trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", False
        )  # hypothesis had it sort
        started = self._loop.create_future()
        self._ended = self._loop.create_future()

        async def main() -> None:
            async with trio.open_nursery() as self._nursery:
                self._token = trio.lowlevel.current_trio_token()
                self._client = self._make()
                started.set_result(None)
                await self._stop.wait()

        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=self._loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=self._loop.call_soon,
            done_callback=self._ended.set_result,
        )
        await started
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.run(self._client.aclose)
        finally:
            self._token.run_sync_soon(self._stop.set)
            outcome = await self._ended
            self._patch.undo()
        outcome.unwrap()

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Work in the run; to be cancelled cancels it, and waits for its end."""
        future: asyncio.Future[T] = self._loop.create_future()
        scope = trio.CancelScope()

        async def told() -> None:
            with scope:
                try:
                    result = await work()
                except Exception as error:  # noqa: BLE001 - it is the story's
                    future.set_exception(error)
                else:
                    future.set_result(result)
            if not future.done():
                future.cancel()

        self._token.run_sync_soon(lambda: self._nursery.start_soon(told))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._token.run_sync_soon(scope.cancel)
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # looked at
            raise

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """Make a request."""
        return self._client.build_request(*args, **kwargs)

    async def send(self, request: Any, **kwargs: Any) -> Any:
        """Send a request."""
        return _Answer(self, await self.run(lambda: self._client.send(request, **kwargs)))

    async def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """Send a request, with a body that may be made in the loop."""
        content = kwargs.get("content")
        if content is None or not hasattr(content, "__aiter__"):
            return await self.run(lambda: self._client.request(method, url, **kwargs))

        async def asked() -> Any:
            async with contextlib.aclosing(self._parts(content)) as kwargs["content"]:
                return await self._client.request(method, url, **kwargs)

        return await self.run(asked)

    def __getattr__(self, name: str) -> Any:
        async def call(url: str, **kwargs: Any) -> Any:
            return await self.request(name.upper(), url, **kwargs)

        return call

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, **kwargs: Any) -> AsyncIterator[Any]:
        """Send a request, and give an answer that is to be read."""
        answer = await self.send(self._client.build_request(method, url, **kwargs), stream=True)
        try:
            yield answer
        finally:
            await answer.aclose()

    async def _parts(self, parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Give in the run what is made in the loop."""

        async def following() -> bytes | None:
            return await anext(parts, None)

        while (part := await self._awaited(following)) is not None:
            yield part

    async def _awaited(self, work: Callable[[], Any]) -> Any:
        """Have the loop work, from within the run."""
        task = self._loop.create_task(work())
        done = trio.Event()
        task.add_done_callback(lambda _: self._token.run_sync_soon(done.set))
        try:
            await done.wait()
        except trio.Cancelled:
            task.cancel()
            raise
        return task.result()


class _Answer:
    """An answer whose body is awaited."""

    def __init__(self, client: OnTrio, answer: Any) -> None:
        self._on_trio, self._answer = client, answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    @property
    def extensions(self) -> Any:
        """Give them; a stream that is no longer HTTP is awaited."""
        theirs = dict(self._answer.extensions)
        if self._answer.status_code == 101:
            theirs["network_stream"] = _Stream(self._on_trio, theirs["network_stream"])
        return theirs

    async def aread(self) -> bytes:
        """Read all of it."""
        body: bytes = await self._on_trio.run(self._answer.aread)
        return body

    async def aclose(self) -> None:
        """Close it."""
        await self._on_trio.run(self._answer.aclose)

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        """Read it part by part."""
        parts = self._answer.aiter_raw()
        while (part := await self._on_trio.run(lambda: anext(parts, None))) is not None:
            yield part

    aiter_bytes = aiter_raw


class _Stream:
    """An upgraded stream that is awaited."""

    def __init__(self, client: OnTrio, stream: Any) -> None:
        self._on_trio, self._stream = client, stream

    def get_extra_info(self, info: str) -> Any:
        """Tell about the socket."""
        return self._stream.get_extra_info(info)

    async def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read."""
        data: bytes = await self._on_trio.run(lambda: self._stream.read(*args, **kwargs))
        return data

    async def write(self, *args: Any, **kwargs: Any) -> None:
        """Write."""
        await self._on_trio.run(lambda: self._stream.write(*args, **kwargs))

    async def aclose(self) -> None:
        """Close it."""
        await self._on_trio.run(self._stream.aclose)
