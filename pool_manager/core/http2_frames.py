"""The words of HTTP/2: kinds of frames, flags, error codes, and the frames that we write (RFC 9113, 6)."""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

_CODES: Final = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

# The largest stream number, window and increment: 31 bits.
MAX_31: Final = 2**31 - 1

# Length in two parts, kind, flags, stream.
FRAME_HEAD: Final = Struct(">HBBBL")
NUMBER: Final = Struct(">L")
SETTING: Final = Struct(">HL")
TWO_NUMBERS: Final = Struct(">LL")

FRAME_HEAD_SIZE: Final = FRAME_HEAD.size


class ConnectionFault(Exception):
    """The server broke a rule in a way that nothing on the connection survives (5.4.1)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamFault(Exception):
    """The server broke a rule that concerns one stream; its neighbours go on (5.4.2)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def code_name(code: int) -> str:
    """Name an error code, known or not."""
    return _CODES[code] if code < len(_CODES) else f"error {code:#x}"


def frame_head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """Give the nine bytes before a payload of *size* bytes."""
    return FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Give a whole frame."""
    return frame_head(len(payload), kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """Announce what the server is to know of us."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*setting) for setting in values.items()))


def window_update(stream: int, size: int) -> bytes:
    """Give the server leave to send *size* more bytes."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(size))


def rst_stream(stream: int, code: int) -> bytes:
    """End a stream."""
    return frame(RST_STREAM, 0, stream, NUMBER.pack(code))


def goaway(code: int, message: str = "") -> bytes:
    """Say that we leave. Streams of the server's are none, so that the last was 0."""
    return frame(GOAWAY, 0, 0, TWO_NUMBERS.pack(0, code) + message.encode())


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)
