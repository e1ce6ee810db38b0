"""The server's side of HTTP/2 connections that never touch a network: h2, and frames made by hand."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import h2.config
import h2.connection
import h2.events
import h2.settings
from hpack import Encoder

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import Event, StreamData, StreamEnd, StreamFailed, StreamHead
from pool_manager.core.http2_frames import (
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_SIZE,
    PREFACE,
    frame,
)
from pool_manager.core.http2_frames import DATA, HEADERS, SETTINGS, SETTINGS_ACK, settings
from pool_manager.core.messages import Headers, Request

Pairs = Iterable[tuple[bytes, bytes]]


def request(
    method: str = "GET",
    *headers: tuple[bytes, bytes],
    target: bytes = b"/",
    scheme: str = "https",
    host: bytes | None = b"example.org",
) -> Request:
    """Make a request with these headers behind its Host."""
    return Request(
        method=method,
        scheme=scheme,
        host="example.org",
        port=None,
        target=target,
        headers=[*([(b"Host", host)] if host is not None else []), *headers],
        body=(),
        timeouts={},
        lane="default",
        lease="test",
        extensions={},
    )


# Frames by hand


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """Encode fields without a table's help, so that blocks can come in any order."""
    encoded = bytearray()
    for name, value in fields:
        encoded += b"\x00" + _string(name) + _string(value)
    return bytes(encoded)


def _string(data: bytes) -> bytes:
    if len(data) < 0x7F:
        return bytes([len(data)]) + data
    rest, digits = len(data) - 0x7F, [0x7F]
    while rest > 0x7F:
        digits.append(0x80 | rest & 0x7F)
        rest >>= 7
    return bytes([*digits, rest]) + data


def answer(stream: int, *fields: tuple[bytes, bytes], status: int = 200, end: bool = False) -> bytes:
    """Make the HEADERS of an answer."""
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, block((b":status", b"%d" % status), *fields))


def body(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    """Make a DATA frame."""
    return frame(DATA, END_STREAM if end else 0, stream, payload)


@attrs.frozen
class Sent:
    """A frame that was written."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frames_in(data: bytes) -> list[Sent]:
    """Take what was written apart."""
    data = data.removeprefix(PREFACE)
    frames: list[Sent] = []
    at = 0
    while at < len(data):
        high, low, kind, flags, stream = FRAME_HEAD.unpack_from(data, at)
        at += FRAME_HEAD_SIZE + (high << 8 | low)
        frames.append(Sent(kind, flags, stream, data[at - (high << 8 | low) : at]))
    assert at == len(data)
    return frames


def sent(connection: Http2Connection) -> list[Sent]:
    """Give the frames that the connection wants written."""
    return frames_in(b"".join(connection.data_to_send()))


def connected(values: dict[int, int] | None = None, **kwargs: int) -> Http2Connection:
    """Give a connection to a server whose SETTINGS and acknowledgement have come."""
    connection = Http2Connection(**kwargs)
    connection.initiate()
    connection.receive(settings(values or {}) + SETTINGS_ACK)
    connection.data_to_send()
    assert connection.failure is None
    return connection


# h2


class Server:
    """
    h2's server side, which refuses what is not HTTP/2.

    Attributes:
        requests: The headers of each stream.

        bodies: What came of each stream's body.

        complete: Streams whose requests are complete.
    """

    def __init__(self, **initial: int) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        if initial:
            codes = {h2.settings.SettingCodes[name.upper()]: value for name, value in initial.items()}
            self.h2.local_settings.update(codes)
        self.h2.initiate_connection()
        self.requests: dict[int, Headers] = {}
        self.bodies: dict[int, bytearray] = {}
        self.complete: set[int] = set()
        self.resets: dict[int, int] = {}

    def receive(self, data: bytes, *, acknowledge: bool = True) -> None:
        """Take what the client wrote."""
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                assert event.headers is not None
                assert event.stream_id is not None
                self.requests[event.stream_id] = [
                    (bytes(name), bytes(value)) for name, value in event.headers
                ]
                self.bodies[event.stream_id] = bytearray()
            elif isinstance(event, h2.events.DataReceived):
                assert event.stream_id is not None
                assert event.data is not None
                assert event.flow_controlled_length is not None
                self.bodies[event.stream_id] += event.data
                if acknowledge:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                self.complete.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                assert event.stream_id is not None
                self.resets[event.stream_id] = int(event.error_code or 0)


def exchange(connection: Http2Connection, server: Server, *, acknowledge: bool = True) -> list[Event]:
    """Carry bytes both ways until neither side has any; give what the client makes of them."""
    events: list[Event] = []
    while True:
        up = b"".join(connection.data_to_send())
        if up:
            server.receive(up, acknowledge=acknowledge)
        down = server.h2.data_to_send()
        if not up and not down:
            return events
        events += connection.receive(down)
        assert connection.failure is None


def encoder() -> Encoder:
    """Give an encoder with a table, as servers have."""
    return Encoder()


def body_of(events: Iterable[Event], stream: int) -> bytes:
    """Give the body of one answer."""
    return b"".join(e.data for e in events if isinstance(e, StreamData) and e.stream == stream)


__all__ = [
    "SETTINGS",
    "Pairs",
    "Sent",
    "Server",
    "StreamEnd",
    "StreamFailed",
    "StreamHead",
]
