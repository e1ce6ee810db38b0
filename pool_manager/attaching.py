"""
Putting a client that exists already on the pool, and taking it off again.

A client's own transport is swapped. Where something is around it (retries, a cache, a mock), or has
wrapped a method of it (OpenTelemetry's `instrument_client`), all of that stays, the transport included,
and what is below it is swapped: whoever holds on to that transport, by whatever name, then meets the
pool. This touches `_transport`, `_mounts` and `_pool`, which both libraries have under these names and
neither promises.
"""

from __future__ import annotations

import functools
import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, Final, Self, cast

import attrs

from pool_manager.config import PoolConfig
from pool_manager.errors import ConfigError
from pool_manager.libraries import library_of
from pool_manager.transports import PoolTransport


@attrs.frozen(eq=False)
class Attachment:
    """A client on the pool, and how it was before."""

    pooled: PoolTransport
    _original: Any
    _mounts: dict[Any, Any]

    @classmethod
    def make(cls, client: Any, pooled: PoolTransport) -> Attachment:
        """Swap *pooled* in for the client's own transport, and route its proxies too."""
        library = library_of_client(client)
        place = _innermost(client, library)
        own = {key: mount for key, mount in client._mounts.items() if not _is_plain(mount, library)}
        pooled.replaced = [mount for key, mount in client._mounts.items() if key not in own and mount]
        made = cls(pooled, place.found, client._mounts)
        if place.holder is client and not _METHODS & {*_own(place.found)}:
            pooled.replaced = [place.found, *pooled.replaced]
            place.put(pooled)
        else:
            _Below.put(pooled, place.found)
        client._mounts = own
        return made

    def undo(self, client: Any) -> None:
        """Put everything back. A wrapper that came around the transport meanwhile stays."""
        for place in _places(client, self.pooled.face.library):
            if place.found is self.pooled:
                place.put(self._original)
        below = self._original._pool
        if isinstance(below, _Below):
            below.remove(self._original)
        client._mounts = self._mounts
        self.pooled.replaced = ()
        self.pooled.close()


def library_of_client(client: Any) -> ModuleType:
    """
    Tell which library *client* is a client of.

    Raises:
        ConfigError: It is none of either's, or is closed.
    """
    found = library_of(cast("type[object]", type(client)))
    if found is not None and client.is_closed:
        raise ConfigError(f"client {client!r} is closed")
    if found is None:
        raise ConfigError(
            f"client must be an httpx or httpx2 client, not {client!r}: pass the client inside the SDK,"
            " once it is there (some make it when it is first used)"
        )
    return found[0]


def differences(client: Any, config: PoolConfig) -> list[str]:
    """What of the client's connection settings *config* would change, as far as can be seen."""
    library = library_of_client(client)
    pool = _pool_of(client, library)
    found: list[str] = []
    if pool._ssl_context is not None:
        found += _tls_differences(pool._ssl_context, _default_context(library))
    if getattr(pool, "_proxy_url", None) is not None:
        found.append("it has a proxy")
    found += _mount_differences(client, library)
    if client.trust_env != config.trust_env and library._utils.get_environment_proxies():
        found.append(f"it has trust_env={client.trust_env}")
    for name in ("uds", "local_address"):
        if getattr(pool, f"_{name}", None) is not None:
            found.append(f"it has {name}={getattr(pool, f'_{name}')!r}")
    if config.http1 and not pool._http1:
        found.append("it has http1=False")
    found += [f"it has a socket option: {option}" for option in _other_options(pool._socket_options)]
    return found


def retries_of(client: Any) -> int:
    """Give how often the client's transport tries again to connect."""
    return int(_pool_of(client, library_of_client(client))._retries)


def _pool_of(client: Any, library: ModuleType) -> Any:
    """Give what the innermost transport keeps its connections in, and its settings."""
    return _innermost(client, library).found._pool


