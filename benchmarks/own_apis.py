"""Peers on asyncio that have APIs of their own: aiohttp, niquests and pyreqwest."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.terms import KEEPALIVE, TIMEOUT, Http, Terms, size

VERSIONS = {11: "HTTP/1.1", 20: "HTTP/2", "HTTP/2.0": "HTTP/2"}  # as some write it


class OfAiohttp:
    """A session of aiohttp's."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def get(self, url: str) -> int:
        """See `Http`."""
        async with self._session.get(url) as response:
            return size(response.status, await response.read())

    async def post(self, url: str, body: bytes) -> int:
        """See `Http`."""
        async with self._session.post(url, data=body) as response:
            return size(response.status, await response.read())

    async def version(self, url: str) -> str:
        """See `Http`."""
        async with self._session.get(url) as response:
            size(response.status, await response.read())
            return f"HTTP/{response.version.major}.{response.version.minor}"


@asynccontextmanager
async def aiohttp_session(terms: Terms) -> AsyncIterator[Http]:
    """Make aiohttp, with its own API."""
    import aiohttp  # noqa: PLC0415 - a peer that may not be there

    limits: dict[str, Any] = {}
    if terms.connections is not None:
        limits = {"limit": terms.connections, "keepalive_timeout": KEEPALIVE}
    connector = aiohttp.TCPConnector(ssl=terms.tls or True, **limits)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield OfAiohttp(session)


class OfNiquests:
    """An asynchronous session of niquests'."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def get(self, url: str) -> int:
        """See `Http`."""
        response = await self._session.get(url, timeout=TIMEOUT)
        return size(response.status_code, response.content)

    async def post(self, url: str, body: bytes) -> int:
        """See `Http`."""
        response = await self._session.post(url, data=body, timeout=TIMEOUT)
        return size(response.status_code, response.content)

    async def version(self, url: str) -> str:
        """See `Http`."""
        response = await self._session.get(url, timeout=TIMEOUT)
        return VERSIONS[response.http_version]


@asynccontextmanager
async def niquests_session(terms: Terms) -> AsyncIterator[Http]:
    """Make niquests, with its own API; whom to trust is in the environment: see `measure`."""
    import niquests  # type: ignore[import-not-found]  # noqa: PLC0415 - a peer that may not be there

    limits = {} if terms.connections is None else {"pool_maxsize": terms.connections}
    async with niquests.AsyncSession(disable_http3=True, disable_http2=not terms.http2, **limits) as session:
        yield OfNiquests(session)


class OfPyreqwest:
    """A client of pyreqwest's."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def get(self, url: str) -> int:
        """See `Http`."""
        return await self._read(await self._client.get(url).build().send())

    async def post(self, url: str, body: bytes) -> int:
        """See `Http`."""
        return await self._read(await self._client.post(url).body_bytes(body).build().send())

    async def version(self, url: str) -> str:
        """See `Http`."""
        response = await self._client.get(url).build().send()
        await self._read(response)
        return VERSIONS.get(response.version, str(response.version))

    async def _read(self, response: Any) -> int:
        return size(response.status, await response.bytes())


@asynccontextmanager
async def pyreqwest_client(terms: Terms) -> AsyncIterator[Http]:
    """Make pyreqwest, with its own API."""
    from pyreqwest.client import (  # type: ignore[import-not-found]  # noqa: PLC0415 - a peer that may not be there
        ClientBuilder,
    )

    async with told(ClientBuilder(), terms).build() as client:
        yield OfPyreqwest(client)


def told(builder: Any, terms: Terms) -> Any:
    """Tell a builder of pyreqwest's what is asked."""
    builder = builder.http2(terms.http2).timeout(dt.timedelta(seconds=TIMEOUT)).no_proxy()
    if terms.ca_file is not None:
        builder = builder.add_root_certificate_pem(Path(terms.ca_file).read_bytes())
    if terms.connections is not None:
        builder = builder.max_connections(terms.connections)
    return builder
