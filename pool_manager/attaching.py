"""
Putting a client that exists already on the pool, and taking it off again.

The innermost transport is swapped: what wraps it (retries, tracing, mocks)
stays. This touches `_transport`, `_mounts` and `_pool`, which both libraries have
under these names and neither promises.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

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
        holder, name, original = _innermost(client, library)
        made = cls(pooled, original, client._mounts)
        setattr(holder, name, pooled)
        own = {key: mount for key, mount in client._mounts.items() if not _is_plain(mount, library)}
        replaced = [mount for key, mount in client._mounts.items() if key not in own and mount is not None]
        pooled.replaced = [original, *replaced]
        client._mounts = own
        return made

    def undo(self, client: Any) -> None:
        """Put everything back. A wrapper that came around the transport meanwhile stays."""
        for holder, name, transport in _transports(client, self.pooled.face.library):
            if transport is self.pooled:
                setattr(holder, name, self._original)
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
    pool = _innermost(client, library)[2]._pool
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


def _transports(client: Any, library: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """Each transport from the client's inwards, as (who holds it, under which name, transport)."""
    holder, name = client, "_transport"
    seen: set[int] = set()
    while id(holder) not in seen:
        seen.add(id(holder))
        transport = getattr(holder, name)
        yield holder, name, transport
        if _is_plain(transport, library) or isinstance(transport, PoolTransport):
            return
        bases = (library.BaseTransport, library.AsyncBaseTransport)
        inner = [key for key, value in getattr(transport, "__dict__", {}).items() if isinstance(value, bases)]
        if len(inner) != 1:
            return
        holder, name = transport, inner[0]


def _innermost(client: Any, library: ModuleType) -> tuple[Any, str, Any]:
    *_, (holder, name, transport) = _transports(client, library)
    if isinstance(transport, PoolTransport):
        raise ConfigError(f"client {client!r} is on a pool already: detach it there first")
    if not _is_plain(transport, library):
        raise ConfigError(
            f"client {client!r} ends in a {type(transport).__name__}, not in the library's own transport:"
            " there is no connection to pool"
        )
    return holder, name, transport
