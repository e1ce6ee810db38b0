"""What carries requests: an open connection, of either version of HTTP."""

from __future__ import annotations

import contextlib
from _thread import allocate_lock
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple

from pool_manager.core.messages import FailureKind, TransportFailure
from pool_manager.core.origins import Connection
from pool_manager.core.scheduler import Scheduler
from pool_manager.runtimes.on_threads.wires import Wire

if TYPE_CHECKING:
    from pool_manager.runtimes.on_threads.exchanges import Exchange

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Books(Protocol):
    """Where moves of the scheduler are made, one at a time: the engine."""

    def now(self) -> float:
        """Tell the scheduler's time."""
        ...

    def tell(self, book: Scheduler, move: Callable[[Scheduler, *Ts], object], *args: *Ts) -> None:
        """Make a move of the scheduler, and do what follows. Never waits; it may be done a little later."""
        ...

    def decide(self, book: Scheduler | None, move: Callable[[Scheduler, *Ts], T], *args: *Ts) -> T | None:
        """Make a move of *book*, or of the one in use, and do what follows. None if it was given up."""
        ...


class Owner(Books, Protocol):
    """What a carrier needs of its engine."""

    def leave(self, exchange: Exchange, *, reusable: bool = True, keep_alive: float | None = None) -> None:
        """Give the ticket of *exchange* back. Never waits; safe to repeat."""
        ...

    def parted(self, carrier: Carrier) -> None:
        """Know that the socket of *carrier* is closed."""
        ...

    def later(self, job: Callable[[], object]) -> None:
        """Have *job* done by whoever makes the next move. For finalisers."""
        ...


class Carrier(ABC):
    """
    One open connection.

    Attributes:
        book: The scheduler that has it in its book.

        connection: Its entry there.

        wire: The socket.

        is_lost: Nothing can be sent any more.
    """

    http_version: bytes

    def __init__(self, owner: Owner, book: Scheduler, connection: Connection, wire: Wire) -> None:
        self.owner, self.book, self.connection, self.wire = owner, book, connection, wire
        self.is_lost = False
        self._closing = allocate_lock()  # taken by who closes the socket, and never given back

    @property
    def info(self) -> Wire:
        """What a caller may know of the socket."""
        return self.wire

    @property
    def is_usable(self) -> bool:
        """A request may be begun."""
        return not self.is_lost

    @abstractmethod
    def is_fresh(self) -> bool:
        """Read what came while nobody looked (rule 12); tell whether a request may be begun."""

    def glance(self) -> None:  # noqa: B027 - only where there are others to read for
        """Read what is there, if nobody else does: it may concern those who wait for a connection."""

    @abstractmethod
    def quit(self, exchange: Exchange) -> None:
        """
        Know that *exchange*, which holds nothing any more, is gone; it may have been interrupted anywhere.

        The socket of a connection that is lost is closed, unless a thread uses it, which will.
        """

    @abstractmethod
    def begin(self, exchange: Exchange) -> None:
        """
        Write the head of a request, and the body if it is there and short.

        Raises:
            TransportFailure: The exchange is not started if nothing was written.
        """

    @abstractmethod
    def send(self, exchange: Exchange, data: memoryview) -> int:
        """Write what is taken of a part of the body; give how much that is."""

    @abstractmethod
    def wait_to_send(self, exchange: Exchange, seconds: float | None) -> bool:
        """Wait until more is taken, or the answer makes it needless; False if time is over."""

    @abstractmethod
    def look(self, exchange: Exchange) -> None:
        """Read what is there: the answer may make the rest of the request needless."""

    def has_all_of(self, exchange: Exchange) -> bool:  # noqa: ARG002 - for those that can tell
        """Tell whether the server has the whole request, so that its early answer cut nothing short."""
        return False

    @abstractmethod
    def end_request(self, exchange: Exchange) -> None:
        """End the body."""

    @abstractmethod
    def pull(self, exchange: Exchange, seconds: float | None) -> bool:
        """Wait until something has come for *exchange*; False if time is over."""

    @abstractmethod
    def consumed(self, exchange: Exchange, size: int) -> None:
        """Know that the caller took *size* bytes of the body, of an answer that has not ended."""

    @abstractmethod
    def abandon(self, exchange: Exchange, *, in_passing: bool) -> None:
        """Give up *exchange*, or its answer, and give its ticket back. Waits for nothing if *in_passing*."""

    @abstractmethod
    def suspect(self) -> None:
        """Know that a request has waited in vain."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; requests still out fail. From any thread; never waits; safe to repeat."""

    @abstractmethod
    def disown(self) -> None:
        """Let the socket go in a forked child, without a byte on the wire."""

    def park(self) -> None:
        """Let the socket go in a forked child: it says nothing, and waits for no lock of the parent's."""
        self._closing.acquire(blocking=False)
        self.wire.park()
        self.wire.close()

    def lose(self) -> None:
        """Tell the scheduler that the connection is no more."""
        self.is_lost = True
        self.owner.tell(self.book, Scheduler.lost, self.connection, self.owner.now())

    def part(self, last: bytes | None = None) -> None:
        """Close the socket, which nobody may be using; before that send *last*, and what TLS has to say."""
        try:
            if self._closing.acquire(blocking=False):
                with contextlib.suppress(OSError):
                    if last is not None and (
                        words := b"".join((self.wire.encode(last), self.wire.goodbye()))
                    ):
                        self.wire.send_now(words)
                self.wire.close()
                self.owner.parted(self)
        except BaseException:
            self.wire.close()
            self.owner.parted(self)
            raise


def broken(error: OSError, kind: FailureKind = "ReadError") -> TransportFailure:
    """Say how a connection broke."""
    failure = TransportFailure(kind, str(error) or repr(error))
    failure.__cause__ = error
    return failure


def closed() -> TransportFailure:
    """Say that the pool closed the connection."""
    return TransportFailure("ReadError", "the connection was closed")
