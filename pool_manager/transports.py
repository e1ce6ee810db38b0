"""
The faces: requests of httpx and httpx2 in, their responses and errors out.

The two libraries are alike in shape and strangers in type, so a face is made
from the library's module object and nothing here asks for a name: after
`httpx2.alias_httpx()` the name `httpx` means another library. One transport
class for each library serves threads and loops: some SDKs pass one object to
both, and a class of both libraries is refused by others.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeAlias, cast

import attrs

from pool_manager import errors, riding
from pool_manager.answers import AsyncStream, OpenAnswer, Stream, answer_type
from pool_manager.config import Proxy
from pool_manager.core.messages import AsyncResponse, Request, Response, SyncResponse, TransportFailure
from pool_manager.core.redacting import redacted, secrets_of, without
from pool_manager.errors import ConfigError
from pool_manager.exchanges import Exchange
from pool_manager.intercepting import Seam
from pool_manager.leases import Tenancy
from pool_manager.pools import Pool, Share
from pool_manager.retrying import Retrier
from pool_manager.runtimes import loops
from pool_manager.runtimes.upgrading import Upgraded

_Timeouts: TypeAlias = Mapping[str, float | None]
_Route: TypeAlias = tuple[Any, Share]  # a URLPattern of the library, and whom what matches shares with

# What the library in use calls each of ours.
_ALSO = {
    errors.PoolTimeout: "PoolTimeout",
    errors.PoolOverloaded: "PoolTimeout",
    errors.PoolClosed: "ConnectError",
}

_NO_TIMEOUTS: _Timeouts = {}

# What the libraries are built upon: never imported for this.
_CORES = ("httpcore", "httpcore2")


class Face:
    """One library as we use it; `face_of` gives it."""

    def __init__(self, library: Any) -> None:
        self.library: Any = library
        bases = (library.BaseTransport, library.AsyncBaseTransport)
        self.transport_type: type[PoolTransport] = type(
            "PoolTransport", (PoolTransport, *bases), {"face": self}
        )
        self.stream_type = type("PooledStream", (Stream, library.SyncByteStream), {"failure": self.failure})
        self.async_stream_type = type(
            "PooledStream", (AsyncStream, library.AsyncByteStream), {"failure": self.failure}
        )
        self.response_type: Any = answer_type(library)
        self.seam, self.async_seam = Seam(library, is_async=False), Seam(library, is_async=True)
        self._errors: dict[type[errors.PoolError], type[errors.PoolError]] = {
            ours: type(
                ours.__name__,
                (ours, getattr(library, theirs)),
                {"__module__": "pool_manager", "__reduce__": _reduce},
            )
            for ours, theirs in _ALSO.items()
        }

    def failure(self, error: TransportFailure | errors.PoolError, pool: Pool, request: Request) -> Exception:
        """
        Make *error* an error of the library, and of ours too where it is about the pool.

        Neither it nor its cause tells what the request holds: messages may quote it.
        """
        secrets = _secrets(request, pool)
        made = self._error(error, pool, request, secrets)
        made.__cause__ = without(error.__cause__, secrets)
        return made

    def _error(
        self, error: TransportFailure | errors.PoolError, pool: Pool, request: Request, secrets: list[bytes]
    ) -> Exception:
        if isinstance(error, errors.PoolError):
            return self.ours(error)
        if error.kind == "PoolTimeout":
            return self._timed_out(request.timeouts.get("pool"), pool)
        return cast(Exception, getattr(self.library, error.kind)(redacted(str(error), secrets)))

    def _timed_out(self, seconds: float | None, pool: Pool) -> errors.PoolError:
        stats = pool.stats()
        waited = max(stats.oldest_wait, seconds or 0.0)
        then = attrs.evolve(
            stats, waiting=stats.waiting + 1, oldest_wait=waited
        )  # with who has just given up
        error = self.ours(errors.PoolTimeout(f"no connection came free in {seconds} s: {then}"))
        cast(errors.PoolTimeout, error).stats = then
        return error

    def stream_failure(self, error: TransportFailure) -> Exception:
        """
        Make *error* one of the library, on a connection that is no longer HTTP.

        Where httpcore is in use it is one of httpcore's as well: WebSocket libraries look for no other.
        """
        cores = [sys.modules[name] for name in _CORES if name in sys.modules]
        return _joined(*[getattr(module, error.kind) for module in (self.library, *cores)])(str(error))

    def ours(self, error: errors.PoolError) -> errors.PoolError:
        """Make an error of ours one of the library's too."""
        combined: type[errors.PoolError] = self._errors.get(type(error)) or type(error)
        return combined(*error.args)

    def routes(self, share: Share) -> dict[str, Share]:
        """
        Whom requests share with, by URL pattern, where ``HTTP_PROXY``, ``NO_PROXY`` ... say so.

        The library's own private functions read them: the two differ in what they make of
        ``NO_PROXY``, and a transport must not change what its client would have done.

        Raises:
            Exception: What the library raises for such a variable.
        """
        config = share.config
        if not config.trust_env or config.proxy is not None or config.uds is not None:
            return {}
        proxies: Mapping[str, str | None] = self.library._utils.get_environment_proxies()  # noqa: SLF001
        return {
            key: share if url is None else _through(share, self.proxy(url)) for key, url in proxies.items()
        }

    def proxy(self, value: Any) -> Proxy:
        """Read a proxy as the library does, with its errors."""
        known = isinstance(value, Proxy | self.library.Proxy)
        return Proxy.parse(value if known else self.library.Proxy(value))

    def sort(self, routes: Mapping[str, Share]) -> list[_Route]:
        """Order routes as the library orders mounts: the most specific pattern first."""
        pattern = self.library._utils.URLPattern  # noqa: SLF001 - as above
        return sorted(((pattern(key), share) for key, share in routes.items()), key=lambda route: route[0])

    def neutral(self, request: Any, exchange: Exchange, lane: str, target: bytes) -> Request:
        """Take the library's name off a request."""
        url, extensions = request.url, request.extensions
        timeouts = extensions.get("timeout", _NO_TIMEOUTS)
        if timeouts.get("pool") is None:
            timeouts = _with_queue_timeout(timeouts, exchange)
        try:  # whole, where the library has it so: it can be sent twice, and in one piece
            body = request.content
        except self.library.RequestNotRead:
            body = request.stream
        return Request(
            method=request.method,
            scheme=url.scheme,
            host=url.raw_host.decode("ascii"),
            port=url.port,
            target=extensions.get("target", target),
            headers=request.headers.raw,
            body=body,
            timeouts=timeouts,
            lane=lane,
            lease=exchange.tenant.name,
            extensions=extensions,
            on_replay=exchange.replayed,
        )

    def response(self, response: Response, stream: OpenAnswer) -> Any:
        """Make the answer a response of the library."""
        extensions = response.extensions
        extensions["pool_manager"] = response.record
        upgraded = extensions.get("network_stream")
        if isinstance(upgraded, Upgraded):
            upgraded.translate = self.stream_failure
        made = self.response_type(
            response.status, headers=response.headers, stream=stream, extensions=extensions
        )
        made.pooled = stream
        stream.is_open = True  # last: until then nobody has it who could close it
        return made


