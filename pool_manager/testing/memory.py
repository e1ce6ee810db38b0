"""
A server in memory: requests of a pooled client are answered by a function or an app.

It takes the place of the engine, below the leases, the lanes and the retries and
above the connections. So clients of both libraries, sync and async, over ``http``
and ``https`` and to any host, find it; it needs no socket, certificate, thread or
port; and a test that ends in the middle leaves none. What a wire does (timeouts,
limits, connections that break) it does not do: a handler raises what it is to be.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeAlias, cast

import httpx

from pool_manager.core.messages import AsyncResponse, FailureKind, Request, SyncResponse, TransportFailure
from pool_manager.libraries import kind_of
from pool_manager.pools import Pool, StandIn
from pool_manager.records import RequestRecord
from pool_manager.stats import EngineStats, Traffic

Handler: TypeAlias = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]

# Who answers: a function, async if all clients are, or a transport of httpx that has no network behind it:
# `MockTransport`, `ASGITransport` (async clients alone), `WSGITransport` (sync clients alone).
# The errors of httpx that it raises reach a client of httpx2 as httpx2's.
Server: TypeAlias = Handler | httpx.BaseTransport | httpx.AsyncBaseTransport


def stand_in(server: Server) -> StandIn:
    """Give what makes the engines of a manager whose requests *server* answers."""
    transport = (
        server
        if isinstance(server, httpx.BaseTransport | httpx.AsyncBaseTransport)
        # Either colour of handler: which one will do is told by the request.
        else httpx.MockTransport(cast("Callable[[httpx.Request], httpx.Response]", server))
    )

    def make(pool: Pool) -> MemoryEngine | AsyncMemoryEngine:
        kind = MemoryEngine if pool.runtime.name == "threads" else AsyncMemoryEngine
        return kind(pool, transport)

    return make


class _Base:
    """What both colours do: count a connection for each origin, as HTTP/2 would have it."""

    def __init__(self, pool: Pool, transport: httpx.BaseTransport | httpx.AsyncBaseTransport) -> None:
        self._config, self._transport = pool.share.config, transport
        self._lock: Final = threading.Lock()
        self._connections: dict[object, int] = {}
        self._opened = self._reused = 0

    def stats(self) -> EngineStats:
        """How things stand now."""
        open_now = len(self._connections)
        return EngineStats(rest=Traffic(idle=open_now, opened=self._opened, reused=self._reused))

    def close_up(self) -> list[str]:
        """There is no connection to tell of."""
        return []

    def abandon(self) -> None:
        """Forget the connections."""
        self._connections.clear()

    disown = reset = close = abandon

    async def aclose(self) -> None:
        """Forget the connections."""
        self.abandon()

    def record(self, request: Request) -> RequestRecord:
        """Say how it came about."""
        origin = request.scheme, request.host, request.port
        secure = request.scheme in {"https", "wss"}
        has_http2 = self._config.http2 and (secure or not self._config.http1)
        with self._lock:
            reused = origin in self._connections
            self._reused += reused
            self._opened += not reused
            connection = self._connections.setdefault(origin, self._opened)
        return RequestRecord(
            connection_id=connection, http_version="HTTP/2" if has_http2 else "HTTP/1.1", reused=reused,
            idle_for=0.0, queued_for=0.0, connect_time=0.0, attempts=1,
            lane=request.lane, lease=request.lease,
        )  # fmt: skip


class MemoryEngine(_Base):
    """Answers requests of threads."""

    def open(self, request: Request) -> SyncResponse:
        """Have it answered; raises `TransportFailure`."""
        if not isinstance(self._transport, httpx.BaseTransport):
            raise TypeError(f"{self._transport!r} answers async clients alone")
        record = self.record(request)
        try:
            response = self._transport.handle_request(_asked(request))
        except Exception as error:
            raise _failure(error) from error
        return SyncResponse(
            status=response.status_code, headers=response.headers.raw, record=record,
            extensions=_extensions(record, response), body=_Body(response),
        )  # fmt: skip


class AsyncMemoryEngine(_Base):
    """Answers requests of a loop."""

    async def open(self, request: Request) -> AsyncResponse:
        """Have it answered; raises `TransportFailure`."""
        if not isinstance(self._transport, httpx.AsyncBaseTransport):
            raise TypeError(f"{self._transport!r} answers sync clients alone")
        record = self.record(request)
        try:
            response = await self._transport.handle_async_request(_asked(request))
        except Exception as error:
            raise _failure(error) from error
        return AsyncResponse(
            status=response.status_code, headers=response.headers.raw, record=record,
            extensions=_extensions(record, response), body=_AsyncBody(response),
        )  # fmt: skip


def _extensions(record: RequestRecord, response: httpx.Response) -> dict[str, object]:
    return {"http_version": record.http_version.encode(), **response.extensions}


def _asked(request: Request) -> httpx.Request:
    url = httpx.URL(scheme=request.scheme, host=request.host, port=request.port, raw_path=request.target)
    extensions = {**request.extensions, "timeout": {**request.timeouts}}
    body = request.body if isinstance(request.body, bytes) else _Upload(request.body)
    stream = httpx.ByteStream(body) if isinstance(body, bytes) else body
    return httpx.Request(request.method, url, headers=request.headers, stream=stream, extensions=extensions)


def _failure(error: Exception) -> Exception:
    """Take the library's name off an error; what is none of a library's stays as it is."""
    kind = kind_of(error)
    return error if kind is None else TransportFailure(cast(FailureKind, kind), str(error))


class _Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in parts."""

    def __init__(self, parts: Iterable[bytes] | AsyncIterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(cast("Iterable[bytes]", self._parts))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(cast("AsyncIterable[bytes]", self._parts))


class _Body:
    """The body of an answer, in a thread."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from cast(httpx.SyncByteStream, self._response.stream)
        except Exception as error:
            raise _failure(error) from error

    def take_whole(self) -> None:
        """Nothing is known of how much is there."""

    def close(self) -> None:
        self._response.close()

    abandon = close


class _AsyncBody:
    """The body of an answer, in a loop."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in cast(httpx.AsyncByteStream, self._response.stream):
                yield part
        except Exception as error:
            raise _failure(error) from error

    def take_whole(self) -> None:
        """Nothing is known of how much is there."""

    async def aclose(self) -> None:
        await self._response.aclose()

    def abandon(self) -> None:
        """Nothing is held that the collector does not find."""
