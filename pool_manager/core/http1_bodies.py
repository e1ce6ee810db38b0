"""
The body of an answer, unframed (RFC 9112, 6 and 7).

A body is fed what the socket gives, appends what that holds to the events, and gives back what lies
behind its end, or None while it has not ended. What it holds back between two feeds is never more than a
line. Errors say the same however the bytes were cut.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from pool_manager.core.http1_answers import BLANK_LINE, ParseHead, facts_of
from pool_manager.core.http1_events import END, End, Event, remote_error

# As Go (net/http/internal/chunked.go, maxLineLength): a size, and extensions that nobody reads.
MAX_CHUNK_LINE: Final = 4096
# Sizes as h11: 20 digits; spaces behind them, which RFC 9112 7.1.1 has as bad white space, as well.
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_INCOMPLETE: Final = "peer closed connection without sending complete message body"


class Body(Protocol):
    """How the end of a body is known."""

    @property
    def left(self) -> int | None:
        """Bytes still to come, if that is known."""
        ...

    def feed(self, data: bytes, events: list[Event]) -> bytes | None:
        """Take bytes that are not empty."""
        ...

    def feed_eof(self) -> None:
        """Raise `TransportFailure`, unless the body may end here."""
        ...


class UntilClose:
    """A body that ends with the connection (RFC 9112, 6.3, rule 8)."""

    __slots__ = ()

    left = None

    def feed(self, data: bytes, events: list[Event]) -> None:
        """Take all there is."""
        events.append(data)

    def feed_eof(self) -> None:
        """End, as it does."""


class Counted:
    """A body of a length that the head told; not zero."""

    __slots__ = ("_length", "left")

    def __init__(self, length: int) -> None:
        self._length = length
        self.left = length

    def feed(self, data: bytes, events: list[Event]) -> bytes | None:
        """Take as much as was told."""
        left, rest = self.left - len(data), b""
        if left > 0:
            self.left = left
            events.append(data)
            return None
        if left < 0:
            data, rest = data[:left], data[left:]
        self.left = 0
        events += (data, END)
        return rest

    def feed_eof(self) -> None:
        """Say how much is missing."""
        raise remote_error(
            f"{_INCOMPLETE} (received {self._length - self.left} bytes, expected {self._length})"
        )


class Chunked:
    """A body in chunks (RFC 9112, 7.1). The chunks of one feed are given as one piece."""

    __slots__ = ("_held", "_in_trailers", "_limit", "_open", "_parse")

    left = None

    def __init__(self, parse: ParseHead, limit: int) -> None:
        self._parse = parse
        self._limit = limit  # of the trailers, in bytes
        self._held = b""
        self._open = 0  # bytes of this chunk still to come, its line break included
        self._in_trailers = False

    def feed(self, data: bytes, events: list[Event]) -> bytes | None:
        """Take chunks up to the last one and the trailers."""
        if self._held:
            data = self._held + data
        pieces: list[bytes] = []
        position = self._take_chunks(data, pieces)
        if pieces:
            events.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._held = data[position:]
        return self._take_trailers(events) if self._in_trailers else None

    def feed_eof(self) -> None:
        """Say that the last chunk is missing."""
        raise remote_error(f"{_INCOMPLETE} (incomplete chunked read)")

    def _take_chunks(self, data: bytes, pieces: list[bytes]) -> int:
        """Append the contents of chunks; give the position of what is left over."""
        position = 0
        while position < len(data) and not self._in_trailers:
            if self._open:
                piece = data[position : position + self._open]
                self._take_chunk(piece, pieces)
                position += len(piece)
                continue
            end = data.find(b"\r\n", position)
            if (end if end >= 0 else len(data) - 1) - position > MAX_CHUNK_LINE:
                raise remote_error(f"chunk header longer than {MAX_CHUNK_LINE} bytes")
            if end < 0:
                break
            size = _chunk_size(data[position:end])
            self._open = size + 2 if size else 0
            self._in_trailers = not size
            # The last line's LF is kept: with it, no trailers are a blank line like any other.
            position = end + 2 if size else end + 1
        return position

    def _take_chunk(self, piece: bytes, pieces: list[bytes]) -> None:
        """Take a part of one chunk, or all of it."""
        before, self._open = self._open, self._open - len(piece)
        if self._open >= 2:  # noqa: PLR2004 - its line break is yet to come
            pieces.append(piece)
            return
        content = piece[: max(0, before - 2)]
        if piece[len(content) :] != b"\r\n"[max(0, 2 - before) : 2 - self._open]:
            raise remote_error("malformed chunk footer: not a line break")
        if content:
            pieces.append(content)

    def _take_trailers(self, events: list[Event]) -> bytes | None:
        blank = BLANK_LINE.search(self._held)
        if (blank.end() if blank else len(self._held)) > self._limit:
            raise remote_error(f"trailers longer than {self._limit} bytes")
        if blank is None:
            return None
        lines = self._held[1 : blank.start() + 1]
        events.append(self._end(lines) if lines else END)
        return self._held[blank.end() :]

    def _end(self, lines: bytes) -> End:
        # The parsers know heads, so the trailers are made one.
        trailers = self._parse(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n").headers
        facts = facts_of(trailers)
        if facts.chunked or facts.length is not None:
            raise remote_error("framing of the body in its trailers")  # RFC 9110, 6.5.1
        return End(tuple(trailers))


def _chunk_size(line: bytes) -> int:
    found = _CHUNK_LINE.fullmatch(line)
    if found is None:
        raise remote_error("illegal chunk header")
    return int(found[1], 16)
