"""
Who is measured: one function for each, making a client as its users would.

Every contender has its own defaults, but for two things: timeouts are long, so
that a slow one is measured and not failed; and where a scenario says how many
connections there may be, all are told so. The pool is configured by its public
names alone.
"""

from __future__ import annotations

import importlib.util
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import attrs
import httpx

from benchmarks.servers import BODY
from pool_manager import Lane, Limits, PoolConfig, PoolManager

OK = 200
TIMEOUT = 60.0
KEEPALIVE = 60.0  # seconds; where connections are counted, none shall expire

# What nginx sends with BODY.
HEADERS = [
    (b"server", b"nginx"),
    (b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    (b"connection", b"keep-alive"),
]


@attrs.frozen(kw_only=True)
class Terms:
    """
    What a scenario asks of a client.

    Attributes:
        http2: Speak HTTP/2; HTTP/1.1 alone if not.

        tls: Whom to trust; None where nothing is encrypted.

        connections: How many there may be, and may be kept; the contender's own default if None.

        lanes: Lanes, for who has such a thing.
    """

    http2: bool = False
    tls: ssl.SSLContext | None = None
    connections: int | None = None
    lanes: tuple[Lane, ...] = ()


class UnexpectedError(Exception):
    """An answer that is not what the server sends."""


class Http(Protocol):
    """A client as the scenarios use it."""

    async def get(self, url: str) -> int:
        """Read the whole answer; give its size."""
        ...

    async def post(self, url: str, body: bytes) -> int:
        """Send *body*, read the whole answer; give its size."""
        ...

    async def pour(self, url: str) -> int:
        """Read an answer part by part, and keep nothing; give its size."""
        ...

    async def version(self, url: str) -> str:
        """Tell what is spoken there: "HTTP/1.1" or "HTTP/2"."""
        ...


Opened: TypeAlias = AbstractAsyncContextManager[Http]


class OfHttpx:
    """A client of httpx's shape."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def get(self, url: str) -> int:
        """See `Http`."""
        return _size(await self._client.get(url))

    async def post(self, url: str, body: bytes) -> int:
        """See `Http`."""
        return _size(await self._client.post(url, content=body))

    async def pour(self, url: str) -> int:
        """See `Http`."""
        async with self._client.stream("GET", url) as response:
            if response.status_code != OK:
                raise UnexpectedError(f"HTTP {response.status_code}")
            return sum([len(part) async for part in response.aiter_raw()])

    async def version(self, url: str) -> str:
        """See `Http`."""
        version: str = (await self._client.get(url)).http_version
        return version


def _size(response: Any) -> int:
    if response.status_code != OK:
        raise UnexpectedError(f"HTTP {response.status_code}")
    return len(response.content)


class OfAiohttp:
    """A session of aiohttp's."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def get(self, url: str) -> int:
        """See `Http`."""
        async with self._session.get(url) as response:
            return await self._read(response)

    async def post(self, url: str, body: bytes) -> int:
        """See `Http`."""
        async with self._session.post(url, data=body) as response:
            return await self._read(response)

    async def pour(self, url: str) -> int:
        """See `Http`."""
        async with self._session.get(url) as response:
            if response.status != OK:
                raise UnexpectedError(f"HTTP {response.status}")
            return sum([len(part) async for part in response.content.iter_any()])

    async def version(self, url: str) -> str:
        """See `Http`."""
        async with self._session.get(url) as response:
            await self._read(response)
            return f"HTTP/{response.version.major}.{response.version.minor}"

    async def _read(self, response: Any) -> int:
        body: bytes = await response.read()
        if response.status != OK:
            raise UnexpectedError(f"HTTP {response.status}")
        return len(body)


def plain_httpx(terms: Terms) -> Opened:
    """Make httpx as it comes."""
    return _usual(httpx, httpx.AsyncClient, terms)


def plain_httpx2(terms: Terms) -> Opened:
    """Make httpx2 as it comes."""
    import httpx2  # noqa: PLC0415 - a peer that may not be there

    return _usual(httpx2, httpx2.AsyncClient, terms)


def httpx_on_aiohttp(terms: Terms) -> Opened:
    """Make httpx over aiohttp's connections."""
    import httpx_aiohttp  # noqa: PLC0415 - a peer that may not be there

    return _usual(httpx, httpx_aiohttp.HttpxAiohttpClient, terms)


def httpx2_on_aiohttp(terms: Terms) -> Opened:
    """Make httpx2 over aiohttp's connections."""
    import httpx2  # noqa: PLC0415 - a peer that may not be there
    from httpx_aiohttp.httpx2 import Httpx2AiohttpClient  # noqa: PLC0415 - as above

    return _usual(httpx2, Httpx2AiohttpClient, terms)


@asynccontextmanager
async def _usual(library: Any, factory: Callable[..., Any], terms: Terms) -> AsyncIterator[Http]:
    options: dict[str, object] = {} if terms.tls is None else {"verify": terms.tls}
    if terms.connections is not None:
        options["limits"] = library.Limits(
            max_connections=terms.connections,
            max_keepalive_connections=terms.connections,
            keepalive_expiry=KEEPALIVE,
        )
    async with factory(http2=terms.http2, timeout=TIMEOUT, **options) as client:
        yield OfHttpx(client)


def pooled_httpx(terms: Terms) -> Opened:
    """Make httpx on the pool."""
    return _pooled(httpx.AsyncClient, terms)


def pooled_httpx2(terms: Terms) -> Opened:
    """Make httpx2 on the pool."""
    import httpx2  # noqa: PLC0415 - a peer that may not be there

    return _pooled(httpx2.AsyncClient, terms)


@asynccontextmanager
async def _pooled(factory: Callable[..., Any], terms: Terms) -> AsyncIterator[Http]:
    config = PoolConfig(http2=terms.http2, verify=True if terms.tls is None else terms.tls)
    limits = None
    if terms.connections is not None:
        limits = Limits(
            max_connections=terms.connections,
            max_connections_per_origin=terms.connections,
            max_keepalive_connections=terms.connections,
            keepalive_expiry=KEEPALIVE,
        )
    async with (
        PoolManager(config, limits=limits, lanes=terms.lanes) as manager,
        manager.client(factory, timeout=TIMEOUT) as client,
    ):
        yield OfHttpx(client)


@asynccontextmanager
async def raw_aiohttp(terms: Terms) -> AsyncIterator[Http]:
    """Make aiohttp, with its own API."""
    import aiohttp  # noqa: PLC0415 - a peer that may not be there

    connector = aiohttp.TCPConnector(ssl=terms.tls or True)
    if terms.connections is not None:
        connector = aiohttp.TCPConnector(
            ssl=terms.tls or True, limit=terms.connections, keepalive_timeout=KEEPALIVE
        )
    timeout = aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield OfAiohttp(session)


def floor_httpx(terms: Terms) -> Opened:
    """Make httpx over a transport that answers at once: what no transport can go below."""
    return _floor(httpx, terms)


def floor_httpx2(terms: Terms) -> Opened:
    """Make httpx2 over a transport that answers at once."""
    import httpx2  # noqa: PLC0415 - a peer that may not be there

    return _floor(httpx2, terms)


@asynccontextmanager
async def _floor(library: Any, terms: Terms) -> AsyncIterator[Http]:
    version = b"HTTP/2" if terms.http2 else b"HTTP/1.1"

    class Instant(library.AsyncBaseTransport):  # type: ignore[misc]  # either library's
        async def handle_async_request(self, request: Any) -> Any:  # noqa: ARG002 - any request will do
            return library.Response(
                OK,
                headers=HEADERS,
                stream=library.ByteStream(BODY),
                extensions={"http_version": version},
            )

    async with library.AsyncClient(transport=Instant(), timeout=TIMEOUT) as client:
        yield OfHttpx(client)


@attrs.frozen
class Contender:
    """
    One of those who are measured.

    Attributes:
        name: As in the tables.

        make: Makes a client.

        needs: Modules that must be there.

        http2: Whether it can speak it.

        floor: Whether it does without a server.
    """

    name: str
    make: Callable[[Terms], Opened]
    needs: tuple[str, ...] = ()
    http2: bool = True
    floor: bool = False

    @property
    def available(self) -> bool:
        """Whether what it needs is installed."""
        return all(importlib.util.find_spec(name) for name in self.needs)


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("httpx", plain_httpx),
        Contender("httpx2", plain_httpx2, ("httpx2",)),
        Contender("httpx-aiohttp", httpx_on_aiohttp, ("httpx_aiohttp",), http2=False),
        Contender("httpx2-aiohttp", httpx2_on_aiohttp, ("httpx_aiohttp", "httpx2"), http2=False),
        Contender("aiohttp", raw_aiohttp, ("aiohttp",), http2=False),
        Contender("pool+httpx", pooled_httpx),
        Contender("pool+httpx2", pooled_httpx2, ("httpx2",)),
        Contender("floor+httpx", floor_httpx, floor=True),
        Contender("floor+httpx2", floor_httpx2, ("httpx2",), floor=True),
    )
}
