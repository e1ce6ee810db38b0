"""
Where a pool lives: one event loop, one trio run, or threads.

A pool's sockets refer to their loop, so no weak reference alone lets go of
both. Two things end a pool with its loop: a *watch*, an async generator that
the loop itself finishes in `shutdown_asyncgens` (asyncio, uvloop) or at the end
of the run (trio) while I/O still works; and `Runtime.is_over`, asked at later
calls, for loops that were closed without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

import anyio
import sniffio

from pool_manager.runtimes.on_asyncio.loop import AsyncioLoop
from pool_manager.stats import Runtime as RuntimeName


class Runtime(Protocol):
    """One place where pools live. Refers to its loop weakly."""

    @property
    def name(self) -> RuntimeName:
        """How `stats` calls it."""
        ...

    def is_over(self) -> bool:
        """Whether nothing can run there any more."""
        ...

    def is_here(self) -> bool:
        """Whether the caller runs there."""
        ...

    def call_soon(self, function: Callable[[], object]) -> None:
        """
        Have *function* called there, from any thread and from a finaliser.

        Raises:
            RuntimeError: Nothing can run there any more.
        """
        ...

    def call_later(self, delay: float, function: Callable[[], object]) -> None:
        """Have *function* called there in *delay* seconds; not at all if it is over by then."""
        ...


def current() -> object:
    """
    Give the object that stands for the running loop: an asyncio loop or a trio token.

    Raises:
        RuntimeError: Neither asyncio nor trio runs here.
    """
    try:
        if asyncio.current_task() is not None:  # the short way; trio has none, as a guest of asyncio neither
            return asyncio.get_running_loop()
    except RuntimeError:  # no loop of asyncio's
        pass
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        library = "asyncio"  # a callback outside of any task: the next line tells
    if library == "asyncio":
        return asyncio.get_running_loop()
    if library == "trio":
        import trio  # noqa: PLC0415 - only where trio runs

        return trio.lowlevel.current_trio_token()
    raise RuntimeError(f"pool_manager runs on asyncio and trio, not on {library}")


def current_or_none() -> object | None:
    """Give what `current` gives, or None where no loop runs."""
    try:
        return current()
    except RuntimeError:
        return None


def runtime_of(loop: object) -> Runtime:
    """Wrap what `current` gave."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return AsyncioLoop(loop)
    from pool_manager.runtimes.on_trio.run import TrioRun  # noqa: PLC0415 - only where trio runs

    return TrioRun(loop)  # type: ignore[arg-type]  # `current` gives nothing else


class Watch:
    """
    Has the running loop await *on_end* when it ends, unless `stop` comes first.

    The loop does so because this is an async generator that was begun and not
    finished: its hooks know of every such one, and `shutdown_asyncgens` (asyncio,
    uvloop) or the end of the run (trio) finishes it while I/O still works. Keep the
    watch until then: it refers to its loop.
    """

    def __init__(self, on_end: Callable[[], Awaitable[None]]) -> None:
        self._on_end = on_end
        self._stopped = False
        self._generator = self._until_the_end()
        with contextlib.suppress(StopIteration):
            # One step by hand: the hooks learn of it, and nothing is awaited.
            self._generator.__anext__().send(None)

    async def _until_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if not self._stopped:
                await self._on_end()

    def stop(self) -> None:
        """Watch no longer. From any thread; harmless while the loop is ending."""
        self._stopped = True
        # RuntimeError: the loop is finishing the generator right now.
        with contextlib.suppress(StopIteration, RuntimeError):
            self._generator.aclose().send(None)


class Signal:
    """An event of the running loop that any thread may set."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._runtime = runtime_of(current())

    def set(self) -> None:
        """Wake who waits; nothing if the loop is over."""
        with contextlib.suppress(RuntimeError):
            self._runtime.call_soon(self._event.set)

    async def wait(self, seconds: float) -> None:
        """Wait until it is set, for up to *seconds*."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
