"""What an HTTP/1.1 connection reports. A part of a body is plain `bytes`, with no wrapper to pay for."""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

from pool_manager.core.messages import Headers, TransportFailure


@attrs.define  # Not frozen: that doubles the cost of making one, and each exchange makes one.
class Head:
    """
    The head of the final answer (or of a 101, which is the last there is).

    Attributes:
        status: Three digits, 101 or from 200 on.

        reason: The reason phrase; often empty.

        headers: Raw pairs in the order and spelling of the server.

        http_version: As on the wire: ``b"HTTP/1.1"`` or ``b"HTTP/1.0"``.
    """

    status: int
    reason: bytes
    headers: Headers = attrs.field(repr=False)  # cookies, for one
    http_version: bytes


@attrs.define
class Informational:
    """An answer before the answer: 100, 102, 103 (RFC 9110, 15.2). The final one follows."""

    head: Head


@attrs.frozen
class End:
    """
    The answer is complete.

    Attributes:
        trailers: What a chunked body ended with; nobody may merge them into the headers unasked.
    """

    trailers: tuple[tuple[bytes, bytes], ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class Switched:
    """
    The connection is no longer HTTP: after a 101, or a 2xx to CONNECT.

    Attributes:
        data: Bytes of the new protocol that came with the head. Later ones are reported as `bytes`.
    """

    data: bytes


Event: TypeAlias = Informational | Head | bytes | End | Switched | TransportFailure

END: Final = End()


def remote_error(message: str) -> TransportFailure:
    """Blame the server."""
    return TransportFailure("RemoteProtocolError", message)


def local_error(message: str) -> TransportFailure:
    """Blame the caller."""
    return TransportFailure("LocalProtocolError", message)
