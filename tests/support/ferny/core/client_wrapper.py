"""Two layers around the httpx client, of each colour."""

from __future__ import annotations

import httpx


class HttpClient:
    """Sends requests with a client that somebody closes, or not."""

    def __init__(self, *, httpx_client: httpx.Client) -> None:
        self.httpx_client = httpx_client


class AsyncHttpClient:
    """The same for loops."""

    def __init__(self, *, httpx_client: httpx.AsyncClient) -> None:
        self.httpx_client = httpx_client


class SyncClientWrapper:
    """Holds settings, and what sends."""

    def __init__(self, *, timeout: float | None, httpx_client: httpx.Client) -> None:
        self.timeout = timeout
        self.httpx_client = HttpClient(httpx_client=httpx_client)

    def ask(self, method: str, url: str) -> httpx.Response:
        """Send a request with the SDK's timeout, or the client's where the SDK has none."""
        timeout = httpx.USE_CLIENT_DEFAULT if self.timeout is None else self.timeout
        return self.httpx_client.httpx_client.request(method, url, timeout=timeout)


class AsyncClientWrapper:
    """The same for loops."""

    def __init__(self, *, timeout: float | None, httpx_client: httpx.AsyncClient) -> None:
        self.timeout = timeout
        self.httpx_client = AsyncHttpClient(httpx_client=httpx_client)

    async def ask(self, method: str, url: str) -> httpx.Response:
        """As `SyncClientWrapper.ask`."""
        timeout = httpx.USE_CLIENT_DEFAULT if self.timeout is None else self.timeout
        return await self.httpx_client.httpx_client.request(method, url, timeout=timeout)
