"""
Requests and responses that belong to no library, and the engines that carry them.

A face turns its library's request into a `Request`, an engine answers with a
`Response` or raises `TransportFailure`, and the face turns those back. This is
the whole boundary: request in, response out, close, stats.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from pool_manager.core.redacting import described
from pool_manager.records import RequestRecord
from pool_manager.stats import EngineStats

Headers: TypeAlias = list[tuple[bytes, bytes]]
Seconds: TypeAlias = float | None

_name = itemgetter(0)


def names_of(headers: Headers) -> Iterator[bytes]:
    """Give the names in lower case, without a step of Python for each."""
    return map(bytes.lower, map(_name, headers))


# The leaves of httpx's tree of transport errors; httpx2 has the same names.
FailureKind: TypeAlias = Literal[
    "CloseError",
    "ConnectError",
    "ConnectTimeout",
    "LocalProtocolError",
    "NetworkError",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "TimeoutException",
    "TransportError",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
]


class TransportFailure(Exception):
    """
    A request failed, in the words of no library.

    Attributes:
        kind: The name that httpx gives this error.
    """

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind


@attrs.define(kw_only=True, repr=False)
class Request:
    """
    One request, as it goes on the wire.

    Attributes:
        method: The method; str, as both libraries have it.

        scheme: http, https, ws or wss.

        host: The host, IDNA-encoded, without brackets.

        port: The port, or None for the scheme's own.

        target: The request target (RFC 9112, 3.2), byte for byte.

        headers: Raw pairs in the order and spelling of the caller.

        body: The whole body, or its parts: iterable where a thread sends it, async iterable in a loop.

        timeouts: Seconds for "connect", "read", "write" and "pool"; None waits for ever.

        lane: The name of the lane it takes.

        lease: The name of the lease it comes by.

        extensions: What else the caller asked for: `sni_hostname`, `trace`, ...

        on_replay: Told of the request and of what is about to happen (`core.replay.Resent`) before it is
            sent again unasked.
    """

    method: str
    scheme: str
    host: str
    port: int | None
    target: bytes
    headers: Headers
    body: bytes | Iterable[bytes] | AsyncIterable[bytes]
    timeouts: Mapping[str, Seconds]
    lane: str
    lease: str
    extensions: Mapping[str, object]
    on_replay: Callable[[Request, Any], object] | None = None

    def __repr__(self) -> str:
        return f"<Request {self}>"  # no header, query or body: a repr ends up in logs

    def __str__(self) -> str:
        """Name the request for logs and warnings, without its query: that may hold keys."""
        return described(self.method, self.scheme, self.host, self.port, self.target)


class Body(Protocol):
    """A response body in a thread."""

    def __iter__(self) -> Iterator[bytes]: ...

    def take_whole(self) -> bytes | None:
        """Give the whole body if it is all there, and then be closed; None if somebody has to wait for it."""
        ...

    def close(self) -> None:
        """Give the connection back. Safe to repeat."""
        ...

    def abandon(self) -> None:
        """Give the connection back: the answer was collected unclosed."""
        ...


class AsyncBody(Protocol):
    """A response body in a loop."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def take_whole(self) -> bytes | None:
        """Give the whole body if it is all there, and then be closed; None if somebody has to wait for it."""
        ...

    async def aclose(self) -> None:
        """Give the connection back. Safe to repeat."""
        ...

    def abandon(self) -> None:
        """Give the connection back without waiting: the answer was collected unclosed."""
        ...


@attrs.define(kw_only=True)
class Response:
    """The head of an answer; `record` says how it came about."""

    status: int
    headers: Headers = attrs.field(repr=False)  # cookies, for one
    extensions: dict[str, object] = attrs.field(repr=False)
    record: RequestRecord


@attrs.define(kw_only=True)
class SyncResponse(Response):
    """An answer whose body a thread reads."""

    body: Body


@attrs.define(kw_only=True)
class AsyncResponse(Response):
    """An answer whose body a loop reads."""

    body: AsyncBody


class BaseEngine(Protocol):
    """
    What carries the requests of one pool, in whichever colour.

    An engine belongs to one runtime: one event loop, one trio run, or threads.
    """

    def stats(self) -> EngineStats:
        """How things stand now."""
        ...

    def close_up(self) -> Iterable[str]:
        """Tell who holds which connection, and who waits, line by line."""
        ...

    def abandon(self) -> None:
        """Let every socket go at once, without the loop: it is over. Never raises."""
        ...

    def disown(self) -> None:
        """Let every socket go in a forked child, without a byte on the wire."""
        ...

    def reset(self) -> None:
        """Take no new request on the connections there are; they close when they fall idle."""
        ...


class Engine(BaseEngine, Protocol):
    """An engine for threads."""

    def open(self, request: Request) -> SyncResponse:
        """Send *request*; raises `TransportFailure`."""
        ...

    def close(self) -> None:
        """Close every connection; requests still out fail. Safe to repeat."""
        ...


class AsyncEngine(BaseEngine, Protocol):
    """An engine for one event loop or trio run."""

    async def open(self, request: Request) -> AsyncResponse:
        """Send *request*; raises `TransportFailure`."""
        ...

    async def aclose(self) -> None:
        """Close every connection; requests still out fail. Safe to repeat, and to cancel."""
        ...
