"""Requests of threads, over `httpx.HTTPTransport`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from pool_manager.core.messages import Request, SyncResponse
from pool_manager.runtimes.borrowed.carriers import Borrowed, Carrier, Journey, Seen
from pool_manager.runtimes.borrowed.sockets import connect_by, lock_http2, shut
from pool_manager.runtimes.borrowed.translating import failure


class BorrowedEngine(Borrowed):
    """The engine of the threads' pool."""

    @staticmethod
    def transport_type(**arguments: Any) -> httpx.HTTPTransport:
        """Make a transport on streams that several threads may use."""
        # Late: importing httpcore imports trio, where that is installed.
        from pool_manager.runtimes.borrowed.streams import ThreadBackend  # noqa: PLC0415

        transport = httpx.HTTPTransport(**arguments)
        connect_by(transport, ThreadBackend())
        return transport

    semaphore_type = threading.Semaphore

    def open(self, request: Request) -> SyncResponse:
        """Send *request* and wait for the head of its answer; raises `TransportFailure`."""
        carrier = self.enter(request)
        journey, held = Journey(self, carrier), list[Any]()
        turn = _Turn(carrier)
        try:
            self._wait(carrier, request, held, turn)
            self.check_open()
            sent = self.translate(request, carrier, _tracer(request, journey, turn))
            response = carrier.transport.handle_request(sent)
        except BaseException as error:
            turn.end()
            self.give_back(carrier, broken=self.failed(error, journey), held=held)
            if told := failure(error):
                raise told from error
            raise
        turn.end()
        seen, record = self.arrived(request, journey, response.extensions)
        return SyncResponse(
            status=response.status_code,
            headers=response.headers.raw,
            extensions=response.extensions,
            record=record,
            body=_Body(self, carrier, seen, response, held=held),
        )

    def _wait(self, carrier: Carrier, request: Request, held: list[Any], turn: _Turn) -> None:
        patience = request.timeouts.get("pool")
        deadline = None if patience is None else time.monotonic() + patience

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        def take(slot: Any) -> None:
            if slot is not None and not slot.acquire(timeout=left()):
                raise httpx.PoolTimeout(f"lane {request.lane!r} is full")
            if slot is not None:
                held.append(slot)

        take(carrier.lane_slots)
        if not carrier.serial and not turn.begin(left()):
            raise httpx.PoolTimeout("no connection was found")
        if carrier.serial:  # known before, or learned by whoever had the turn before
            turn.end()
        if carrier.serial is not False:
            take(carrier.connection_slots)

    def give_back(self, carrier: Carrier, *, broken: bool, held: list[Any]) -> None:
        """Take a request off *carrier*."""
        for slot in held:
            slot.release()
        self.leave(carrier, broken=broken)

    def close_carrier(self, carrier: Carrier) -> None:
        """Close the connections of a transport."""
        carrier.transport.close()

    def close(self) -> None:
        """Close every connection, and wake the threads that read from one."""
        for carrier in self.forget_all():
            for stream in carrier.streams:
                shut(stream)
            carrier.transport.close()


class _Body:
    """A response body; closing it gives the request's place back, once."""

    def __init__(
        self,
        engine: BorrowedEngine,
        carrier: Carrier,
        seen: Seen,
        response: httpx.Response,
        *,
        held: list[Any],
    ) -> None:
        self._engine, self._carrier, self._seen, self._held = engine, carrier, seen, held
        self._stream: Any = response.stream
        # Closed early, an HTTP/2 stream is never reset by httpcore: the connection must go.
        self._broken = response.http_version == "HTTP/2"
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            raise
        except BaseException as error:
            self._broken = True
            if told := failure(error):
                raise told from error
            raise
        self._broken = False

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._stream.close()
        finally:
            self._engine.released(self._seen)
            self._engine.give_back(self._carrier, broken=self._broken, held=self._held)

    def abandon(self) -> None:
        self.close()


class _Turn:
    """A request's turn to find its connection and send its head there. `end` may be repeated."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._taken = False

    def begin(self, seconds: float | None) -> bool:
        """Wait for the turn for up to *seconds* (None: for ever); False if it did not come."""
        self._taken = self._carrier.sending.acquire(timeout=-1 if seconds is None else seconds)
        return self._taken

    def note(self, event: str) -> None:
        """Take one event of httpcore's `trace` extension."""
        if event == "http2.send_connection_init.started":
            lock_http2(self._carrier.transport)
            self._carrier.serial = False
        elif event == "http11.send_request_headers.started":
            self._carrier.serial = True
            self.end()
        elif event == "http2.send_request_headers.complete":
            self.end()

    def end(self) -> None:
        """Let the next one have its turn."""
        if self._taken:
            self._taken = False
            self._carrier.sending.release()


def _tracer(request: Request, journey: Journey, turn: _Turn) -> Callable[[str, Mapping[str, Any]], None]:
    """Listen to httpcore, for ourselves and for the caller's own `trace`."""
    theirs: Any = request.extensions.get("trace")

    def all_of(event: str, info: Mapping[str, Any]) -> None:
        journey.note(event, info)
        turn.note(event)
        if theirs is not None:
            theirs(event, info)

    return all_of
