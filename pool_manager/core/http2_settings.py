"""What the server wants of us (RFC 9113, 6.5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pool_manager.core.http2_frames import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    MAX_31,
    PROTOCOL_ERROR,
    SETTING,
    ConnectionFault,
)

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

DEFAULT_WINDOW: Final = 65_535
DEFAULT_TABLE: Final = 4_096
DEFAULT_FRAME: Final = 16_384
_LARGEST_FRAME: Final = 2**24 - 1


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    """
    Give the settings of a frame, in order; the last of a kind counts.

    Raises:
        ConnectionFault: A value is out of its range.
    """
    if len(payload) % SETTING.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
    for key, value in SETTING.iter_unpack(payload):
        if key == ENABLE_PUSH and value:  # A server must not even offer it.
            raise ConnectionFault(PROTOCOL_ERROR, f"ENABLE_PUSH={value} from a server")
        if key == INITIAL_WINDOW_SIZE and value > MAX_31:
            raise ConnectionFault(FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE={value}")
        if key == MAX_FRAME_SIZE and not DEFAULT_FRAME <= value <= _LARGEST_FRAME:
            raise ConnectionFault(PROTOCOL_ERROR, f"MAX_FRAME_SIZE={value}")
        yield key, value
