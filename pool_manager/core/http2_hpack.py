"""
Header blocks taken apart (RFC 7541).

hpack has the tables, of headers and of Huffman's code, and in the tests it is the judge. The loop over a
block is ours: hpack's copies what is left of the block at each header, so that a block of 250 KB held
the process up for six seconds; and it takes two to three times as long on those that are meant well.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE
from hpack.table import HeaderTable

from pool_manager.core.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, ConnectionFault
from pool_manager.core.http2_settings import DEFAULT_TABLE
from pool_manager.core.messages import Headers

# The limit is 256 KiB for what is meant well. From here on it is an attack: a small block that stands for
# a huge list (RFC 7541, 7.3).
BOMB: Final = 1024 * 1024

# By their numbers, which begin at 1.
_STATIC: Final = ((b"", b""), *HeaderTable.STATIC_TABLE)
_FIRST_DYNAMIC: Final = len(_STATIC)
_OVERHEAD: Final = 32  # 4.1
# As hpack: four bytes and a last one, behind the prefix.
_MAX_SHIFT: Final = 28


@final
class HpackDecoder:
    """
    The decoding end of one connection, with the table that both ends keep.

    Attributes:
        changes: How often the table has changed.
    """

    __slots__ = ("_entries", "_limit", "_size", "changes")

    def __init__(self) -> None:
        self._entries: deque[tuple[bytes, bytes]] = deque()
        self._size = 0
        self._limit = DEFAULT_TABLE
        self.changes = 0

    def decode(self, block: bytes) -> Headers:
        """
        Give the fields of a block.

        Raises:
            ConnectionFault: It cannot be decoded, or stands for too much.
        """
        fields: Headers = []
        room = BOMB
        at, end = 0, len(block)
        try:
            while at < end:
                first = block[at]
                if first & 0x80:
                    index, at = _integer(block, at, 0x7F)
                    field = self._field(index)
                elif first & 0x40:
                    field, at = self._literal(block, at, 0x3F)
                    self._add(field)
                elif not first & 0x20:
                    field, at = self._literal(block, at, 0x0F)
                elif fields:
                    raise _bad("the table is resized behind a header")
                else:
                    at = self._resize(block, at)
                    continue
                fields.append(field)
                room -= len(field[0]) + len(field[1]) + _OVERHEAD
                if room < 0:
                    raise ConnectionFault(ENHANCE_YOUR_CALM, f"headers of more than {BOMB} bytes")
        except IndexError:
            raise _bad("it is cut short, or an index is unknown") from None
        return fields

    def _field(self, index: int) -> tuple[bytes, bytes]:
        if index >= _FIRST_DYNAMIC:
            return self._entries[index - _FIRST_DYNAMIC]
        if not index:
            raise _bad("an index of 0")
        return _STATIC[index]

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[tuple[bytes, bytes], int]:
        index, at = _integer(block, at, mask)
        if index:
            name = self._field(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _add(self, field: tuple[bytes, bytes]) -> None:
        """Put a field in the table; what it has no room for leaves (4.4)."""
        self.changes += 1
        self._entries.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _resize(self, block: bytes, at: int) -> int:
        self.changes += 1
        self._limit, at = _integer(block, at, 0x1F)
        if self._limit > DEFAULT_TABLE:
            raise _bad(f"a table of {self._limit} bytes")
        self._evict()
        return at

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Give a number and where it ends (5.1)."""
    number = block[at] & mask
    at += 1
    if number != mask:
        return number, at
    shift = 0
    while True:
        digit = block[at]
        at += 1
        number += (digit & 0x7F) << shift
        if digit < 0x80:  # noqa: PLR2004
            return number, at
        shift += 7
        if shift > _MAX_SHIFT:
            raise _bad("a number without an end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """Give a string and where it ends (5.2)."""
    coded = block[at] & 0x80
    size, at = _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise _bad("it is cut short")
    return _plain(block[at:end]) if coded else block[at:end], end


# Huffman's code, a byte at a time where hpack's table has half of one: (state, byte) to the next state,
# what was said, and hpack's flags. Filled as it is needed: all of it would be 65,536 entries.
_STEPS: Final[dict[int, tuple[int, bytes, int]]] = {}


def _plain(coded: bytes) -> bytes:
    """Undo Huffman's code (5.2)."""
    state, flags = 0, HUFFMAN_COMPLETE
    parts: list[bytes] = []
    for byte in coded:
        state, part, flags = _STEPS.get(state | byte) or _step(state | byte)
        parts.append(part)
    if not flags & HUFFMAN_COMPLETE:
        raise _bad("a string that ends within a letter")
    return b"".join(parts)


def _step(key: int) -> tuple[int, bytes, int]:
    state, flags, said = key >> 8, 0, b""
    for nibble in (key >> 4 & 0x0F, key & 0x0F):
        state, flags, letter = HUFFMAN_TABLE[state * 16 + nibble]
        if flags & HUFFMAN_FAIL:
            raise _bad("a letter that does not exist")
        if flags & HUFFMAN_EMIT_SYMBOL:
            said += bytes((letter,))
    _STEPS[key] = step = (state << 8, said, flags)
    return step


def _bad(message: str) -> ConnectionFault:
    return ConnectionFault(COMPRESSION_ERROR, f"a header block that cannot be decoded: {message}")