def _other_options(options: Iterable[tuple[Any, ...]] | None) -> list[tuple[Any, ...]]:
    """Give those that the pool's connections do not have anyway: they are kept alive, and send at once."""
    keepalive = {option[:2] for option in PoolConfig().socket_options}
    others = [option for option in options or () if option[:2] not in keepalive]
    return [option for option in others if option != (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


def _mount_differences(client: Any, library: ModuleType) -> Iterator[str]:
    """Tell mounts from those for proxies of the environment, which every client has."""
    environment = library._utils.get_environment_proxies()
    for pattern, mount in client._mounts.items():
        url = getattr(getattr(mount, "_pool", None), "_proxy_url", None)
        if url is not None:
            if not _is_proxy(url, environment.get(pattern.pattern), library):
                yield f"it has a proxy for {pattern.pattern}"
        elif mount is not None or pattern.pattern not in environment:
            yield f"it has mounts: {pattern.pattern}"


def _is_proxy(url: Any, expected: str | None, library: ModuleType) -> bool:
    """Whether a proxy's URL, as httpcore has it, is the expected one."""
    if expected is None:
        return False
    proxy = library.Proxy(expected).url
    return bool((url.scheme, url.host, url.port) == (proxy.raw_scheme, proxy.raw_host, proxy.port))


def _tls_differences(context: ssl.SSLContext, default: ssl.SSLContext) -> Iterator[str]:
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        yield "it does not verify certificates"
    elif sorted(context.get_ca_certs(binary_form=True)) != sorted(default.get_ca_certs(binary_form=True)):
        yield "it trusts other CAs than the library does by default"
    if (context.minimum_version, context.maximum_version) != (
        default.minimum_version,
        default.maximum_version,
    ):
        yield "it allows other TLS versions than the library does by default"


def _default_context(library: ModuleType) -> ssl.SSLContext:
    """Give what the library would make now."""
    return _context_under(library, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=8)  # 20 ms each
def _context_under(library: ModuleType, *_: str | None) -> ssl.SSLContext:
    return library.create_ssl_context()  # type: ignore[no-any-return]


def _is_plain(transport: object, library: ModuleType) -> bool:
    return transport is None or isinstance(transport, library.HTTPTransport | library.AsyncHTTPTransport)


_METHODS: Final = frozenset({"handle_request", "handle_async_request"})


@attrs.frozen
class _Below:
    """What stands for httpcore's pool where the transport above it stays; leads to ours, and closes both."""

    _pooled: PoolTransport
    original: Any
    _short: dict[str, Any]  # the transport's methods that nobody has wrapped: they need not go through it

    @classmethod
    def put(cls, pooled: PoolTransport, transport: Any) -> None:
        """Put *pooled* below *transport*."""
        own = _own(transport)
        bare = [name for name in _METHODS if hasattr(transport, name) and name not in own]
        short = {name: getattr(pooled, name) for name in bare}
        transport._pool = cls(pooled, transport._pool, short)
        own.update(short)

    def remove(self, transport: Any) -> None:
        """Have *transport* be as it was; what has wrapped a method of it meanwhile stays."""
        for name, method in self._short.items():
            if _own(transport).get(name) is method:
                delattr(transport, name)
        transport._pool = self.original

    def handle_request(self, asked: Any) -> Any:
        return self._pooled.face.seam.below(self._pooled.straight).handle_request(asked)

    def handle_async_request(self, asked: Any) -> Any:
        return self._pooled.face.async_seam.below(self._pooled.astraight).handle_async_request(asked)

    def close(self) -> None:
        self.original.close()
        self._pooled.close()

    async def aclose(self) -> None:
        await self.original.aclose()
        await self._pooled.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


@attrs.frozen
class _Place:
    """
    Where a transport is: what holds it, and by which name.

    A wrapper for both colours may hold one transport by two names.
    """

    holder: Any
    names: tuple[str, ...]
    found: Any

    def put(self, transport: object) -> None:
        """Have *transport* there instead."""
        for name in self.names:
            setattr(self.holder, name, transport)


def _places(client: Any, library: ModuleType) -> Iterator[_Place]:
    """Each transport from the client's inwards."""
    base = library.BaseTransport if isinstance(client, library.Client) else library.AsyncBaseTransport
    place = _Place(client, ("_transport",), client._transport)
    seen: set[int] = set()
    while id(place.found) not in seen:
        seen.add(id(place.found))
        yield place
        if isinstance(place.found, PoolTransport) or _is_plain(place.found, library):
            return
        inner = {name: value for name, value in _held_by(place.found) if isinstance(value, base)}
        if len({id(value) for value in inner.values()}) != 1:
            return
        place = _Place(place.found, tuple(inner), next(iter(inner.values())))


def _own(transport: object) -> dict[str, Any]:
    """Give the attributes that are an object's own, and not its class's."""
    return vars(transport)


def _held_by(transport: object) -> Iterator[tuple[str, object]]:
    """What a transport holds, by its names."""
    yield from getattr(transport, "__dict__", {}).items()
    for kind in type(transport).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(transport, name):
                yield name, getattr(transport, name)


def _innermost(client: Any, library: ModuleType) -> _Place:
    *_, place = _places(client, library)
    if isinstance(place.found, PoolTransport) or isinstance(getattr(place.found, "_pool", None), _Below):
        raise ConfigError(f"client {client!r} is on a pool already: detach it there first")
    if not _is_plain(place.found, library):
        raise ConfigError(
            f"client {client!r} ends in a {type(place.found).__name__}, not in the library's own transport:"
            " there is no connection to pool"
        )
    return place
