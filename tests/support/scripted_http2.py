"""
A server that speaks HTTP/2 as a story says, and breaks whatever rule the story breaks. See `scripted`.

Whenever a story reads or waits, its side of the connection is kept up: SETTINGS are acknowledged, PINGs
answered, uploads given credit. What the story wants otherwise it says first: `peer.answers_pings = False`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import hpack
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from tests.support.scripted import MOMENT, Accepted, Gate, ScriptedServer
from tests.support.scripted_frames import (
    INITIAL_WINDOW_SIZE,
    LAST_STREAM,
    WINDOW,
    F,
    FramedPeer,
    Http2Request,
)

__all__ = [
    "CANCEL",
    "COMPRESSION_ERROR",
    "ENHANCE_YOUR_CALM",
    "FLOW_CONTROL_ERROR",
    "HTTP_1_1_REQUIRED",
    "INITIAL_WINDOW_SIZE",
    "INTERNAL_ERROR",
    "LAST_STREAM",
    "MAX_CONCURRENT_STREAMS",
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "REFUSED_STREAM",
    "WINDOW",
    "Http2Peer",
    "Http2Request",
    "Http2Story",
    "ScriptedHttp2",
    "raw_frame",
]

FRAME_SIZE: Final = 16384  # what everybody takes

# RFC 9113, 6.5.2 and 7.
MAX_CONCURRENT_STREAMS: Final = 3
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 7, 8, 9
ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED = 11, 13


def raw_frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Write a frame that no library would write."""
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


