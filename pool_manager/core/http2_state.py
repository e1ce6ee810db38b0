"""
What one HTTP/2 connection knows: its streams, its windows, what it has to write.

Rule 1: nothing here or in what uses it costs more because more streams are open. What a frame says of all
streams at once (INITIAL_WINDOW_SIZE) is kept once, and each stream keeps its difference from it.
Rule 2: what the server makes us do is bounded: see `useless` and `reply`.
"""

from __future__ import annotations

from typing import Final, final

from pool_manager.core.http2_answers import BlockDecoder
from pool_manager.core.http2_events import Event, StopSending, StreamFailed
from pool_manager.core.http2_frames import (
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    HEADERS,
    MAX_31,
    PING,
    STREAM_CLOSED,
    ConnectionFault,
    frame,
    rst_stream,
    window_update,
)
from pool_manager.core.http2_settings import DEFAULT_FRAME, DEFAULT_TABLE, DEFAULT_WINDOW
from pool_manager.core.http2_streams import STREAM_WINDOW, Stream
from pool_manager.core.messages import FailureKind, TransportFailure

# 16 streams at full speed; more of them share it. It is credited as data comes, whoever reads it.
CONNECTION_WINDOW: Final = 64 * 1024 * 1024

# Frames in a row that bring nothing. Go and nghttp2 are as patient with what they count.
PATIENCE: Final = 1_000
# Each read gives some of it back: a server that pings an idle connection for days does no harm.
_REST: Final = 16
# Frames of a late answer, and its end, may come for each stream that was reset.
_LATE: Final = 4
# Replies nobody has taken: as Go (10,000 control frames). Some 170 KB.
_MAX_REPLIES: Final = 10_000

_NO_TABLE: Final = b"\x20"  # RFC 7541, 6.3: a table of no size, which no limit is below

LIVENESS: Final = b"liveness"
RESET: Final = b"rst-read"


