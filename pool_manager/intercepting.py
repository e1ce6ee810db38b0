"""
Tools that put themselves into the libraries' own transports: mocks, recorders, tracing.

respx, pytest-httpx, vcrpy and OpenTelemetry replace a method of httpx's transport classes, or of
httpcore's pools below these, and expect every request to come by. A pooled request has no business
there: it would pass by a mock and reach the network. So where such a method is not the library's own,
the request is given to it, on a transport of the library's that ends in the pool: what the tool lets
through goes the way it would have gone without.

Whose a method is, is told by the module that it was written in, and not by what was there at first:
the first pooled client may be made while a mock is active.
"""

from __future__ import annotations

import functools
import ssl
import sys
from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any, Final, final

from pool_manager.config import Proxy


@final
class Seam:
    """
    Where tools meet the requests of one library, of sync or of async clients.

    Args:
        library: The module.

        is_async: Of which clients.
    """

    def __init__(self, library: Any, *, is_async: bool) -> None:
        self._library = library
        self._kind: Any = library.AsyncHTTPTransport if is_async else library.HTTPTransport
        self._pool_name: Final = "AsyncConnectionPool" if is_async else "ConnectionPool"
        self._name: Final = "handle_async_request" if is_async else "handle_request"
        self._above: Final = _Method(self._kind, self._name)
        self._core: Final[str] = library.__name__.replace("httpx", "httpcore", 1)
        self._below: _Method | None = None

    def is_taken(self) -> bool:
        """Whether a tool is there now."""
        # The libraries import httpcore when they make their first transport; not imported, it is not patched.
        return self._above.is_replaced() or (self._core in sys.modules and self.is_taken_below())

    def is_taken_below(self) -> bool:
        """Whether one is in httpcore's pool, below the library's own transports."""
        if self._below is None:
            pool = getattr(sys.modules.get(self._core), self._pool_name, None)
            if pool is None:
                return False
            self._below = _Method(pool, self._name)
        return self._below.is_replaced()

    def send(
        self,
        request: Any,
        *,
        pooled: Callable[..., Any],
        proxy: Proxy | None,
        retried: str | None = None,
    ) -> Any:
        """
        Give *request* to the tool; awaitable where clients are async.

        Args:
            request: A request of the library's.

            pooled: What sends a request by the pool, and is told why it is sent again.

            proxy: The one that it will go by: some tools ask.

            retried: Why it is sent again, if it is.
        """
        once = functools.partial(pooled, retried=retried)
        stand_in = self._stand_in(proxy)
        pool, exit_ = stand_in._pool, self._exit(once)
        if self.is_taken_below():
            pool.create_connection = exit_.create_connection
        else:
            setattr(pool, self._name, getattr(exit_, self._name))
        return getattr(stand_in, self._name)(request)  # as a client does: a mock need not be a function

    def _stand_in(self, proxy: Proxy | None) -> Any:
        return self._kind(verify=_no_tls(), trust_env=False, proxy=self._theirs(proxy))

    def _exit(self, once: Callable[..., Any]) -> _Exit:
        return _Exit(self._library, sys.modules[self._core], once)

    def below(self, once: Callable[..., Any]) -> Any:
        """Give what does for httpcore's pool: leads to *once*, by the tool in such a pool if there is one."""
        exit_ = self._exit(once)
        if not self.is_taken_below():
            return exit_
        pool = self._stand_in(None)._pool
        pool.create_connection = exit_.create_connection
        return pool

    def _theirs(self, proxy: Proxy | None) -> Any:
        if proxy is None:
            return None
        auth = None if proxy.auth is None else tuple(part.decode() for part in proxy.auth)
        return self._library.Proxy(proxy.url, auth=auth, headers=list(proxy.headers))


@final
class _Method:
    """A method of a library's class, and whether it is the library's own."""

    def __init__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name
        self._package = owner.__module__.partition(".")[0]
        self._own: object = None  # what was looked at before, and is

    def is_replaced(self) -> bool:
        found = getattr(self._owner, self._name)
        if found is self._own:
            return False
        # `type(...)`, since wrappers say that they are what they wrap; its globals, since `functools.wraps`
        # copies the name of a module and leaves those.
        if type(found) is FunctionType and _root(found.__globals__["__name__"]) == self._package:
            self._own = found
            return False
        return True


def _root(name: str) -> str:
    return name.partition(".")[0]


@final
class _Exit:
    """A connection in the eyes of httpcore: one request goes by it, and that by the pool."""

    def __init__(self, library: Any, core: Any, once: Callable[..., Any]) -> None:
        self._library, self._core, self._once = library, core, once

    def handle_request(self, asked: Any) -> Any:
        return self._answer(self._once(self._request(asked)))

    async def handle_async_request(self, asked: Any) -> Any:
        answered: Awaitable[Any] = self._once(self._request(asked))
        return self._answer(await answered)

    def _request(self, asked: Any) -> Any:
        """Read what came out: a tool may have changed anything about it."""
        library, url, extensions = self._library, asked.url, asked.extensions
        url = library.URL(
            scheme=url.scheme.decode("ascii"),
            host=url.host.decode("ascii"),
            port=url.port,
            # One that was asked for by extension need not be a path, and is still in there.
            raw_path=b"/" if "target" in extensions else url.target,
        )
        request = library.Request(
            asked.method.decode("ascii"),
            url,
            headers=asked.headers,
            stream=asked.stream,
            extensions=extensions,
        )
        if isinstance(asked.stream, library.ByteStream):
            request.read()  # there whole, it can be sent twice
        return request

    def _answer(self, response: Any) -> Any:
        return self._core.Response(
            response.status_code,
            headers=response.headers.raw,
            content=response.stream,
            extensions=response.extensions,
        )

    def create_connection(self, _: object) -> _Exit:
        return self

    # What httpcore asks of a connection: it is for one request, and never for another.

    def can_handle_request(self, _: object) -> bool:
        return True

    def is_available(self) -> bool:
        return False

    def is_idle(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return True

    def is_connected(self) -> bool:
        return True


@functools.cache
def _no_tls() -> ssl.SSLContext:
    """Give a context that nobody will use: making the one for the default takes 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
