"""Requests of threads, over `httpx.HTTPTransport`."""

from __future__ import annotations

import threading
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
        journey, slot = Journey(self, carrier), False
        try:
            slot = self._wait_for_slot(carrier, request)
            sent = self.translate(request, carrier, _tracer(request, journey))
            response = carrier.transport.handle_request(sent)
        except BaseException as error:
            self.give_back(carrier, broken=self.failed(error, journey), slot=slot)
            if told := failure(error):
                raise told from error
            raise
        seen, record = self.arrived(request, journey, response.extensions)
        return SyncResponse(
            status=response.status_code,
            headers=response.headers.raw,
            extensions=response.extensions,
            record=record,
            body=_Body(self, carrier, seen, response, slot=slot),
        )

    def _wait_for_slot(self, carrier: Carrier, request: Request) -> bool:
        if carrier.slots is None:
            return False
        if not carrier.slots.acquire(timeout=request.timeouts.get("pool")):
            raise httpx.PoolTimeout(f"lane {request.lane!r} is full")
        return True

    def give_back(self, carrier: Carrier, *, broken: bool, slot: bool) -> None:
        """Take a request off *carrier*, and close that if it was the last on a retired one."""
        if slot:
            carrier.slots.release()
        if self.leave(carrier, broken=broken):
            carrier.transport.close()

    def reset(self) -> None:
        """Retire every transport."""
        for carrier in self.retire_all():
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
        self, engine: BorrowedEngine, carrier: Carrier, seen: Seen, response: httpx.Response, *, slot: bool
    ) -> None:
        self._engine, self._carrier, self._seen, self._slot = engine, carrier, seen, slot
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
            self._engine.give_back(self._carrier, broken=self._broken, slot=self._slot)

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