def _with_queue_timeout(timeouts: _Timeouts, exchange: Exchange) -> _Timeouts:
    """Bound the wait of who has set no bound, but for one who knows nothing of pools."""
    seconds = exchange.pool.share.limits.queue_timeout
    may_wait = seconds == math.inf or exchange.tenant.installed
    return timeouts if may_wait else {**timeouts, "pool": seconds}


def _secrets(request: Request, pool: Pool) -> list[bytes]:
    """Give what nobody is to read of a request, and of the proxy it goes through."""
    headers, userinfo = [*request.headers], b""
    if (proxy := pool.share.config.proxy) is not None:
        headers += proxy.headers
        userinfo = b":".join(proxy.auth or ())
    return secrets_of(headers, request.target, userinfo)


def _through(share: Share, proxy: Proxy) -> Share:
    """Give whom a request shares with that goes through *proxy*."""
    return attrs.evolve(share, config=attrs.evolve(share.config, proxy=proxy, local_address=None))


@functools.cache
def _joined(*types: type[Exception]) -> type[Exception]:
    """Give an error that is all of *types*, and is called as the first is."""
    first, *others = types
    return type(first.__name__, types, {"__module__": first.__module__}) if others else first


def _reduce(error: Exception) -> tuple[object, ...]:
    """Pickle as the error of ours alone: another process may lack the library."""
    return next(ours for ours in _ALSO if isinstance(error, ours)), error.args


@functools.cache
def face_of(library: ModuleType) -> Face:
    """
    Give the face of a library, by its module object.

    Raises:
        ConfigError: It is neither httpx nor httpx2.
    """
    try:
        return Face(library)
    except AttributeError:
        raise ConfigError(f"library must be the module httpx or httpx2, not {library!r}") from None