class Http2Peer(FramedPeer):
    """One connection, from the server's side: what a story may do."""

    def __init__(self, accepted: Accepted) -> None:
        super().__init__(accepted)
        self._encoder = hpack.Encoder()
        self._given: set[Http2Request] = set()  # what the story has been given
        self._wanted: set[int] = set()  # the positions of frames that the story has been given

    # Reading

    def read_request(self) -> Http2Request:
        """Give the next request that is there to its end and was not given yet."""
        return self._next_request(lambda request: request.is_complete)

    def read_requests(self, count: int) -> list[Http2Request]:
        """Give the next *count* of them."""
        return [self.read_request() for _ in range(count)]

    def read_head(self) -> Http2Request:
        """Give the next request that was not given yet, though its body may still be to come."""
        return self._next_request(lambda _: True)

    def read_body(self, request: Http2Request, at_least: int | None = None) -> Http2Request:
        """Read the body of *request* to its end, or until so many bytes are there."""
        while not request.is_complete and (at_least is None or len(request.body) < at_least):
            self.read()
        return request

    def want(self, kind: type[F], stream: int | None = None, flag: str | None = None) -> F:
        """Give the next frame of one kind that was not given yet; all others stay where they are."""
        position = 0
        while True:
            while position == len(self.frames):
                self.read()
            frame = self.frames[position]
            if (
                isinstance(frame, kind)
                and position not in self._wanted
                and stream in {None, frame.stream_id}
                and (flag is None or flag in frame.flags)
            ):
                self._wanted.add(position)
                return frame
            position += 1

    def wait(self, gate: Gate) -> None:
        """Keep the connection, and do nothing else, until *gate* is open."""
        while not gate.is_open:
            self.read(MOMENT)

    def wait_deaf(self, gate: Gate) -> None:
        """Read nothing and write nothing until *gate* is open."""
        super().wait(gate)

    def listen(self) -> None:
        """Read and note all that comes, and answer no request, until the client has left."""
        while True:
            self.read()

    def serve(self) -> None:
        """Answer whatever comes, what was disowned or reset excepted, until the client has left."""
        while True:
            request = self.read_request()
            if not (request.is_disowned or request.is_cut):
                self.answer(request)

    # Writing: what the rules allow

    def settings(self, settings: Mapping[int, int]) -> None:
        """Send SETTINGS."""
        self.send_frame(SettingsFrame(settings=dict(settings)))

    def answer(
        self, request: Http2Request, body: bytes = b"ok", *headers: tuple[str, str], status: int = 200
    ) -> None:
        """Answer a request; as fast as its windows allow, and no longer than the client wants it."""
        if request.reset is None:
            self.head(request, *headers, status=status, end=not body)
            self.body(request, body)

    def head(
        self,
        request: Http2Request | int,
        *headers: tuple[str, str],
        status: int | None = 200,
        end: bool = False,
    ) -> None:
        """Send a head: that of the answer, of one before the answer (1xx), or trailers (no status)."""
        pairs = [*headers] if status is None else [(":status", str(status)), *headers]
        flags = ["END_HEADERS", *["END_STREAM"][: int(end)]]
        self.send_frame(HeadersFrame(_number(request), self.encode(pairs), flags=flags))

    def body(self, request: Http2Request, data: bytes, *, end: bool = True, stubborn: bool = False) -> None:
        """Send a part of a body as its windows allow; a reset of the stream ends it, unless *stubborn*."""
        rest = memoryview(data)
        while rest and (stubborn or request.reset is None):
            room = min(self.room(request), FRAME_SIZE, len(rest))
            if room <= 0:
                self.read()
                continue
            self.data(request, bytes(rest[:room]), end=end and room == len(rest))
            rest = rest[room:]
            self.read(0)

    def data(self, request: Http2Request | int, data: bytes, *, end: bool = False) -> None:
        """Send one DATA frame, whatever the windows allow."""
        stream = _number(request)
        self._windows[stream] -= len(data)
        self._windows[0] -= len(data)
        self.send_frame(DataFrame(stream, data, flags=["END_STREAM"] if end else []))

    def refuse(self, request: Http2Request) -> None:
        """Send RST_STREAM(REFUSED_STREAM): nothing was done with the request."""
        self.reset_stream(request, REFUSED_STREAM)

    def reset_stream(self, request: Http2Request, code: int) -> None:
        """Send RST_STREAM."""
        request.is_cut = True
        request.is_disowned |= code == REFUSED_STREAM
        self.send_frame(RstStreamFrame(request.stream, code))

    def goaway(self, last: Http2Request | int, code: int = NO_ERROR, debug: bytes = b"") -> None:
        """Send GOAWAY; streams above *last* were not touched, those to come neither."""
        number = _number(last)
        self._last_accepted = min(number, self._last_accepted)
        for request in self.requests.values():
            request.is_disowned |= request.stream > number
        self.send_frame(GoAwayFrame(last_stream_id=number, error_code=code, additional_data=debug))

    def ping(self, data: bytes = b"are you?") -> None:
        """Send PING."""
        self.send_frame(PingFrame(opaque_data=data))

    def pong(self, ping: PingFrame) -> None:
        """Answer a PING, where `answers_pings` is false."""
        self.send_frame(PingFrame(opaque_data=ping.opaque_data, flags=["ACK"]))

    # Writing: what they do not

    def push(self, request: Http2Request) -> None:
        """Send PUSH_PROMISE, which no client of ours has asked for."""
        pairs = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/pushed")]
        self.send_frame(PushPromiseFrame(request.stream, 2, self.encode(pairs), flags=["END_HEADERS"]))

    def flood(self, data: bytes, times: int) -> None:
        """Send *data* again and again, and keep the connection in between."""
        for start in range(0, times, 100):
            self.send(data * min(100, times - start))
            self.read(0)

    def encode(self, pairs: Iterable[tuple[str, str]]) -> bytes:
        """Write a header block, with whatever is in it."""
        return self._encoder.encode(list(pairs))

    def _next_request(self, condition: Callable[[Http2Request], bool]) -> Http2Request:
        while True:
            for request in self.requests.values():
                if request not in self._given and condition(request):
                    self._given.add(request)
                    return request
            self.read()


def _number(request: Http2Request | int) -> int:
    return request if isinstance(request, int) else request.stream


Http2Story: TypeAlias = Callable[[Http2Peer], None]


class ScriptedHttp2(ScriptedServer[Http2Peer]):
    """HTTP/2 as the stories say, over TLS or by prior knowledge; see `ScriptedServer`."""

    ALPN = ("h2",)

    def make_peer(self, accepted: Accepted) -> Http2Peer:
        """Make the server's side of a new connection."""
        return Http2Peer(accepted)
