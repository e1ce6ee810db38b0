"""What crosses the border to httpx and back: bodies, proxies, errors."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import anyio
import h2.exceptions
import httpx

from pool_manager.config import Proxy
from pool_manager.core.messages import FailureKind, TransportFailure


def or_none(count: float) -> int | None:
    """Say "no limit" as httpx does."""
    return None if count == math.inf else int(count)


def proxy_of(proxy: Proxy | None) -> httpx.Proxy | None:
    """Make a proxy httpx's."""
    if proxy is None:
        return None
    auth = None if proxy.auth is None else (proxy.auth[0].decode(), proxy.auth[1].decode())
    return httpx.Proxy(proxy.url, auth=auth, headers=list(proxy.headers), ssl_context=proxy.ssl_context)


def failure(error: BaseException) -> TransportFailure | None:
    """Take the library's name off an error; None for what is not its own: a cancellation, a failing body."""
    if isinstance(error, httpx.TransportError):
        return TransportFailure(cast(FailureKind, type(error).__name__), str(error))
    if isinstance(error, h2.exceptions.H2Error | anyio.BrokenResourceError | anyio.ClosedResourceError):
        # httpcore lets these through where a neighbour on the connection was cancelled.
        return TransportFailure("RemoteProtocolError", f"the connection broke: {error!r}")
    if isinstance(error, ValueError) and "semaphore released too many times" in str(error):
        return TransportFailure(
            "RemoteProtocolError", "the connection broke: httpcore lost count of its streams"
        )
    return None


class Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request body on its way down, part by part, in the colour it came in."""

    def __init__(self, parts: Any) -> None:
        self._parts = httpx.ByteStream(parts) if isinstance(parts, bytes) else parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return cast(AsyncIterator[bytes], self._parts.__aiter__())