class PoolTransport:
    """
    A transport whose connections are those of the shared pool, found at each request.

    Closing it gives its lease back, once; used after that it takes the lease
    anew, since many SDKs close a transport and go on. A transport made by a
    `Lease` lives as long as that lease, and its own close does nothing.
    """

    face: Face
    retrier: Retrier | None = None  # what sends requests again that failed

    def __init__(self, tenancy: Tenancy, share: Share, *, routes: Mapping[str, Share], owns: bool) -> None:
        self._tenancy, self._share, self._lanes, self._owns = tenancy, share, tenancy.lanes, owns
        self._registry = tenancy.registry
        self._routes = self.face.sort(routes)
        self.replaced: Sequence[Any] = ()  # what an attached client had before, closed with it

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as its configuration: in another process it takes a lease there, at its first request."""
        routes = {pattern.pattern: share for pattern, share in self._routes}
        return _arrived, (self.face.library.__name__, self._tenancy, self._share, routes, self.retrier)

    def _share_for(self, url: object) -> Share:
        for pattern, share in self._routes:
            if pattern.matches(url):
                return share
        return self._share

    def _lane_of(self, ride: riding.Ride) -> str | None:
        if ride.lane is None:
            return self._tenancy.tenant.lane
        return ride.lane if ride.lane == riding.POLLING else self._lanes.check(ride.lane)

    def _begin(self, exchange: Exchange, request: Any, loop: object | None, retried: str | None) -> Request:
        """Let a request in, *retried* since that."""
        tenant, url, ride = self._tenancy.tenant, request.url, riding.current()
        share = self._share_for(url) if self._routes else self._share
        leased, target = tenant.lane if ride is None else self._lane_of(ride), url.raw_path
        lane = self._lanes.choose(request.extensions.get("pool_manager"), leased, target)
        if ride is not None and lane == riding.POLLING and lane not in self._lanes:
            share = attrs.evolve(share, polls=True)
        try:
            self._registry.begin(exchange, share, loop)
        except errors.PoolError as error:
            raise self.face.ours(error) from None
        if exchange.pool.is_outdated:
            exchange.pool.catch_up()
        neutral = self.face.neutral(request, exchange, lane, target)
        if retried is not None:
            exchange.retried(neutral, retried)
        return neutral

    def handle_request(self, request: Any) -> Any:
        """Send a request from a thread; again where that was asked for."""
        seam = self.face.seam
        send = self._by(seam, self._send, request) if seam.is_taken() else self._send
        return send(request) if self.retrier is None else self.retrier.send(request, send)

    def straight(self, request: Any) -> Any:
        """Send a request from a thread once, by no tool: it comes from below the library's own transport."""
        return self._send(request)

    def astraight(self, request: Any) -> Awaitable[Any]:
        """Send a request from the running loop once, by no tool."""
        return self._asend(request)

    def _by(self, seam: Seam, pooled: Callable[..., Any], request: Any) -> Callable[..., Any]:
        """Give what sends a request by the tools that are at *seam*."""
        return functools.partial(seam.send, pooled=pooled, proxy=self._share_for(request.url).config.proxy)

    def _send(self, request: Any, *, retried: str | None = None) -> Any:
        exchange = self._registry.exchange(self._tenancy.tenant)
        try:
            neutral = self._begin(exchange, request, None, retried)
            engine: Any = exchange.pool.engine  # of threads
            try:
                response: SyncResponse = engine.open(neutral)
            except (TransportFailure, errors.PoolError) as error:
                raised = self.face.failure(error, exchange.pool, neutral)
                raise raised from raised.__cause__
            try:
                return self.face.response(response, self.face.stream_type(response.body, exchange, neutral))
            except BaseException:
                response.body.abandon()
                raise
        except BaseException:  # an interrupt may strike anywhere
            exchange.end(failed=True)
            raise

    def handle_async_request(self, request: Any) -> Awaitable[Any]:
        """Send a request from the running loop, by the pool of that loop; again where that was asked for."""
        seam = self.face.async_seam
        send = self._by(seam, self._asend, request) if seam.is_taken() else self._asend
        if self.retrier is None:
            answered: Awaitable[Any] = send(request)
            return answered  # not awaited here: a coroutine less for each request
        return self.retrier.asend(request, send)

    async def _asend(self, request: Any, *, retried: str | None = None) -> Any:
        exchange = self._registry.exchange(self._tenancy.tenant)
        try:
            neutral = self._begin(exchange, request, loops.current(), retried)
            engine: Any = exchange.pool.engine  # of the running loop
            try:
                response: AsyncResponse = await engine.open(neutral)
            except (TransportFailure, errors.PoolError) as error:
                raised = self.face.failure(error, exchange.pool, neutral)
                raise raised from raised.__cause__
            try:
                return self.face.response(
                    response, self.face.async_stream_type(response.body, exchange, neutral)
                )
            except BaseException:
                response.body.abandon()
                raise
        except BaseException:
            exchange.end(failed=True)
            raise

    def close(self) -> None:
        """Give the lease back."""
        for transport in self.replaced:
            if isinstance(transport, self.face.library.BaseTransport):
                transport.close()
        if self._owns:
            self._tenancy.close()

    async def aclose(self) -> None:
        """Give the lease back; what it was the last to hold here is closed when this returns."""
        for transport in self.replaced:
            if isinstance(transport, self.face.library.AsyncBaseTransport):
                await transport.aclose()
        if self._owns:
            await self._tenancy.aclose()


def _arrived(
    library: str, tenancy: Tenancy, share: Share, routes: Mapping[str, Share], retrier: Retrier | None
) -> PoolTransport:
    """Make the transport that a pickle stands for."""
    face = face_of(importlib.import_module(library))
    made = face.transport_type(tenancy, share, routes=routes, owns=True)
    made.retrier = retrier
    return made
