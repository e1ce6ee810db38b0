"""What the SDK asks of its two clients, and how it closes those that it has made."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, runtime_checkable

import httpx2 as httpx


@runtime_checkable
class HttpClient(Protocol):
    """A client for threads."""

    def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@runtime_checkable
class AsyncHttpClient(Protocol):
    """A client for loops."""

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...


def close_clients(
    owner: Any, client: Any, client_supplied: bool, async_client: Any, async_client_supplied: bool
) -> None:
    """Close what the SDK has made, when it is collected."""
    owner.client = owner.async_client = None
    if not client_supplied:
        client.close()
    if not async_client_supplied:
        asyncio.run(async_client.aclose())
