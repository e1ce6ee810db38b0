"""
Bytes in, whole frames out, header blocks put together (RFC 9113, 4).

Rule 1: a frame that is too large is refused by its head, before its bytes are kept: what is held is one
frame and one header block, at most.
Rule 2: a header block that never ends, be it by its bytes or by frames without any, ends the connection
(10.5.1; CVE-2024-27316 and its kin).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias, final

from pool_manager.core.http2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_HEAD,
    FRAME_HEAD_SIZE,
    FRAME_SIZE_ERROR,
    HEADERS,
    MAX_31,
    PADDED,
    PRIORITISED,
    PROTOCOL_ERROR,
    SETTINGS,
    ConnectionFault,
)

# What everyone must be able to take, and what we announce by saying nothing (6.5.2).
MAX_FRAME: Final = 16_384
# Compressed. The list that it stands for is limited as well.
MAX_BLOCK: Final = 256 * 1024
# 17 full frames hold the largest block. As many again, and more, for those who cut theirs small.
MAX_CONTINUATIONS: Final = 64

_PARTS: Final = frozenset((HEADERS, CONTINUATION))

Frame: TypeAlias = tuple[int, int, int, bytes]
"""Kind, flags, stream, payload. That of HEADERS is the whole block, and nothing but the block."""


@final
class FrameReader:
    """
    The reading end of one connection.

    Attributes:
        frames: How many have come, parts of header blocks included.
    """

    __slots__ = ("_block", "_block_flags", "_block_parts", "_block_stream", "_held", "_waits", "frames")

    def __init__(self) -> None:
        self.frames = 0
        self._held = b""
        self._waits = True  # for the SETTINGS that everything begins with
        self._block: bytearray | None = None
        self._block_flags = self._block_parts = self._block_stream = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """
        Take what came; give the frames that are complete. To be read to its end, or to the fault.

        Raises:
            ConnectionFault: What came is not HTTP/2.
        """
        if self._held:
            data = self._held + data
        at, size = 0, len(data)
        while size - at >= FRAME_HEAD_SIZE:
            high, low, kind, flags, stream = FRAME_HEAD.unpack_from(data, at)
            stream &= MAX_31
            if self._waits:
                self._greet(data, kind, flags)
            start = at + FRAME_HEAD_SIZE
            end = start + (high << 8 | low)
            if end - start > MAX_FRAME:
                raise ConnectionFault(FRAME_SIZE_ERROR, f"a frame of more than {MAX_FRAME} bytes")
            if end > size:
                break
            at = end
            self.frames += 1
            payload = data[start:end]
            if kind in _PARTS or self._block is not None:
                whole = self._join(kind, flags, stream, payload)
                if whole is not None:
                    yield whole
            else:
                yield kind, flags, stream, payload
        self._held = data[at:]

    def _greet(self, data: bytes, kind: int, flags: int) -> None:
        """Look at the first frame of all (3.4)."""
        if data.startswith(b"HTTP/1."):
            raise ConnectionFault(PROTOCOL_ERROR, "the server answered in HTTP/1.1, not in HTTP/2")
        if kind != SETTINGS or flags & ACK:
            raise ConnectionFault(PROTOCOL_ERROR, "the server does not speak HTTP/2: no SETTINGS came first")
        self._waits = False

    def _join(self, kind: int, flags: int, stream: int, payload: bytes) -> Frame | None:
        """Take a part of a header block; give the block if it is complete (4.3)."""
        if self._block is None:
            if kind == CONTINUATION:
                raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION, and nothing to continue")
            if flags & (PADDED | PRIORITISED):
                payload = _block_in(flags, payload)
            if flags & END_HEADERS:
                return kind, flags, stream, payload
            self._block = bytearray(payload)
            self._block_flags, self._block_stream, self._block_parts = flags, stream, 0
            return None
        if kind != CONTINUATION or stream != self._block_stream:
            raise ConnectionFault(PROTOCOL_ERROR, "another frame within a header block")
        self._block += payload
        self._block_parts += 1
        if len(self._block) > MAX_BLOCK or self._block_parts > MAX_CONTINUATIONS:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "a header block that does not end")
        if not flags & END_HEADERS:
            return None
        block, self._block = bytes(self._block), None
        return HEADERS, self._block_flags, stream, block


def _block_in(flags: int, payload: bytes) -> bytes:
    """Take the padding and the priority off a HEADERS frame (6.2)."""
    if flags & PADDED:
        payload = unpadded(payload)
    if flags & PRIORITISED:
        if len(payload) < 5:  # noqa: PLR2004
            raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
        payload = payload[5:]
    return payload


def unpadded(payload: bytes) -> bytes:
    """Take the padding off a payload (6.1)."""
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    if payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than there is payload")
    return payload[1 : len(payload) - payload[0]]
