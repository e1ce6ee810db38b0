"""Requests of one event loop or trio run, over `httpx.AsyncHTTPTransport`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from pool_manager.core.messages import AsyncResponse, Request
from pool_manager.runtimes.borrowed.carriers import Borrowed, Carrier, Journey, Seen
from pool_manager.runtimes.borrowed.sockets import sever
from pool_manager.runtimes.borrowed.translating import failure


class AsyncBorrowedEngine(Borrowed):
    """The engine of a loop's pool. What closes a connection never waits: nothing can cancel it."""

    transport_type = httpx.AsyncHTTPTransport
    semaphore_type = anyio.Semaphore

    async def open(self, request: Request) -> AsyncResponse:
        """Send *request* and wait for the head of its answer; raises `TransportFailure`."""
        carrier = self.enter(request)
        journey, held = Journey(self, carrier), list[Any]()
        try:
            await self._pass_slots(carrier, request, held)
            self.check_open()
            sent = self.translate(request, carrier, _tracer(request, journey))
            response = await carrier.transport.handle_async_request(sent)
        except BaseException as error:
            self.give_back(carrier, broken=self.failed(error, journey), held=held)
            if told := failure(error):
                raise told from error
            raise
        seen, record = self.arrived(request, journey, response.extensions)
        return AsyncResponse(
            status=response.status_code,
            headers=response.headers.raw,
            extensions=response.extensions,
            record=record,
            body=_Body(self, carrier, seen, response, held=held),
        )

    async def _pass_slots(self, carrier: Carrier, request: Request, held: list[Any]) -> None:
        try:
            with anyio.fail_after(request.timeouts.get("pool")):
                for slot in self.slots_of(carrier):
                    await slot.acquire()
                    held.append(slot)
        except TimeoutError:
            raise httpx.PoolTimeout(f"lane {request.lane!r} is full") from None

    def give_back(self, carrier: Carrier, *, broken: bool, held: list[Any]) -> None:
        """Take a request off *carrier*."""
        for slot in held:
            slot.release()
        self.leave(carrier, broken=broken)

    def close_carrier(self, carrier: Carrier) -> None:
        """Close the connections of a transport."""
        for stream in carrier.streams:
            sever(stream)

    async def aclose(self) -> None:
        """Close every connection, and let the loop see to it before this returns."""
        self.abandon()
        await anyio.lowlevel.checkpoint()


class _Body:
    """A response body; closing it gives the request's place back, once."""

    def __init__(
        self,
        engine: AsyncBorrowedEngine,
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

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except GeneratorExit:
            raise
        except BaseException as error:
            self._broken = True
            if told := failure(error):
                raise told from error
            raise
        self._broken = False

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        except BaseException as error:
            self._broken = True
            if failure(error) is None:
                raise
            # Else a neighbour's cancellation broke the connection: it goes, and whoever closes need not know.
        finally:
            self._leave()

    def abandon(self) -> None:
        if not self._closed:
            self._closed = self._broken = True  # nothing here can wait for httpcore to close the stream
            self._leave()

    def _leave(self) -> None:
        self._engine.released(self._seen)
        self._engine.give_back(self._carrier, broken=self._broken, held=self._held)


def _tracer(
    request: Request, journey: Journey
) -> Callable[[str, Mapping[str, Any]], Coroutine[Any, Any, None]]:
    """Listen to httpcore, for ourselves and for the caller's own `trace`."""
    theirs: Any = request.extensions.get("trace")

    async def both(event: str, info: Mapping[str, Any]) -> None:
        journey.note(event, info)
        if theirs is not None:
            await theirs(event, info)

    return both
