"""
What the engine asks of whatever runs it: all there is between it and asyncio, uvloop or trio.

The names and meanings are asyncio's, so that its loops and transports do as they are, and nothing has to be
called in between. `runtimes/on_trio` says the same of trio.

All of it is called in the loop's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Protocol, TypeVar

from pool_manager.runtimes.addresses import Address, Guide


class Handle(Protocol):
    """A timer that was armed."""

    def cancel(self) -> None:
        """Have nothing called."""


class Future(Protocol):
    """What one task awaits, once. Cancelled, the task waits no more, and who resolves it need not know."""

    def done(self) -> bool:
        """Whether there is nothing to wait for."""
        ...

    def set_result(self, result: None, /) -> None:
        """Wake who waits."""

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait; others have a turn in any case."""
        ...


class Task(Protocol):
    """A task of the engine's own, which ends with the loop at the latest."""

    def cancel(self) -> object:
        """Cancel it. It need not have begun by then, and may never begin."""
        ...

    def get_coro(self) -> object:
        """Give the coroutine it runs, to be closed where no loop will run it any more."""
        ...


class Loop(Protocol):
    """Who has a turn when, and what time it is."""

    def time(self) -> float:
        """Tell the time that timers go by."""
        ...

    def is_closed(self) -> bool:
        """Whether nothing will be called any more."""
        ...

    def call_soon(self, function: Callable[[], object], /) -> object:
        """Have *function* called in the next turn, after what was to be called before."""
        ...

    def call_later(self, delay: float, function: Callable[[], object], /) -> Handle:
        """Have *function* called in *delay* seconds."""
        ...

    def call_at(self, when: float, function: Callable[[], object], /) -> Handle:
        """Have *function* called when `time` is *when*."""
        ...

    def create_future(self) -> Future:
        """Give something to wait for."""
        ...

    def create_task(self, coroutine: Coroutine[Any, Any, None], /, *, context: Context) -> Task:
        """Run *coroutine* in the background, in *context* or one that holds nothing of the caller's."""
        ...


class Transport(Protocol):
    """
    A socket that is connected, TLS above it included: reads by itself, and keeps what it cannot send yet.

    It calls a `Listener`.
    """

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send *data*; what the socket does not take is kept as it is, and may not change."""

    def pause_reading(self) -> None:
        """Read no more for now."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close when all that is kept was sent, with TLS's goodbye."""

    def abort(self) -> None:
        """Close at once."""

    def set_protocol(self, protocol: Any, /) -> None:  # noqa: ANN401 - each library has a type of its own for it
        """Call *protocol* from now on."""

    def get_extra_info(self, name: str, /) -> Any:  # noqa: ANN401 - as asyncio
        """Give "socket", "sockname", "peername", "ssl_object", "sslcontext"; None for what there is not."""
        ...


class Listener:
    """What a transport calls. What is of no interest is let pass."""

    def connection_made(self, transport: Transport, /) -> None:
        """The connection stands."""

    def data_received(self, data: bytes, /) -> None:
        """These bytes have come."""

    def eof_received(self) -> None:
        """No more will come."""

    def connection_lost(self, exc: Exception | None, /) -> None:
        """The socket is gone: closed, or broken by *exc*. Nothing is called after that."""

    def pause_writing(self) -> None:
        """Much is kept that the socket does not take."""

    def resume_writing(self) -> None:
        """Little is kept by now."""


L = TypeVar("L", bound=Listener)


class Dials(Protocol):
    """What connects."""

    async def dial(self, address: Address, make_listener: Callable[[], L], guide: Guide, /) -> L:
        """
        Connect to *address*, as *guide* says, and give what listens, with its connection made.

        Cancelled, it leaves no socket behind.

        Raises:
            TransportFailure: A ConnectError that says what failed, with its cause.
        """
        ...
