"""The SDK's classes, as Fern writes them; `Tenants` is a layer more, as Auth0 writes it by hand."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.ferny.core.client_wrapper import AsyncClientWrapper, SyncClientWrapper

TIMEOUT = 240.0  # seconds


class Ferny:
    """Sync. Closes nothing, unless it is used in a `with`, as Cohere's."""

    def __init__(
        self,
        *,
        base_url: str,
        timeout: float | None = None,
        follow_redirects: bool | None = True,
        httpx_client: httpx.Client | None = None,
    ) -> None:
        defaulted = timeout if timeout is not None else TIMEOUT if httpx_client is None else None
        self.base_url = base_url
        self._client_wrapper = SyncClientWrapper(
            timeout=defaulted,
            httpx_client=httpx_client
            if httpx_client is not None
            else httpx.Client(timeout=defaulted, follow_redirects=follow_redirects)
            if follow_redirects is not None
            else httpx.Client(timeout=defaulted),
        )

    def ask(self, method: str = "POST", path: str = "/") -> httpx.Response:
        """Send a request."""
        return self._client_wrapper.ask(method, self.base_url + path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client_wrapper.httpx_client.httpx_client.close()


class AsyncFerny:
    """The same for loops; an older generator, which reads the client's timeout."""

    def __init__(
        self,
        *,
        base_url: str,
        timeout: float | None = None,
        follow_redirects: bool | None = True,
        httpx_client: httpx.AsyncClient | None = None,
    ) -> None:
        defaulted = (
            timeout if timeout is not None else TIMEOUT if httpx_client is None else httpx_client.timeout.read
        )
        self.base_url = base_url
        self._client_wrapper = AsyncClientWrapper(
            timeout=defaulted,
            httpx_client=httpx_client
            if httpx_client is not None
            else httpx.AsyncClient(timeout=defaulted, follow_redirects=follow_redirects)
            if follow_redirects is not None
            else httpx.AsyncClient(timeout=defaulted),
        )

    async def ask(self, method: str = "POST", path: str = "/") -> httpx.Response:
        """Send a request."""
        return await self._client_wrapper.ask(method, self.base_url + path)


class Session(Ferny):
    """A class on top, which passes on what it does not know, as Deepgram's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.session = kwargs.pop("session", "none")
        super().__init__(*args, **kwargs)


class Tenants:
    """A class around it, which is none of Fern's."""

    def __init__(self, *, base_url: str, httpx_client: httpx.Client | None = None) -> None:
        self._api = Ferny(base_url=base_url, httpx_client=httpx_client)

    def ask(self, method: str = "POST", path: str = "/") -> httpx.Response:
        """Send a request."""
        return self._api.ask(method, path)
