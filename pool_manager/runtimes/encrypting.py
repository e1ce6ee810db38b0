"""TLS in memory: what is to be sent for what is said, and what is said by what was received."""

from __future__ import annotations

import contextlib
import ssl
from typing import Final, Protocol

_SIZE: Final = 256 * 1024


class Encryption(Protocol):
    """
    The TLS of one connection.

    Attributes:
        tls: What does it.

        context: What it was made from.

        ended: The peer will say no more.
    """

    tls: ssl.SSLObject
    context: ssl.SSLContext
    ended: bool

    @property
    def has_to_send(self) -> bool:
        """Something is to be sent that nobody has asked for."""
        ...

    def greet(self, received: bytes | None) -> bool:
        """
        Take a step of the handshake, by what was received if anything was; True if it is done.

        Raises:
            ssl.SSLError: It cannot be done.
        """
        ...

    def to_send(self) -> bytes:
        """Take what is to be sent: steps of the handshake, alerts, new keys."""
        ...

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Give what is to be sent for *data*, and what was to be sent anyway."""
        ...

    def decrypt(self, received: bytes | None) -> bytes:
        """
        Give what was said by what was received; `ended` may be set by it.

        Raises:
            ssl.SSLError: It is no TLS, or was tampered with.
        """
        ...

    def goodbye(self) -> bytes:
        """Give the close_notify (RFC 8446, 6.1)."""
        ...


class Tls(Encryption):
    """TLS on a socket."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.ended = False

    @property
    def has_to_send(self) -> bool:
        """New keys, or a certificate that was asked for late."""
        return bool(self._outgoing.pending)

    def greet(self, received: bytes | None) -> bool:
        """Take a step of the handshake."""
        if received is not None:
            self._take(received)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        """Take what is to be sent."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Give what is to be sent for *data*."""
        if data:
            self.tls.write(data)
        return self._outgoing.read()

    def decrypt(self, received: bytes | None) -> bytes:
        """Give what was said by what was received."""
        if received is not None:
            self._take(received)
        parts: list[bytes] = []
        try:
            while part := self.tls.read(_SIZE):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.ended = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def goodbye(self) -> bytes:
        """Give the close_notify."""
        with contextlib.suppress(ssl.SSLError):  # that the peer has not said it yet
            self.tls.unwrap()
        return self._outgoing.read()

    def _take(self, received: bytes) -> None:
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()


class TlsInTls(Encryption):
    """TLS with a target inside that with a proxy, which is done; the handshake is that of *inner*."""

    def __init__(self, outer: Encryption, inner: Encryption) -> None:
        self._outer, self._inner = outer, inner
        self.tls, self.context, self.ended = inner.tls, inner.context, False

    @property
    def has_to_send(self) -> bool:
        """Either has."""
        return self._inner.has_to_send or self._outer.has_to_send

    def greet(self, received: bytes | None) -> bool:
        """Take a step of the handshake with the target."""
        plain = self._outer.decrypt(received)
        return self._inner.greet(plain or (b"" if self._outer.ended else None))

    def to_send(self) -> bytes:
        """Take what is to be sent."""
        return self._outer.encrypt(self._inner.to_send())

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Give what is to be sent for *data*."""
        return self._outer.encrypt(self._inner.encrypt(data))

    def decrypt(self, received: bytes | None) -> bytes:
        """Give what was said by what was received."""
        data = self._inner.decrypt(self._outer.decrypt(received) or None)
        if self._outer.ended and not self._inner.ended:
            data += self._inner.decrypt(b"")
        self.ended = self._inner.ended
        return data

    def goodbye(self) -> bytes:
        """Give both."""
        return self._outer.encrypt(self._inner.goodbye()) + self._outer.goodbye()
