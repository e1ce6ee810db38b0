"""
A client of threads in the shape of one of a loop's, so that one story serves both.

Each call runs in a thread of its own. A task that is cancelled interrupts its thread where that waits next,
or waits already: as Ctrl-C does it in the main thread. Threads cannot be interrupted otherwise, so
`interruptible` has every wait of the engine look up in small steps whether somebody wants that.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, TypeVar

import attrs
import pytest

from pool_manager.runtimes.on_threads import http2, waiting, wires

T = TypeVar("T")

STEP = 0.005  # seconds between two looks
MANY = 300  # threads

_interrupted: set[int] = set()  # threads that are to be interrupted
_waited: set[int] = set()  # threads that have come to wait


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have the waits of the engine be such that `interrupt` ends them."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((waiting.Waiter, "sleep"), (wires.Wire, "receive"), (wires.Wire, "wait")):
            patch.setattr(owner, name, _in_steps(getattr(owner, name)))
        # They are what the main thread is: an interrupt does not end their calls that read.
        patch.setattr(http2.Http2Carrier, "_may_read_slowly", lambda *_: False)
        yield


def interrupt(thread: int) -> None:
    """Have a thread raise `KeyboardInterrupt` where it waits."""
    _interrupted.add(thread)


def _in_steps(wait: Callable[..., Any]) -> Callable[..., Any]:
    def steps(self: Any, *args: Any) -> Any:
        *before, seconds = args
        _waited.add(threading.get_ident())
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            if threading.get_ident() in _interrupted:
                _interrupted.discard(threading.get_ident())
                raise KeyboardInterrupt
            left = STEP if until is None else min(STEP, until - time.monotonic())
            found = wait(self, *before, max(0.0, left))
            if found or isinstance(found, bytes) or left < STEP:
                return found

    return steps


class Threaded:
    """
    A client whose methods are awaited.

    Args:
        client: A client of threads.

        library: Its module.
    """

    def __init__(self, client: Any, library: Any) -> None:
        self._client, self._library = client, library
        self._threads = concurrent.futures.ThreadPoolExecutor(MANY)
        self._order = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.close()
        await asyncio.to_thread(self._threads.shutdown)

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """Make a request."""
        return self._client.build_request(*args, **kwargs)

    async def send(self, request: Any, **kwargs: Any) -> Any:
        """Send a request."""
        return _Answer(self, await self.run(lambda: self._client.send(request, **kwargs)))

    async def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """Send a request, with a body that may be made in the loop."""
        content = kwargs.get("content")
        if content is not None and hasattr(content, "__aiter__"):
            kwargs["content"] = _parts(content, asyncio.get_running_loop())
        return await self.run(lambda: self._client.request(method, url, **kwargs))

    def __getattr__(self, name: str) -> Any:
        async def call(url: str, **kwargs: Any) -> Any:
            return await self.request(name.upper(), url, **kwargs)

        return call

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, **kwargs: Any) -> AsyncIterator[Any]:
        """Send a request, and give an answer that is to be read."""
        request = self._client.build_request(method, url, **kwargs)
        answer = await self.send(request, stream=True)
        try:
            yield answer
        finally:
            await answer.aclose()

    async def run(self, work: Callable[[], T]) -> T:
        """
        Work in a thread; to be cancelled interrupts it, and waits for its end.

        The next one begins when this one waits, or is done: tasks begin in an order, and threads do not.
        """
        thread: list[int] = []

        def noted() -> T | _Raised:
            _waited.discard(threading.get_ident())
            thread.append(threading.get_ident())
            try:
                return work()
            except KeyboardInterrupt:
                raise Interrupted from None
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                return _Raised(error)
            finally:
                _interrupted.discard(thread[0])

        running: asyncio.Future[T | _Raised] | None = None
        try:
            async with self._order:
                running = asyncio.get_running_loop().run_in_executor(self._threads, noted)
                while not running.done() and not _waited.issuperset(thread or {0}):
                    await asyncio.sleep(0)
            found = await asyncio.shield(running)
        except asyncio.CancelledError:
            while running is not None and not running.done():
                for number in thread:
                    interrupt(number)
                await asyncio.wait([running], timeout=STEP)
            _interrupted.difference_update(thread)
            if running is not None and not running.cancelled():
                running.exception()  # looked at
            raise
        if isinstance(found, _Raised):
            raise found.error
        return found


class Interrupted(Exception):
    """A thread was interrupted."""


@attrs.frozen
class _Raised:
    """What was raised, on its way through a future: those of Python 3.11 make another of a TimeoutError."""

    error: Exception


class _Answer:
    """An answer whose body is awaited."""

    def __init__(self, client: Threaded, answer: Any) -> None:
        self._threaded, self._answer = client, answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    @property
    def extensions(self) -> Any:
        """Give them; a stream that is no longer HTTP is awaited."""
        theirs = dict(self._answer.extensions)
        if self._answer.status_code == 101:
            theirs["network_stream"] = _Stream(self._threaded, theirs["network_stream"])
        return theirs

    async def aread(self) -> bytes:
        """Read all of it."""
        body: bytes = await self._threaded.run(self._answer.read)
        return body

    async def aclose(self) -> None:
        """Close it."""
        await self._threaded.run(self._answer.close)

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        """Read it part by part."""
        parts = self._answer.iter_raw()
        while (part := await self._threaded.run(lambda: next(parts, None))) is not None:
            yield part

    aiter_bytes = aiter_raw


class _Stream:
    """An upgraded stream that is awaited."""

    def __init__(self, client: Threaded, stream: Any) -> None:
        self._threaded, self._stream = client, stream

    async def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read."""
        data: bytes = await self._threaded.run(lambda: self._stream.read(*args, **kwargs))
        return data

    async def aclose(self) -> None:
        """Close it."""
        await asyncio.to_thread(self._stream.close)

    async def write(self, *args: Any, **kwargs: Any) -> None:
        """Write."""
        await self._threaded.run(lambda: self._stream.write(*args, **kwargs))


def _parts(parts: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """Give in a thread what is made in *loop*."""

    async def following() -> bytes | _Raised | None:
        try:
            return await anext(parts, None)
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            return _Raised(error)

    _waited.add(threading.get_ident())
    while True:
        future = asyncio.run_coroutine_threadsafe(following(), loop)
        while not future.done():
            with contextlib.suppress(TimeoutError):
                future.exception(STEP)
            if threading.get_ident() in _interrupted:
                future.cancel()
                raise KeyboardInterrupt
        part = future.result()
        if part is None:
            return
        if isinstance(part, _Raised):
            raise part.error
        yield part
