"""HTTP/2 from the server's side: frames in and out, and what every server keeps up between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final, TypeVar

import attrs
import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.scripted import Accepted, Peer, Request

F = TypeVar("F", bound=Frame)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD: Final = 9  # RFC 9113, 4.1
WINDOW: Final = 65535  # what every window is at first
LAST_STREAM: Final = 2**31 - 1
INITIAL_WINDOW_SIZE: Final = 4  # RFC 9113, 6.5.2


@attrs.define(eq=False, kw_only=True)
class Http2Request(Request):
    """
    One request, as far as it has come.

    Attributes:
        reset: The error code of the client's first RST_STREAM, if one came.

        is_cut: The story has sent RST_STREAM.
    """

    stream: int
    reset: int | None = None
    is_cut: bool = False


class FramedPeer(Peer):
    """
    One connection, frame by frame.

    Whenever it reads, the server's side is kept up: SETTINGS are acknowledged, PINGs answered, uploads given
    credit.

    Attributes:
        frames: Every frame of the client so far.

        requests: By stream.

        acks_settings: Whether the client's SETTINGS are acknowledged.

        answers_pings: Whether the client's PINGs are answered.

        gives_credit: Whether the client's DATA is answered by WINDOW_UPDATE.
    """

    def __init__(self, accepted: Accepted) -> None:
        super().__init__(accepted)
        self.frames: list[Frame] = []
        self.requests: dict[int, Http2Request] = {}
        self.acks_settings = True
        self.answers_pings = True
        self.gives_credit = True
        self._unread = bytearray()
        self._has_greeted = False
        self._has_preface = False
        self._decoder = hpack.Decoder()
        self._block: HeadersFrame | None = None  # its CONTINUATIONs are still to come
        self._first_window = WINDOW
        self._windows: defaultdict[int, int] = defaultdict(int)  # what was allowed less what was sent
        self._last_accepted = LAST_STREAM

    # What the client did

    @property
    def resets(self) -> dict[int, int]:
        """The client's RST_STREAMs: the first error code of each stream."""
        codes: dict[int, int] = {}
        for frame in self.frames_of(RstStreamFrame):
            codes.setdefault(frame.stream_id, frame.error_code)
        return codes

    @property
    def pings(self) -> int:
        """PINGs of the client's own."""
        return sum("ACK" not in frame.flags for frame in self.frames_of(PingFrame))

    @property
    def pongs(self) -> list[bytes]:
        """What the client's answers to PINGs said."""
        return [frame.opaque_data for frame in self.frames_of(PingFrame) if "ACK" in frame.flags]

    @property
    def goaways(self) -> list[int]:
        """The error codes of the client's GOAWAYs."""
        return [frame.error_code for frame in self.frames_of(GoAwayFrame)]

    @property
    def credit(self) -> Counter[int]:
        """The sum of the client's WINDOW_UPDATEs of each stream; 0 is the connection."""
        sums: Counter[int] = Counter()
        for frame in self.frames_of(WindowUpdateFrame):
            sums[frame.stream_id] += frame.window_increment
        return sums

    def frames_of(self, kind: type[F]) -> list[F]:
        """Give every frame of one kind so far."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    # What a story, or the upkeep, sends

    def greet(self, settings: Mapping[int, int] | None) -> None:
        """
        Send the first SETTINGS; None: send none, and acknowledge none.

        Without this they are empty, and sent as soon as the story sends or reads.

        A first SETTINGS without MAX_CONCURRENT_STREAMS allows any number.
        """
        self._has_greeted = True
        self.acks_settings = settings is not None
        if settings is not None:
            self.send_frame(SettingsFrame(settings=dict(settings)))

    def send_frame(self, frame: Frame) -> None:
        """Send a frame."""
        self.send(frame.serialize())

    def send(self, data: bytes) -> None:
        """Send *data*, as it is."""
        self._greet_unless_greeted()
        super().send(data)

    def _greet_unless_greeted(self) -> None:
        if not self._has_greeted:
            self.greet({})

    # What every server keeps up

    def room(self, request: Http2Request) -> int:
        """Give how many bytes of an answer the client's windows allow now."""
        return min(WINDOW + self._windows[0], self._first_window + self._windows[request.stream])

    def read(self, timeout: float | None = None) -> None:
        """Take what comes within *timeout* seconds; None: wait for it."""
        self._greet_unless_greeted()
        self._unread += self.receive() if timeout is None else self.receive_within(timeout)
        if not self._has_preface and len(self._unread) >= len(PREFACE):
            assert self._unread.startswith(PREFACE), bytes(self._unread[:100])
            del self._unread[: len(PREFACE)]
            self._has_preface = True
        while self._has_preface and (frame := self._next_frame()) is not None:
            self.frames.append(frame)
            self._take(frame)

    def _next_frame(self) -> Frame | None:
        if len(self._unread) < FRAME_HEAD:
            return None
        frame, length = Frame.parse_frame_header(memoryview(bytes(self._unread[:FRAME_HEAD])))
        if len(self._unread) < FRAME_HEAD + length:
            return None
        frame.parse_body(memoryview(bytes(self._unread[FRAME_HEAD : FRAME_HEAD + length])))
        del self._unread[: FRAME_HEAD + length]
        return frame

    def _take(self, frame: Frame) -> None:
        match frame:
            case HeadersFrame():
                self._take_block(frame)
            case ContinuationFrame():
                assert self._block is not None
                self._block.data += frame.data
                self._block.flags |= frame.flags  # its END_HEADERS
                self._take_block(self._block)
            case DataFrame():
                self._take_data(frame)
            case SettingsFrame() if "ACK" not in frame.flags:
                self._first_window = frame.settings.get(INITIAL_WINDOW_SIZE, self._first_window)
                if self.acks_settings:
                    self.send_frame(SettingsFrame(flags=["ACK"]))
            case PingFrame() if "ACK" not in frame.flags and self.answers_pings:
                self.send_frame(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]))
            case WindowUpdateFrame():
                self._windows[frame.stream_id] += frame.window_increment
            case RstStreamFrame():
                self._take_reset(frame)
            case _:
                pass  # noted, and that is all

    def _take_block(self, frame: HeadersFrame) -> None:
        self._block = frame
        if "END_HEADERS" not in frame.flags:
            return
        self._block = None
        pairs = tuple((_text(name), _text(value)) for name, value in self._decoder.decode(frame.data))
        if frame.stream_id not in self.requests:
            self._begin(frame.stream_id, pairs)
        self.requests[frame.stream_id].is_complete |= "END_STREAM" in frame.flags

    def _begin(self, stream: int, pairs: tuple[tuple[str, str], ...]) -> None:
        pseudo = dict(pair for pair in pairs if pair[0].startswith(":"))
        request = Http2Request(
            connection=self.number,
            stream=stream,
            method=pseudo[":method"],
            target=pseudo.get(":path", ""),
            headers=tuple(pair for pair in pairs if not pair[0].startswith(":")),
            is_disowned=stream > self._last_accepted,
        )
        self.requests[stream] = request
        self._log.append(request)

    def _take_data(self, frame: DataFrame) -> None:
        request = self.requests[frame.stream_id]
        request.body += frame.data
        request.is_complete |= "END_STREAM" in frame.flags
        if self.gives_credit and frame.flow_controlled_length:
            self.send_frame(WindowUpdateFrame(0, frame.flow_controlled_length))
            if not (request.is_complete or request.is_cut):
                self.send_frame(WindowUpdateFrame(frame.stream_id, frame.flow_controlled_length))

    def _take_reset(self, frame: RstStreamFrame) -> None:
        request = self.requests.get(frame.stream_id)  # None: it is of a stream that we pushed
        if request is not None and request.reset is None:
            request.reset = frame.error_code


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
