"""
Putting a client that exists already on the pool, and taking it off again.

The innermost transport is swapped: what wraps it (retries, tracing, mocks)
stays. This touches `_transport`, `_mounts` and `_pool`, which both libraries have
under these names and neither promises.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import attrs

from pool_manager.errors import ConfigError
from pool_manager.libraries import library_of
from pool_manager.transports import PoolTransport, face_of


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
        client._mounts = {
            pattern: mount for pattern, mount in client._mounts.items() if not _is_plain(mount, library)
        }
        return made

    def undo(self, client: Any) -> None:
        """Put everything back. A wrapper that came around the transport meanwhile stays."""
        for holder, name, transport in _transports(client, library_of_client(client)):
            if transport is self.pooled:
                setattr(holder, name, self._original)
        client._mounts = self._mounts
        self.pooled.close()


def library_of_client(client: object) -> ModuleType:
    """
    Tell which library *client* is a client of.

    Raises:
        ConfigError: It is none of either's, or is closed.
    """
    found = library_of(type(client))
    if found is None:
        raise ConfigError(
            f"client must be an httpx or httpx2 client, not {client!r}: pass the client inside the SDK"
        )
    return found[0]


def differences(client: Any) -> list[str]:
    """What of the client's connection settings is not the library's default, as far as can be seen."""
    library = library_of_client(client)
    pool = _innermost(client, library)[2]._pool
    found: list[str] = []
    if pool._ssl_context is not None:
        found += _tls_differences(pool._ssl_context, _default_context(library))
    if getattr(pool, "_proxy", None) is not None:
        found.append("it has a proxy")
    environment = {pattern for pattern, _ in face_of(library).environment_routes()}
    if set(client._mounts) - environment:
        found.append("it has mounts")
    for name in ("uds", "local_address"):
        if getattr(pool, f"_{name}", None) is not None:
            found.append(f"it has {name}={getattr(pool, f'_{name}')!r}")
    return found


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


@functools.cache
def _default_context(library: ModuleType) -> ssl.SSLContext:
    """Give what the library would make: 20 ms, once."""
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
