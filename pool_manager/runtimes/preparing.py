"""
What is said on a new connection before it carries requests: TLS with a proxy, a tunnel, TLS with the target.

Without I/O: a conversation is a generator. It gives what is to be sent, which may be nothing, and how many
bytes may be read after that (0: none); it is sent what was read, nothing at the end, or thrown the `OSError`
by which the connection broke.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Generator
from typing import Final, TypeAlias

import attrs

from pool_manager.core.messages import TransportFailure
from pool_manager.core.tunnels import Tunnel, proxy_error
from pool_manager.runtimes.addresses import Address, refused, why_no_tls
from pool_manager.runtimes.encrypting import Encryption, Tls, TlsInTls

Conversation: TypeAlias = Generator[tuple[bytes, int], bytes, Encryption | None]

# Bytes that are read at once where TLS keeps what is not wanted yet.
_SIZE: Final = 64 * 1024


@attrs.frozen
class Way:
    """
    The way by a proxy.

    Attributes:
        proxy: Where it is.

        encryption: TLS with it, if it is spoken to so.

        tunnel: What has it connect us; None where it passes on requests.
    """

    proxy: Address
    encryption: Encryption | None
    tunnel: Tunnel | None


def encryption_for(address: Address, context: ssl.SSLContext) -> Tls:
    """
    Make the TLS for *address*: before anybody is connected to.

    Raises:
        TransportFailure: A "ConnectError": it has a name that TLS cannot ask for.
    """
    try:
        return Tls(context, address.tls_name)
    except (ssl.SSLError, ValueError) as error:  # UnicodeError, for a label too long, is one
        raise refused(f"TLS cannot ask for the name {address.tls_name!r}: {error}") from error


def preparing(address: Address, encryption: Encryption | None, way: Way | None) -> Conversation:
    """
    Have all conversations that come before the first request; return the TLS that is spoken from then on.

    Args:
        address: The target.

        encryption: TLS with it; None if there is none.

        way: The proxy by which it is reached, if it is.

    Raises:
        TransportFailure: A "ConnectError", or a "ProxyError" where a proxy did not connect us.
    """
    outer = None
    if way is not None:
        outer = way.encryption
        if outer is not None:
            yield from _shaking_hands(outer, way.proxy)
        if way.tunnel is not None:
            yield from _tunnelling(way.tunnel, outer)
    if encryption is None:
        return outer
    if outer is not None:
        encryption = TlsInTls(outer, encryption)
    yield from _shaking_hands(encryption, address)
    return encryption


def _shaking_hands(encryption: Encryption, address: Address) -> Generator[tuple[bytes, int], bytes, None]:
    received: bytes | None = None
    done = False
    try:
        while not done:
            try:
                done = encryption.greet(received)
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    yield encryption.to_send(), 0  # the alert that tells the peer why
                raise
            received = yield encryption.to_send(), 0 if done else _SIZE
            if not (received or done):
                raise ConnectionResetError
    except OSError as error:  # ssl.SSLError is one
        raise refused(f"TLS with {address} failed: {why_no_tls(error)}") from error


def _tunnelling(tunnel: Tunnel, encryption: Encryption | None) -> Generator[tuple[bytes, int], bytes, None]:
    try:
        data = tunnel.start()
        while not tunnel.is_open:
            if encryption is None:
                received = yield data, tunnel.wants
            else:
                received = encryption.decrypt((yield encryption.encrypt(data), _SIZE))
                if not (received or encryption.ended):  # a part of a record, or a word of TLS to itself
                    data = b""
                    continue
            data = tunnel.receive(received)
    except TransportFailure:
        raise
    except OSError as error:
        raise proxy_error(f"the connection to the proxy broke: {error}") from error
