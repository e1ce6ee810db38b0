"""
The head of a request, checked and serialised (RFC 9112, 3).

Rule 1: whatever could be read in two ways is refused here, before a byte is written: a connection is
shared, and a request that smuggles a second one gives the next caller a wrong answer (11.2).
Rule 2: an error names the header and never shows its value: a key with a line break at its end is the
commonest of these mistakes.
Rule 3: a process sends few headers, again and again. The line of one that was found fit is kept, unless it
is long, or may hold a secret: so what is found among the kept ones need not be asked about again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Final, TypeAlias

from pool_manager.core.http1_events import local_error
from pool_manager.core.messages import Request

# RFC 9110, 5.6.2.
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VISIBLE: Final = bytes(range(0x21, 0x7F))
# As h11: other control characters are sent as they are, since cookies with \x01 are about (h11#57).
_FORBIDDEN: Final = b"\0\n\v\f\r"
# Longer values seldom come again, and would be kept for long.
MAX_KEPT: Final = 256
MAX_LINES: Final = 4096
# authorization, proxy-authorization, cookie, and what SDKs call theirs: x-api-key, x-goog-api-key,
# x-amz-security-token. One too many does no harm: an idempotency-key never comes twice anyway.
_SECRETS: Final = (b"auth", b"cookie", b"credential", b"key", b"password", b"secret", b"session", b"token")
# As h11: up to a billion terabytes.
_MAX_LENGTH_DIGITS: Final = 20


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


Note: TypeAlias = Callable[[RequestHead], None]
Line: TypeAlias = tuple[bytes, Note | None]
"""The line of a header, and what is to be noted of it."""

_text, _note = itemgetter(0), itemgetter(1)


def request_head(request: Request) -> RequestHead:
    """
    Serialise the head of *request*, Host first (RFC 9110, 7.2).

    Raises:
        TransportFailure: "LocalProtocolError"; says what was wrong.
    """
    start = b"%b %b HTTP/1.1" % (checked_method(request.method), checked_target(request.target))
    headers = request.headers
    if headers and headers[0][0].lower() != b"host":
        headers = sorted(headers, key=lambda header: header[0].lower() != b"host")
    # The lines that are kept cost no step of Python's.
    lines = [*map(LINES.__getitem__, headers)]
    head = RequestHead()
    for note in filter(None, map(_note, lines)):
        note(head)
    check_promises(head.hosts, head.framings)
    head.data = b"\r\n".join((start, *map(_text, lines), b"", b""))
    return head


class Lines(dict[tuple[bytes, bytes], Line]):
    """The lines of headers, by name and value. Those that are not kept are made anew each time."""

    def __missing__(self, header: tuple[bytes, bytes]) -> Line:
        name, value = header
        take = _TAKE.get(checked_name(name))
        text = b"%b: %b" % (name, checked_value(name, value))
        line = text, None if take is None else take(value)
        if len(value) <= MAX_KEPT and not is_secret(name):
            if len(self) >= MAX_LINES:
                self.clear()  # the few that come again are soon back
            self[header] = line
        return line


LINES: Final = Lines()


# What is checked in every version of HTTP; each raises `TransportFailure` ("LocalProtocolError").


@lru_cache(maxsize=64)
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


@lru_cache(maxsize=1024)
def checked_name(name: bytes) -> bytes:
    """Give the name in lower case."""
    if not name or name.translate(None, _TOKEN):
        raise local_error(f"Illegal header name {name!r}")
    return name.lower()


@lru_cache(maxsize=1024)
def is_secret(name: bytes) -> bool:
    """Tell whether the value of such a header opens doors."""
    lower = name.lower()
    return any(word in lower for word in _SECRETS)


def checked_value(name: bytes, value: bytes) -> bytes:
    """Give the value back."""
    if value != value.strip():
        raise local_error(f"Illegal header value of {name!r}: whitespace at its start or end")
    if len(value.translate(None, _FORBIDDEN)) != len(value):
        raise local_error(f"Illegal header value of {name!r}: a line break, NUL, form feed or vertical tab")
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


def _take_length(value: bytes) -> Note:
    length = checked_length(value)

    def note(head: RequestHead) -> None:
        head.length = length
        head.framings += 1

    return note


def _take_encoding(value: bytes) -> Note:
    check_encoding(value)
    return _note_chunked


def _take_connection(value: bytes) -> Note | None:
    return _note_close if b"close" in options_of(value) else None


def _take_upgrade(value: bytes) -> Note | None:
    return _note_upgrade if value else None


def _take_host(_: bytes) -> Note:
    return _note_host


def _note_chunked(head: RequestHead) -> None:
    head.length = None
    head.framings += 1


def _note_close(head: RequestHead) -> None:
    head.close = True


def _note_upgrade(head: RequestHead) -> None:
    head.upgrade = True


def _note_host(head: RequestHead) -> None:
    head.hosts += 1


_TAKE: Final[dict[bytes, Callable[[bytes], Note | None]]] = {
    b"host": _take_host,
    b"content-length": _take_length,
    b"transfer-encoding": _take_encoding,
    b"connection": _take_connection,
    b"upgrade": _take_upgrade,
}


def options_of(value: bytes) -> frozenset[bytes]:
    """Split a comma-separated list of case-insensitive options, as Connection has (RFC 9110, 7.6.1)."""
    return _kept_options_of(value) if len(value) <= MAX_KEPT else _options_of(value)


def _options_of(value: bytes) -> frozenset[bytes]:
    return frozenset(option.strip() for option in value.lower().split(b","))


_kept_options_of = lru_cache(maxsize=64)(_options_of)
