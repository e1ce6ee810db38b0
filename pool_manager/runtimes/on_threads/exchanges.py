"""One request on its way through one connection: what has come of its answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, final

from pool_manager.core.messages import Headers, Request, TransportFailure
from pool_manager.core.origins import Ticket
from pool_manager.runtimes.on_threads.waiting import Waiter

if TYPE_CHECKING:
    from pool_manager.core.scheduler import Scheduler
    from pool_manager.runtimes.on_threads.carriers import Carrier


@final
class Exchange:
    """
    One attempt at a request: what it has, to be given back however it ends; then the body of its answer.

    Attributes:
        book: The scheduler that gave the ticket.

        ticket: Its claim to a connection, once it has asked.

        started: Something may have been written.

        carrier: Its connection. There only while it is started.

        queued_for: Seconds that it has waited for that.

        stream: The number of its HTTP/2 stream; 0 over HTTP/1.1.

        sent: Bytes of the request's body that went along with its head.

        status: That of the final answer; 0 while it has not come.

        buffered: Bytes of the body that have come and were not read. Exact over HTTP/1.1 alone.

        is_read: A thread reads it, or is about to, over HTTP/1.1.

        begun: A byte of the answer has come.

        ended: The answer is complete.

        written: The request is complete.

        failure: Why the answer will not be complete.

        unprocessed: The server says that it did nothing with the request.

        left: The ticket was given back; the connection may be somebody else's.

        news: Something was noted since the thread looked last.

        waiter: Where the thread sleeps while another reads for it.
    """

    __slots__ = (
        "_parts",
        "begun",
        "book",
        "buffered",
        "carrier",
        "ended",
        "failure",
        "headers",
        "is_read",
        "left",
        "news",
        "queued_for",
        "reason",
        "request",
        "sent",
        "started",
        "status",
        "stream",
        "ticket",
        "unprocessed",
        "waiter",
        "written",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        self.book: Scheduler | None = None
        self.ticket: Ticket | None = None
        self.carrier: Carrier  # not before it is started
        self.queued_for = 0.0
        self.stream = self.status = self.sent = self.buffered = 0
        self.reason = b""
        self.headers: Headers = []
        self.started = self.begun = self.ended = self.written = self.is_read = False
        self.unprocessed = self.left = self.news = False
        self.failure: TransportFailure | None = None
        self.waiter: Waiter | None = None
        self._parts: deque[bytes] = deque()

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it."""
        return self.ended or self.failure is not None

    # What the carrier notes

    def start(self, carrier: Carrier) -> None:
        """From here on something may have been written."""
        self.carrier = carrier
        self.started = True

    def unstart(self) -> None:
        """Nothing was written after all."""
        self.started = False

    def take_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """The head of the final answer is there."""
        self.status, self.reason, self.headers = status, reason, headers
        self.news = True

    def take_part(self, part: bytes) -> None:
        """A part of the body is there."""
        self._parts.append(part)
        self.buffered += len(part)
        self.news = True

    def end(self) -> None:
        """The answer is complete."""
        self.ended, self.news = self.failure is None, True

    def fail(self, failure: TransportFailure, *, unprocessed: bool = False) -> None:
        """Nothing more will come, since *failure*."""
        if not self.is_over:
            self.failure, self.unprocessed = failure, unprocessed
        self.news = True

    # What the thread waits for

    def wait_for_head(self) -> None:
        """
        Wait until the final answer begins.

        Raises:
            TransportFailure: It does not.
        """
        seconds = self.request.timeouts.get("read")
        while not self.status:
            if self.failure is not None:
                raise self.failure
            self._pull(seconds)

    def read(self, seconds: float | None) -> bytes | None:
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
            self._pull(seconds)
        try:
            part = self._parts.popleft()
        except IndexError:  # another thread has closed it since we looked
            return self.read(seconds)
        self.buffered -= len(part)
        if not self.ended:
            self.carrier.consumed(self, len(part))
        return part

    def take_whole(self) -> bytes | None:
        """Take what is left of the body, and give the connection back; None if more is to come."""
        if not self.ended:
            return None
        parts, self._parts = self._parts, deque()
        if not self.left:
            self.close()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pull(self, seconds: float | None) -> None:
        if not self.carrier.pull(self, seconds):
            self.carrier.suspect()
            raise TransportFailure("ReadTimeout", f"nothing came from {self.request.host} for {seconds} s")

    def __iter__(self) -> Iterator[bytes]:
        seconds = self.request.timeouts.get("read")
        while (part := self.read(seconds)) is not None:
            yield part

    def close(self) -> None:
        """Give the connection back, whatever the state. Safe to repeat."""
        self._leave(in_passing=False)

    def abandon(self) -> None:
        """Give the connection back: the answer was collected unclosed, and somebody else does this."""
        self._leave(in_passing=True)

    def _leave(self, *, in_passing: bool) -> None:
        if self._parts or not self.is_over:  # who reads on is not to take it for whole
            self.failure = TransportFailure("ReadError", "the answer was closed")
            self.ended = False
        self._parts.clear()
        if self.started:
            if not self.left:
                self.carrier.abandon(self, in_passing=in_passing)
            self.carrier.quit(self)  # an interrupt may have struck where this was to be done
