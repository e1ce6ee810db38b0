"""
Who is measured: one function for each, making a client as its users would.

Every contender has its own defaults, but for two things: timeouts are long, so
that a slow one is measured and not failed; and where a scenario says how many
connections there may be, all are told so. The pool is configured by its public
names alone.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx

from benchmarks import own_apis
from benchmarks.peers import Contender
from benchmarks.servers import BODY
from benchmarks.terms import KEEPALIVE, OK, TIMEOUT, Http, Opened, Terms, UnexpectedError, size
from pool_manager import Limits, PoolConfig, PoolManager

HTTP1 = ("httpx", "httpx2", "httpx-aiohttp", "aiohttp", "niquests", "pyreqwest", "pool+httpx", "pool+httpx2")
HTTP2 = ("httpx", "httpx2", "niquests", "pyreqwest", "pool+httpx", "pool+httpx2")
FLOORS = ("floor+httpx", "floor+httpx2")

# What nginx sends with BODY.
HEADERS = [
    (b"server", b"nginx"),
    (b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
    (b"connection", b"keep-alive"),
]


class OfHttpx:
    """A client of httpx's shape."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def get(self, url: str) -> int:
        """See `Http`."""
        response = await self._client.get(url)
        return size(response.status_code, response.content)

    async def post(self, url: str, body: bytes) -> int:
        """See `Http`."""
        response = await self._client.post(url, content=body)
        return size(response.status_code, response.content)

    async def pour(self, url: str) -> int:
        """Read an answer part by part, and keep nothing; give its size."""
        async with self._client.stream("GET", url) as response:
            if response.status_code != OK:
                raise UnexpectedError(f"HTTP {response.status_code}")
            return sum([len(part) async for part in response.aiter_raw()])

    async def version(self, url: str) -> str:
        """See `Http`."""
        version: str = (await self._client.get(url)).http_version
        return version


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
    async with factory(**usual(library, terms)) as client:
        yield OfHttpx(client)


def usual(library: Any, terms: Terms) -> dict[str, Any]:
    """Give the arguments of a client of httpx's or httpx2's, of either colour."""
    options: dict[str, Any] = {"http2": terms.http2, "timeout": TIMEOUT}
    if terms.tls is not None:
        options["verify"] = terms.tls
    if terms.connections is not None:
        options["limits"] = library.Limits(
            max_connections=terms.connections,
            max_keepalive_connections=terms.connections,
            keepalive_expiry=KEEPALIVE,
        )
    return options


def pooled_httpx(terms: Terms) -> Opened:
    """Make httpx on the pool."""
    return _pooled(httpx.AsyncClient, terms)


def pooled_httpx2(terms: Terms) -> Opened:
    """Make httpx2 on the pool."""
    import httpx2  # noqa: PLC0415 - a peer that may not be there

    return _pooled(httpx2.AsyncClient, terms)


@asynccontextmanager
async def _pooled(factory: Callable[..., Any], terms: Terms) -> AsyncIterator[Http]:
    async with manager_for(terms).client(factory, timeout=TIMEOUT) as client:
        yield OfHttpx(client)


def pooled_without_lanes(terms: Terms) -> Opened:
    """Make httpx2 on a pool that is told of no lanes, to show what they do."""
    return pooled_httpx2(attrs.evolve(terms, lanes=()))


@functools.cache
def manager_for(terms: Terms) -> PoolManager:
    """Give the manager on whose pools the clients of these terms are, in loops and in threads."""
    limits = None
    if terms.connections is not None:
        limits = Limits(
            max_connections=terms.connections,
            max_connections_per_origin=terms.connections,
            max_keepalive_connections=terms.connections,
            keepalive_expiry=KEEPALIVE,
        )
    config = PoolConfig(http2=terms.http2, verify=True if terms.tls is None else terms.tls)
    return PoolManager(config, limits=limits, lanes=terms.lanes)


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


CONTENDERS: dict[str, Contender[Opened]] = {
    "httpx": Contender(plain_httpx),
    "httpx2": Contender(plain_httpx2, ("httpx2",)),
    "httpx-aiohttp": Contender(httpx_on_aiohttp, ("httpx_aiohttp",)),
    "httpx2-aiohttp": Contender(httpx2_on_aiohttp, ("httpx_aiohttp", "httpx2")),
    "aiohttp": Contender(own_apis.aiohttp_session, ("aiohttp",)),
    "niquests": Contender(own_apis.niquests_session, ("niquests",)),
    "pyreqwest": Contender(own_apis.pyreqwest_client, ("pyreqwest",)),
    "pool+httpx": Contender(pooled_httpx),
    "pool+httpx2": Contender(pooled_httpx2, ("httpx2",)),
    "no-lanes+httpx2": Contender(pooled_without_lanes, ("httpx2",)),
    "floor+httpx": Contender(floor_httpx),
    "floor+httpx2": Contender(floor_httpx2, ("httpx2",)),
}
