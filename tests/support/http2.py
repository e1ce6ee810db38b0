"""The server's side of HTTP/2 connections that never touch a network: h2, and frames made by hand."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import h2.config
import h2.connection
import h2.events
import h2.settings

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import Event, StreamData
from pool_manager.core.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    FRAME_HEAD_SIZE,
    GOAWAY,
    HEADERS,
    PREFACE,
    SETTINGS_ACK,
    TWO_NUMBERS,
    frame,
    settings,
)
from pool_manager.core.messages import Headers, Request

MiB = 1024 * 1024


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
    return b"".join(b"\x00" + string(name) + string(value) for name, value in fields)


def string(data: bytes) -> bytes:
    """Encode a string as it is (RFC 7541, 5.2)."""
    if len(data) < 0x7F:
        return bytes([len(data)]) + data
    rest, digits = len(data) - 0x7F, [0x7F]
    while rest > 0x7F:
        digits.append(0x80 | rest & 0x7F)
        rest >>= 7
    return bytes([*digits, rest]) + data


def answer(stream: int, *fields: tuple[bytes, bytes], status: int = 200, end: bool = False) -> bytes:
    """Make the HEADERS of an answer."""
    return headers(stream, (b":status", b"%d" % status), *fields, end=end)


def headers(stream: int, *fields: tuple[bytes, bytes], end: bool = False) -> bytes:
    """Make a HEADERS frame of any fields."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(*fields))


def body(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    """Make a DATA frame."""
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def farewell(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    """Make a GOAWAY."""
    return frame(GOAWAY, 0, 0, TWO_NUMBERS.pack(last, code) + debug)


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
        start = at + FRAME_HEAD_SIZE
        at = start + (high << 8 | low)
        frames.append(Sent(kind, flags, stream, data[start:at]))
    assert at == len(data)
    return frames


def sent(connection: Http2Connection) -> list[Sent]:
    """Give the frames that the connection wants written."""
    return frames_in(b"".join(connection.data_to_send()))


def sent_of(connection: Http2Connection, kind: int) -> list[Sent]:
    """Give those of one kind."""
    return [each for each in sent(connection) if each.kind == kind]


def connected(values: dict[int, int] | None = None) -> Http2Connection:
    """Give a connection to a server whose SETTINGS and acknowledgement have come."""
    connection = Http2Connection()
    connection.initiate()
    connection.receive(settings(values or {}) + SETTINGS_ACK)
    connection.data_to_send()
    assert connection.failure is None
    return connection


def asked(connection: Http2Connection, count: int = 1, method: str = "GET") -> list[int]:
    """Start requests without a body; give their streams."""
    streams = [connection.start(request(method), end=True) for _ in range(count)]
    connection.data_to_send()
    return streams


# h2


class Server:
    """
    h2's server side, which raises where it is sent what is not HTTP/2.

    Attributes:
        requests: The headers of each stream.

        bodies: What came of each stream's body.

        complete: Streams whose requests are complete.

        resets: The code with which a stream was reset.

        unsettled: SETTINGS that the client has not acknowledged.
    """

    def __init__(self, **initial: int) -> None:
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        codes = {h2.settings.SettingCodes[name.upper()]: value for name, value in initial.items()}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=codes)
        self.h2.initiate_connection()
        self.requests: dict[int, Headers] = {}
        self.bodies: dict[int, bytearray] = {}
        self.complete: set[int] = set()
        self.resets: dict[int, int] = {}
        self.unsettled = 1
        self._held = bytearray()

    def change(self, values: dict[h2.settings.SettingCodes | int, int]) -> None:
        """Send SETTINGS."""
        self.h2.update_settings(values)
        self.unsettled += 1

    def receive(self, data: bytes, *, acknowledge: bool = True) -> None:
        """Take what the client wrote; with *acknowledge*, let it write as much again."""
        self._held += data
        # A frame at a time, since h2 looks at its own MAX_FRAME_SIZE before the frames and not between them.
        while self._held:
            size = len(PREFACE)
            if not self._held.startswith(PREFACE[:3]):
                size = FRAME_HEAD_SIZE + int.from_bytes(self._held[:3], "big")
            if len(self._held) < max(size, FRAME_HEAD_SIZE):
                return
            whole = bytes(self._held[:size])
            del self._held[:size]
            self._receive(whole, acknowledge=acknowledge)

    def _receive(self, data: bytes, *, acknowledge: bool) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived(stream_id=int(stream), headers=list(fields)):
                    self.requests[stream] = [(bytes(name), bytes(value)) for name, value in fields]
                    self.bodies[stream] = bytearray()
                case h2.events.DataReceived(stream_id=int(stream), data=bytes(data)):
                    self.bodies[stream] += data
                    if acknowledge:
                        self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                case h2.events.StreamEnded(stream_id=int(stream)):
                    self.complete.add(stream)
                case h2.events.StreamReset(stream_id=int(stream), error_code=code):
                    self.resets[stream] = int(code or 0)
                case h2.events.SettingsAcknowledged():
                    self.unsettled -= 1
                case _:
                    pass


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


def body_of(events: Iterable[Event], stream: int) -> bytes:
    """Give the body of one answer."""
    return b"".join(
        event.data for event in events if isinstance(event, StreamData) and event.stream == stream
    )
