"""
Header blocks of answers: decoded, judged, counted (RFC 9113, 8.2 and 8.3; RFC 7541).

Rule 1: each block is decoded, be it of a stream that nobody knows any more: the table that both ends keep
would differ from then on. What cannot be decoded ends the connection.
Rule 2: what can be decoded and is not fit to be an answer ends its stream and no other.
Rule 3: a block that left the table as it was means the same when it comes again, until the table changes.
Servers say the same things over and over, and looking a block up costs a tenth of decoding it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, final

import attrs

from pool_manager.core.http1_answers import MAX_HEADERS
from pool_manager.core.http2_hpack import HpackDecoder
from pool_manager.core.messages import Headers

# What we announce, and more than the 100 KiB of HTTP/1.1: each field counts 32 bytes more (6.5.2).
MAX_LIST: Final = 256 * 1024

_KEPT_BLOCKS: Final = 64
_KEPT_BLOCK: Final = 2048

# RFC 9110, 5.6.2, without capitals (RFC 9113, 8.2.1).
_NAME: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_FORBIDDEN: Final = b"\0\n\r"
_CONNECTION_SPECIFIC: Final = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
}
_MAX_LENGTH_DIGITS: Final = 20
_ZERO: Final = ord("0")


@attrs.define
class Fields:
    """
    What one block says.

    Attributes:
        status: Three digits; 0 if there is none, as in trailers.

        headers: Without pseudo-headers. Not to be changed: the next block may mean the same.

        length: Content-Length, if there is one.

        size: As MAX_HEADER_LIST_SIZE counts it.

        fault: Why it is not fit to be an answer.
    """

    status: int = 0
    headers: Headers = attrs.field(factory=list[tuple[bytes, bytes]], repr=False)
    length: int | None = None
    size: int = 0
    fault: str | None = None


@final
class BlockDecoder:
    """The decoding end of one connection."""

    __slots__ = ("_changes", "_kept", "_table")

    def __init__(self) -> None:
        self._table = HpackDecoder()
        self._changes = 0
        self._kept: dict[bytes, Fields] = {}

    def decode(self, block: bytes) -> Fields:
        """
        Tell what a block says.

        Raises:
            ConnectionFault: It cannot be decoded.
        """
        kept = self._kept.get(block)
        if kept is not None:
            return kept
        fields = judge(self._table.decode(block))
        if self._changes != self._table.changes:
            self._changes = self._table.changes
            self._kept.clear()
        elif len(block) <= _KEPT_BLOCK:
            if len(self._kept) >= _KEPT_BLOCKS:
                self._kept.clear()
            self._kept[block] = fields
        return fields


def judge(pairs: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Tell pseudo-headers from headers, and the fit from the unfit."""
    fields = Fields()
    headers = fields.headers
    size = 0
    for name, value in pairs:
        size += len(name) + len(value) + 32
        look = _look_at(name)
        if look is None:
            headers.append((name, value))
        else:
            look(fields, name, value)
    fields.size = size
    if len(headers) > MAX_HEADERS:
        fields.fault = f"more than {MAX_HEADERS} headers"
    values = b"".join([value for _, value in headers])
    if len(values.translate(None, _FORBIDDEN)) != len(values):
        fields.fault = "a line break or NUL in a header's value"
    return fields


def _take_pseudo(fields: Fields, name: bytes, value: bytes) -> None:
    if name != b":status":
        fields.fault = f"unknown pseudo-header {name!r}"
    elif fields.headers or fields.status:
        fields.fault = ":status comes twice, or behind a header"
    elif len(value) != 3 or not value.isdigit() or value[0] == _ZERO:  # noqa: PLR2004 - RFC 9110, 15
        fields.fault = "a :status that is not a number of three digits"
    else:
        fields.status = int(value)


def _take_length(fields: Fields, name: bytes, value: bytes) -> None:
    fields.headers.append((name, value))
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        fields.fault = "bad content-length"
    elif fields.length is not None and fields.length != int(value):
        fields.fault = "content-length comes twice, and differs"
    else:
        fields.length = int(value)


def _take_specific(fields: Fields, name: bytes, _: bytes) -> None:
    fields.fault = f"{name.decode()} has no meaning in HTTP/2"  # RFC 9113, 8.2.2


def _take_unfit(fields: Fields, name: bytes, _: bytes) -> None:
    fields.fault = f"illegal header name {name[:100]!r}"


@lru_cache(maxsize=1024)
def _look_at(name: bytes) -> Callable[[Fields, bytes, bytes], None] | None:
    """Tell what has to be done about a name, if anything."""
    if name.startswith(b":"):
        return _take_pseudo
    if not name or name.translate(None, _NAME):
        return _take_unfit
    if name == b"content-length":
        return _take_length
    return _take_specific if name in _CONNECTION_SPECIFIC else None
