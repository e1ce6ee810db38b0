"""The SDK's class, as Speakeasy writes it."""

from __future__ import annotations

import weakref
from typing import Self, cast

import attrs
import httpx2 as httpx

from tests.support.speaky.httpclient import AsyncHttpClient, HttpClient, close_clients


@attrs.define
class SDKConfiguration:
    """What the SDK and its parts share."""

    client: HttpClient | None
    client_supplied: bool
    async_client: AsyncHttpClient | None
    async_client_supplied: bool
    server_url: str


class Part:
    """A part of the SDK, which refers back to the whole."""

    def __init__(self, configuration: SDKConfiguration, parent_ref: object) -> None:
        self.sdk_configuration, self.parent_ref = configuration, parent_ref

    def ask(self, method: str = "POST", path: str = "/") -> httpx.Response:
        """Send a request from a thread."""
        client = cast("httpx.Client", self.sdk_configuration.client)
        return client.send(client.build_request(method, self.sdk_configuration.server_url + path))

    async def ask_async(self, method: str = "POST", path: str = "/") -> httpx.Response:
        """Send a request from a loop."""
        client = cast("httpx.AsyncClient", self.sdk_configuration.async_client)
        return await client.send(client.build_request(method, self.sdk_configuration.server_url + path))


class Speaky:
    """Both colours in one object."""

    def __init__(
        self,
        server_url: str,
        client: HttpClient | None = None,
        async_client: AsyncHttpClient | None = None,
        timeout_ms: int | None = None,
    ) -> None:
        supplied, async_supplied = client is not None, async_client is not None
        client = httpx.Client(follow_redirects=True) if client is None else client
        assert issubclass(type(client), HttpClient)
        async_client = httpx.AsyncClient(follow_redirects=True) if async_client is None else async_client
        assert issubclass(type(async_client), AsyncHttpClient)
        self.timeout_ms = timeout_ms
        self.sdk_configuration = SDKConfiguration(client, supplied, async_client, async_supplied, server_url)
        self.part = Part(self.sdk_configuration, parent_ref=self)
        weakref.finalize(
            self, close_clients, self.sdk_configuration, client, supplied, async_client, async_supplied
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        made = self.sdk_configuration.client
        if made is not None and not self.sdk_configuration.client_supplied:
            made.close()
        self.sdk_configuration.client = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        made = self.sdk_configuration.async_client
        if made is not None and not self.sdk_configuration.async_client_supplied:
            await made.aclose()
        self.sdk_configuration.async_client = None
