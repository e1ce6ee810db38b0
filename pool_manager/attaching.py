"""
Putting a client that exists already on the pool, and taking it off again.

The innermost transport is swapped: what wraps it (retries, tracing, mocks)
stays. Where a tool has wrapped a method of that transport itself, as OpenTelemetry's
`instrument_client` does, the transport stays, too, and what is below it is swapped. This
touches `_transport`, `_mounts` and `_pool`, which both libraries have under these names and
neither promises.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator
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
    _swapped: object  # what stands there for the original
    _original: Any
    _mounts: dict[Any, Any]

    @classmethod
    def make(cls, client: Any, pooled: PoolTransport) -> Attachment:
        """Swap *pooled* in for the client's own transport, and route its proxies too."""
        library = library_of_client(client)
        place = _innermost(client, library)
        own = {key: mount for key, mount in client._mounts.items() if not _is_plain(mount, library)}
        pooled.replaced = [mount for key, mount in client._mounts.items() if key not in own and mount]
        swapped: object = pooled
        if place.name == _BELOW:
            swapped = _Below(pooled, place.found)
        else:
            pooled.replaced = [place.found, *pooled.replaced]
        made = cls(pooled, swapped, place.found, client._mounts)
        place.put(swapped)
        client._mounts = own
        return made

    def undo(self, client: Any) -> None:
        """Put everything back. A wrapper that came around the transport meanwhile stays."""
        for place in _places(client, self.pooled.face.library):
            if place.found is self._swapped:
                place.put(self._original)
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
            f"client must be an httpx or httpx2 client, not {client!r}: pass the client inside the SDK"
        )
    return found[0]


def differences(client: Any, config: PoolConfig) -> list[str]:
    """What of the client's connection settings *config* would change, as far as can be seen."""
    library = library_of_client(client)
    innermost = _innermost(client, library)
    pool = innermost.found if innermost.name == _BELOW else innermost.found._pool
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
    return found


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


_BELOW: Final = "_pool"  # of a transport of the library's
_METHODS: Final = ("handle_request", "handle_async_request")


@attrs.frozen
class _Below:
    """What stands for httpcore's pool where the transport above it stays; leads to ours, and closes both."""

    _pooled: PoolTransport
    _original: Any

    def handle_request(self, asked: Any) -> Any:
        return self._pooled.face.seam.below(self._pooled._send).handle_request(asked)

    def handle_async_request(self, asked: Any) -> Any:
        return self._pooled.face.async_seam.below(self._pooled._asend).handle_async_request(asked)

    def close(self) -> None:
        self._original.close()
        self._pooled.close()

    async def aclose(self) -> None:
        await self._original.aclose()
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

    @property
    def name(self) -> str:
        return self.names[0]

    def put(self, transport: object) -> None:
        """Have *transport* there instead."""
        for name in self.names:
            setattr(self.holder, name, transport)


def _places(client: Any, library: ModuleType) -> Iterator[_Place]:
    """Each transport from the client's inwards; at the end what is below one whose methods were wrapped."""
    base = library.BaseTransport if isinstance(client, library.Client) else library.AsyncBaseTransport
    place = _Place(client, ("_transport",), client._transport)
    seen: set[int] = set()
    while id(place.found) not in seen:
        seen.add(id(place.found))
        yield place
        if isinstance(place.found, PoolTransport | _Below):
            return
        if _is_plain(place.found, library):
            if not any(name in vars(place.found) for name in _METHODS):
                return
            place = _Place(place.found, (_BELOW,), place.found._pool)
            yield place
            return
        inner = {name: value for name, value in _held_by(place.found) if isinstance(value, base)}
        if len({id(value) for value in inner.values()}) != 1:
            return
        place = _Place(place.found, tuple(inner), next(iter(inner.values())))


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
    if isinstance(place.found, PoolTransport | _Below):
        raise ConfigError(f"client {client!r} is on a pool already: detach it there first")
    if place.name != _BELOW and not _is_plain(place.found, library):
        raise ConfigError(
            f"client {client!r} ends in a {type(place.found).__name__}, not in the library's own transport:"
            " there is no connection to pool"
        )
    return place
