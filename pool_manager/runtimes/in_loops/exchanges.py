"""One attempt to have a request answered: what has come of it, and who waits for more."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from pool_manager.core.messages import Headers, Request, TransportFailure
from pool_manager.core.origins import Ticket
from pool_manager.runtimes.in_loops.sleeping import Sleeper, Timers

if TYPE_CHECKING:
    from pool_manager.runtimes.in_loops.carriers import Carrier


class Exchange(Sleeper):
    """
    A request, from being given a ticket to giving it back. Its carrier writes what is noted here.

    Attributes:
        carrier: What carries it, once it was begun.

        started: It was begun: something of it may have reached the server.

        is_eager: It is begun as soon as it has a connection, before its task is told.

        queued_for: Seconds for which it waited for a connection.

        stream: The number of its HTTP/2 stream; 0 over HTTP/1.1.

        status: That of the final answer; 0 while it has not come.

        begun: A byte of the answer has come.

        ended: The answer is complete.

        written: The request is complete.

        failure: Why the answer will not be complete.

        unprocessed: The server says that it did nothing with the request.

        left: The ticket was given back; the connection may be somebody else's.
    """

    __slots__ = (
        "_parts",
        "begun",
        "buffered",
        "carrier",
        "ended",
        "failure",
        "headers",
        "is_eager",
        "left",
        "queued_for",
        "reason",
        "request",
        "started",
        "status",
        "stream",
        "ticket",
        "unprocessed",
        "written",
    )

    carrier: Carrier
    headers: Headers

    def __init__(self, timers: Timers, request: Request, ticket: Ticket) -> None:
        super().__init__(timers)
        self.reason = b""
        self.stream = self.status = self.buffered = 0
        self.queued_for = 0.0
        self.started = self.is_eager = self.begun = self.ended = False
        self.written = self.unprocessed = self.left = False
        self.failure: Exception | None = None
        self.request, self.ticket = request, ticket
        self._parts: deque[bytes] = deque()

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it."""
        return self.ended or self.failure is not None

    # What the carrier notes

    def take_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """The head of the final answer is there."""
        self.status, self.reason, self.headers = status, reason, headers
        self.wake()

    def take_part(self, part: bytes) -> None:
        """A part of the body is there."""
        self._parts.append(part)
        self.buffered += len(part)
        self.wake()

    def end(self) -> None:
        """The answer is complete."""
        self.ended = True
        self.wake()

    def fail(self, failure: Exception, *, unprocessed: bool = False) -> None:
        """Nothing more will come, since *failure*."""
        if not self.is_over:
            self.failure, self.unprocessed = failure, unprocessed
            self.wake()

    # What the caller awaits

    async def read(self, seconds: float | None) -> bytes | None:
        """
        Wait for the next part of the body, for so many *seconds*; None at its end.

        Raises:
            TransportFailure: The answer breaks off.
        """
        while not self._parts:
            if self.ended:
                return None
            if self.failure is not None:
                raise self.failure
            await self.sleep(seconds)
            if self.overslept:
                raise self.too_slow(seconds)
        part = self._parts.popleft()
        self.buffered -= len(part)
        if not self.ended:
            self.carrier.consumed(self, len(part))
        return part

    def take_whole(self) -> bytes | None:
        """Take what is left of the body, and give the connection back; None if more is to come."""
        if not self.ended:
            return None
        whole = b"".join(self._parts)  # one part is not copied
        self._parts.clear()
        self.abandon()
        return whole

    def too_slow(self, seconds: float | None) -> TransportFailure:
        """Give the error of who has waited in vain for a part of the answer."""
        self.carrier.suspect()
        return TransportFailure("ReadTimeout", f"nothing came from {self.request.host} for {seconds} s")

    async def wait_to_write(self) -> None:
        """Wait until the connection takes more, or the answer makes it needless."""
        seconds = self.request.timeouts.get("write")
        await self.sleep(seconds)
        if self.overslept:
            raise TransportFailure("WriteTimeout", f"{self.request.host} took nothing for {seconds} s")

    # The body of an answer, as the faces have it

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        part = await self.read(self.request.timeouts.get("read"))
        if part is None:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        """Give the connection back. Nothing is awaited: nothing can cancel it."""
        self.abandon()

    def abandon(self) -> None:
        """Give the connection back, whatever the state. Safe to repeat."""
        if not self.left:
            self.carrier.abandon(self)
        # Who reads on must not take it for whole, nor wait, in another task, for what will not come.
        self.ended = self.ended and not self._parts
        self.fail(TransportFailure("ReadError", "the answer was closed"))
        self._parts.clear()
        self.buffered = 0
