"""
The head of a request, checked and serialised (RFC 9112, 3).

Rule 1: whatever could be read in two ways is refused here, before a byte is written: a connection is
shared, and a request that smuggles a second one gives the next caller a wrong answer (11.2).
Rule 2: an error names the header and never shows its value: a key with a line break at its end is the
commonest of these mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import attrs

from pool_manager.core.http1_events import local_error
from pool_manager.core.messages import Headers, Request, TransportFailure

# RFC 9110, 5.6.2.
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
# As h11: other control characters are sent as they are, since cookies with \x01 are about (h11#57).
_FORBIDDEN: Final = b"\0\n\v\f\r"
# As h11: up to a billion terabytes.
_MAX_LENGTH_DIGITS: Final = 20


@attrs.define
class RequestHead:
    """
    A head and what it promises.

    Attributes:
        length: Bytes of the body that is to follow; None if it is chunked.

        close: It asks the server to close the connection.

        upgrade: It offers another protocol.
    """

    data: bytes = b""
    length: int | None = 0
    close: bool = False
    upgrade: bool = False
    hosts: int = 0
    framings: int = 0


def request_head(request: Request) -> RequestHead:
    """
    Serialise the head of *request*, Host first (RFC 9110, 7.2).

    Raises:
        TransportFailure: "LocalProtocolError"; says what was wrong.
    """
    head = RequestHead()
    for name, value in request.headers:
        note = _note_for(name)
        if note is not None:
            note(head, value)
        if value != value.strip():
            raise _unfit_edges(name)
    check_promises(head.hosts, head.framings)
    lines = [_request_line(request), *map(b": ".join, _host_first(request.headers)), b"\r\n"]
    head.data = b"\r\n".join(lines)
    # One pass over the whole head: the only breaks in it are ours.
    if len(head.data) - len(head.data.translate(None, _FORBIDDEN)) != 2 * len(lines):
        raise _unfit_value(request.headers)
    return head


def _host_first(headers: Headers) -> Headers:
    if headers[0][0].lower() == b"host":
        return headers
    return sorted(headers, key=lambda header: header[0].lower() != b"host")


def _request_line(request: Request) -> bytes:
    return b"%b %b HTTP/1.1" % (checked_method(request.method), checked_target(request.target))


def _unfit_value(headers: Headers) -> TransportFailure:
    return _unfit_inside(next(name for name, value in headers if value.translate(None, _FORBIDDEN) != value))


def _unfit_inside(name: bytes) -> TransportFailure:
    return local_error(f"Illegal header value of {name!r}: a line break, NUL, form feed or vertical tab")


def _unfit_edges(name: bytes) -> TransportFailure:
    return local_error(f"Illegal header value of {name!r}: whitespace at its start or end")


# What is checked in every version of HTTP; each raises `TransportFailure` ("LocalProtocolError").


def checked_method(method: str) -> bytes:
    """Give the bytes of a method."""
    encoded = method.encode("utf-8", "surrogatepass")
    if not encoded or encoded.translate(None, _TOKEN):
        raise local_error(f"Illegal method characters in {method!r}")
    return encoded


def checked_target(target: bytes) -> bytes:
    """Give the target back."""
    if not target or target.translate(None, _VISIBLE):
        raise local_error("Illegal target characters" if target else "The target is empty")
    return target


def checked_name(name: bytes) -> bytes:
    """Give the name in lower case."""
    if not name or name.translate(None, _TOKEN):
        raise local_error(f"Illegal header name {name!r}")
    return name.lower()


def checked_value(name: bytes, value: bytes) -> bytes:
    """Give the value back."""
    if value != value.strip():
        raise _unfit_edges(name)
    if len(value.translate(None, _FORBIDDEN)) != len(value):
        raise _unfit_inside(name)
    return value


def checked_length(value: bytes) -> int:
    """Give what a Content-Length promises."""
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise local_error("bad Content-Length")
    return int(value)


def check_encoding(value: bytes) -> None:
    """Let pass the one transfer coding there is, which HTTP/2 then has no need of."""
    if value.lower() != b"chunked":
        raise local_error("Only Transfer-Encoding: chunked is supported")


def check_promises(hosts: int, framings: int) -> None:
    """Let pass one Host, and one way at most to tell where the body ends."""
    if hosts != 1:  # RFC 9112, 3.2
        raise local_error("Found multiple Host: headers" if hosts else "Missing mandatory Host: header")
    if framings > 1:  # RFC 9112, 6.1 and 6.2
        raise local_error("Content-Length and Transfer-Encoding: one of them, and once")


def _note_length(head: RequestHead, value: bytes) -> None:
    head.length = checked_length(value)
    head.framings += 1


def _note_encoding(head: RequestHead, value: bytes) -> None:
    check_encoding(value)
    head.length = None
    head.framings += 1


def _note_connection(head: RequestHead, value: bytes) -> None:
    head.close |= b"close" in options_of(value)


def _note_upgrade(head: RequestHead, value: bytes) -> None:
    head.upgrade |= bool(value)


def _note_host(head: RequestHead, _: bytes) -> None:
    head.hosts += 1


_NOTES: Final[dict[bytes, Callable[[RequestHead, bytes], None]]] = {
    b"host": _note_host,
    b"content-length": _note_length,
    b"transfer-encoding": _note_encoding,
    b"connection": _note_connection,
    b"upgrade": _note_upgrade,
}


# A process sends few names, and in few spellings: looking one up costs a third of checking it.
@lru_cache(maxsize=1024)
def _note_for(name: bytes) -> Callable[[RequestHead, bytes], None] | None:
    return _NOTES.get(checked_name(name))


def options_of(value: bytes) -> list[bytes]:
    """Split a comma-separated list of case-insensitive options, as Connection has (RFC 9110, 7.6.1)."""
    return [option.strip() for option in value.lower().split(b",")]
