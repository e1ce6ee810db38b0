"""TLS in memory: what is to be sent for what is said, and what is said by what was received."""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

_SIZE: Final = 256 * 1024


class Encryption:
    """
    The TLS of one connection.

    Attributes:
        tls: What does it.

        context: What it was made from.

        ended: The peer will say no more.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.ended = False

    def greet(self, received: bytes | None) -> bool:
        """
        Take a step of the handshake, by what was received if anything was; True if it is done.

        Raises:
            ssl.SSLError: It cannot be done.
        """
        if received is not None:
            self._take(received)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        """Take what is to be sent: steps of the handshake, alerts, new keys."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Give what is to be sent for *data*."""
        self.tls.write(data)
        return self._outgoing.read()

    def decrypt(self, received: bytes | None) -> bytes:
        """
        Give what was said by what was received; `ended` may be set by it.

        Raises:
            ssl.SSLError: It is no TLS, or was tampered with.
        """
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
        """Give the close_notify (RFC 8446, 6.1)."""
        with contextlib.suppress(ssl.SSLError):  # that the peer has not said it yet
            self.tls.unwrap()
        return self._outgoing.read()

    def _take(self, received: bytes) -> None:
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()