@final
class State:
    """
    One connection. What is said of it here is decided elsewhere, in `http2` and `http2_handlers`.

    Attributes:
        streams: Those that are open, in the order of their numbers.

        next_number: What the next stream is called.

        allowed: Streams that the server allows at once.

        settled: The server's SETTINGS have come.

        leaving: No new stream: a GOAWAY came, or was sent, or the connection is over.

        left: We have said so.

        last: The last stream that the server's GOAWAY lets run; None before.

        send_window: Bytes that all requests together may send.

        initial: The window that each request begins with.

        most_credit: No stream has more credit than this; it may be that none has so much.

        max_frame: Bytes of payload in a frame that the server takes.

        table: The size of the table that the server thinks we encode with, and that we have no use for.

        table_shrunk: The server wants that table smaller, and was not told that it is (RFC 7541, 4.2).

        short: Streams that could not send what they wanted, for their own window.

        all_short: Some could not for the connection's.

        held: Streams that were reset and keep their places (rule 15), until the server answers a PING.

        may_hold: The server has sent HEADERS or DATA since the last such PING.
    """

    __slots__ = (
        "_arrived",
        "_late",
        "_out",
        "_patience",
        "_replies",
        "all_short",
        "allowed",
        "decoder",
        "held",
        "initial",
        "last",
        "leaving",
        "left",
        "max_frame",
        "may_hold",
        "most_credit",
        "next_number",
        "send_window",
        "settled",
        "short",
        "streams",
        "table",
        "table_shrunk",
    )

    def __init__(self, allowed: int) -> None:
        self.streams: dict[int, Stream] = {}
        self.next_number = 1
        self.allowed = allowed
        self.settled = False
        self.leaving = self.left = False
        self.last: int | None = None
        self.send_window = self.initial = DEFAULT_WINDOW
        self.most_credit = 0
        self.max_frame = DEFAULT_FRAME
        self.table = DEFAULT_TABLE
        self.table_shrunk = False
        self.short: set[int] = set()
        self.all_short = False
        self.held: dict[int, None] = {}
        self.may_hold = True
        self.decoder = BlockDecoder()
        self._arrived = self._late = 0
        self._out: list[bytes | memoryview] = []
        self._patience = PATIENCE
        self._replies = 0

    # What is to be written

    @property
    def has_output(self) -> bool:
        """Tell whether something is to be written."""
        return bool(self._out)

    def take_output(self) -> list[bytes | memoryview]:
        """Give what is to be written, and forget it."""
        taken, self._out = self._out, []
        self._replies = 0
        return taken

    def send(self, data: bytes | memoryview) -> None:
        """Queue what the caller wants sent."""
        self._out.append(data)

    def send_block(self, number: int, block: bytes, flags: int) -> None:
        """Queue a header block, in as many frames as it needs."""
        if self.table_shrunk:
            self.table_shrunk = False
            self.table = 0
            block = _NO_TABLE + block
        if len(block) <= self.max_frame:
            self.send(frame(HEADERS, flags | END_HEADERS, number, block))
            return
        kind = HEADERS
        for at in range(0, len(block), self.max_frame):
            if at + self.max_frame >= len(block):
                flags |= END_HEADERS
            self.send(frame(kind, flags, number, block[at : at + self.max_frame]))
            kind, flags = CONTINUATION, 0

    def reply(self, data: bytes) -> None:
        """
        Queue what the server makes us send.

        Raises:
            ConnectionFault: It makes us send more and more, and does not read it.
        """
        self._out.append(data)
        self._replies += 1
        if self._replies > _MAX_REPLIES:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames to answer")

    def end_with(self, data: bytes) -> None:
        """Queue the last frame there will be, and nothing else."""
        self._out = [data]

    # Patience

    def rest(self) -> None:
        """Give a little patience back: something was read."""
        if self._patience < PATIENCE:
            self._patience += _REST

    def progress(self) -> None:
        """Give all patience back: a request or an answer got on."""
        self._patience = max(self._patience, PATIENCE)

    def useless(self) -> None:
        """
        Count a frame that brought no answer on.

        Raises:
            ConnectionFault: It was one too many (RFC 9113, 10.5; CVE-2019-9511 and its kin).
        """
        self._patience -= 1
        if self._patience < 0:
            raise ConnectionFault(ENHANCE_YOUR_CALM, f"more than {PATIENCE} frames to no purpose")

    # Windows of what comes

    def arrived(self, size: int) -> None:
        """
        Count data of any stream, open or not (rule 15), and let the server send as much again.

        It is credited before anyone has read it, so that an answer nobody reads cannot stall the others;
        what is kept is bounded by the windows of the streams. Credited at the half, this window cannot be
        overrun by a frame of a size that is allowed.
        """
        self._arrived += size
        if self._arrived >= CONNECTION_WINDOW // 2:
            self.reply(window_update(0, self._arrived))
            self._arrived = 0

    def credit(self, stream: Stream, size: int) -> None:
        """Let the server send as much again of one answer; told to it at half a window."""
        taken = STREAM_WINDOW - stream.window
        stream.consumed = min(stream.consumed + size, taken)
        if stream.consumed >= STREAM_WINDOW // 2 and not stream.answered:
            self.send(window_update(stream.number, stream.consumed))
            stream.window += stream.consumed
            stream.consumed = 0

    # Streams

    def close(self, stream: Stream) -> None:
        """Forget a stream. What its window allowed may be on its way."""
        del self.streams[stream.number]
        self.short.discard(stream.number)
        if not stream.answered:
            self._late += max(0, stream.window)

    def late(self, size: int) -> None:
        """
        Count data of streams that are over: dropped, and no more of it than their windows allowed.

        Raises:
            ConnectionFault: It is more.
        """
        self._late -= size
        if self._late < 0:
            raise ConnectionFault(STREAM_CLOSED, "more data of streams that are over than was allowed them")
        if not size:
            self.useless()

    def ended(self, stream: Stream) -> None:
        """Forget a stream if both sides have ended it."""
        if stream.answered and stream.asked:
            self.close(stream)

    def fail(self, stream: Stream, code: int, message: str, events: list[Event]) -> None:
        """Reset a stream for what the server did with it."""
        self.close(stream)
        self._late += STREAM_WINDOW  # Whatever it did, the neighbours shall not pay for what follows.
        self.reply(rst_stream(stream.number, code))
        events.append(over(stream, f"the server broke HTTP/2 on the stream: {message}"))

    def hold(self, stream: Stream, frames: int) -> bool:
        """Tell whether a stream that was reset keeps its place; ask the server whether it heard (rule 15)."""
        self._patience += _LATE
        if stream.started != frames or not self.may_hold:
            return False
        if not self.held:
            self.send(frame(PING, 0, 0, RESET))
        self.held[stream.number] = None
        return True

    def was_started(self, number: int) -> bool:
        """Tell a stream that is over from one that never was."""
        return number % 2 == 1 and number < self.next_number

    @property
    def has_numbers(self) -> bool:
        """Tell whether another stream can be numbered."""
        return self.next_number <= MAX_31


def over(stream: Stream, message: str, kind: FailureKind = "RemoteProtocolError") -> Event:
    """Say that a stream is over: before its answer was complete, or before its request was."""
    if stream.answered:
        return StopSending(stream.number)
    return StreamFailed(stream.number, TransportFailure(kind, message))
