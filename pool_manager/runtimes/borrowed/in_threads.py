"""Requests of threads, over `httpx.HTTPTransport`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from pool_manager.core.messages import Request, SyncResponse
from pool_manager.runtimes.borrowed.carriers import Borrowed, Carrier, Journey, Seen, failure
from pool_manager.runtimes.borrowed.sockets import shut


class BorrowedEngine(Borrowed):
    """The engine of the threads' pool."""

    transport_type = httpx.HTTPTransport
    semaphore_type = threading.Semaphore

    def open(self, request: Request) -> SyncResponse:
        """Send *request* and wait for the head of its answer; raises `TransportFailure`."""
        carrier = self.enter(request)
        journey, held = Journey(self, carrier), list[Any]()
        try:
            self._pass_slots(carrier, request, held)
            sent = self.translate(request, carrier, _tracer(request, journey))
            response = carrier.transport.handle_request(sent)
        except BaseException as error:
            self.give_back(carrier, broken=self.failed(error, journey), held=held)
            if told := failure(error):
                raise told from error
            raise
        seen, record = self.arrived(request, journey, response.extensions)
        return SyncResponse(
            status=response.status_code,
            headers=response.headers.raw,
            extensions=response.extensions,
            record=record,
            body=_Body(self, carrier, seen, response, held=held),
        )

    def _pass_slots(self, carrier: Carrier, request: Request, held: list[Any]) -> None:
        patience = request.timeouts.get("pool")
        deadline = None if patience is None else time.monotonic() + patience
        for slot in self.slots_of(carrier):
            if not slot.acquire(timeout=None if deadline is None else max(0.0, deadline - time.monotonic())):
                raise httpx.PoolTimeout(f"lane {request.lane!r} is full")
            held.append(slot)

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


def _tracer(request: Request, journey: Journey) -> Callable[[str, Mapping[str, Any]], None]:
    """Listen to httpcore, for ourselves and for the caller's own `trace`."""
    theirs: Any = request.extensions.get("trace")
    if theirs is None:
        return journey.note

    def both(event: str, info: Mapping[str, Any]) -> None:
        journey.note(event, info)
        theirs(event, info)

    return both
