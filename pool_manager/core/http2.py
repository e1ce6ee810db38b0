"""
One HTTP/2 connection as its client sees it: bytes in, events out, and no I/O (RFC 9113).

    connection.initiate()
    connection.start(request, end=...)     -> the stream's number
    connection.send_body(stream, data)     -> how much of it was taken
    connection.receive(data)               -> events
    connection.data_to_send()              -> buffers to write

Rule 1: what the server does with one stream concerns no other. Only what makes the bytes that follow
unreadable, or breaks a rule that the RFC says must end the connection, sets `failure`.
Rule 2: a stream that the server accepted runs to its end; a GOAWAY ends those alone that it names.
Rule 3: nothing here costs more because more streams are open.
Rule 4: what the server makes us keep or write is bounded.

Why not h2: it counts all streams at every call, kills every stream at a graceful GOAWAY and throws away
what was to be written, and takes several times as long. It is the judge of the tests.
"""

from __future__ import annotations

from typing import Final, final

from pool_manager.core.http1_events import local_error, remote_error
from pool_manager.core.http2_answers import MAX_LIST
from pool_manager.core.http2_events import Event
from pool_manager.core.http2_frames import (
    CANCEL,
    DATA,
    END_STREAM,
    NO_ERROR,
    PING,
    PREFACE,
    ConnectionFault,
    StreamFault,
    code_name,
    frame,
    frame_head,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from pool_manager.core.http2_handlers import HANDLERS
from pool_manager.core.http2_reader import FrameReader
from pool_manager.core.http2_requests import request_block
from pool_manager.core.http2_settings import (
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_HEADER_LIST_SIZE,
)
from pool_manager.core.http2_state import CONNECTION_WINDOW, LIVENESS, State, over
from pool_manager.core.http2_streams import STREAM_WINDOW, Stream
from pool_manager.core.messages import Request, TransportFailure

# Below it, copying the data behind its frame's head is cheaper than one more buffer to write.
_JOINED: Final = 4_096
# As httpcore says it, for those who look for it in the text.
_NO_ANSWER: Final = "Server disconnected without sending a response."
_CUT_SHORT: Final = "Server disconnected before the end of its response."

_OPENING: Final = b"".join(
    (
        PREFACE,
        settings({ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: STREAM_WINDOW, MAX_HEADER_LIST_SIZE: MAX_LIST}),
        window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW),
    )
)


@final
class Http2Connection:
    """
    The streams of one connection.

    Attributes:
        failure: Why the connection is over, once it is: the server broke the rules. What is left to
            write is a GOAWAY. Streams that are still open have failed with it; no event says so.
    """

    __slots__ = ("_reader", "_state", "failure")

    def __init__(self, *, first_streams: int = 100) -> None:
        """Begin with *first_streams* allowed, until the server says how many."""
        self._reader = FrameReader()
        self._state = State(first_streams)
        self.failure: TransportFailure | None = None

    @property
    def allowed(self) -> int:
        """Streams that the server allows at once."""
        return self._state.allowed

    @property
    def is_usable(self) -> bool:
        """Tell whether a stream may be started, if there is a place for it."""
        return not self._state.leaving and self._state.has_numbers

    @property
    def open_streams(self) -> int:
        """Streams that are open, without those that `reset` holds a place for."""
        return len(self._state.streams)

    @property
    def frames_received(self) -> int:
        """Frames that have come, of any kind: signs of life."""
        return self._reader.frames

    # What is to be written

    @property
    def has_data_to_send(self) -> bool:
        """Tell whether `data_to_send` would give anything."""
        return self._state.has_output

    def data_to_send(self) -> list[bytes | memoryview]:
        """Give what is to be written, in order, and count it as written."""
        return self._state.take_output()

    def initiate(self) -> None:
        """Begin the connection: before anything else, once."""
        self._state.send(_OPENING)

    # Requests

    def start(self, request: Request, *, end: bool) -> int:
        """
        Begin a stream; give its number. With *end*, the request has no body.

        Raises:
            TransportFailure: "LocalProtocolError": *request* is not fit to be sent, or `is_usable` is
                false. Nothing has happened then.
        """
        state = self._state
        if not self.is_usable:
            raise local_error("the connection takes no new stream")
        block = request_block(request)
        if end and block.length:
            raise local_error("Too little data for declared Content-Length")
        number = state.next_number
        state.next_number = number + 2
        state.send_block(number, block.data, END_STREAM if end else 0)
        stream = Stream(number, request.method, block.length, self._reader.frames)
        stream.asked = end
        state.streams[number] = stream
        state.progress()
        return number

    def send_body(self, stream: int, data: bytes | memoryview, *, end: bool = False) -> int:
        """
        Send as much of *data* as the windows allow; give how much that was.

        If it was not all, a `Writable` says when to go on. With *end*, the request ends with the data's
        last byte, if it was taken. A stream that is over takes everything and sends nothing: an event
        has told, or is about to tell, why.

        Raises:
            TransportFailure: "LocalProtocolError": it is more than Content-Length said, or less at the
                end. The stream is reset then, as by `reset`, which may be asked whether its place is free.
        """
        state = self._state
        known = state.streams.get(stream)
        size = len(data)
        if known is None:
            return size
        self._check_promise(known, size, end=end)
        window = min(known.credit + state.initial, state.send_window)
        taken = max(0, min(size, window))
        if taken < size:
            if window == state.send_window:
                state.all_short = True
            else:
                state.short.add(stream)
        last = end and taken == size
        if taken:
            self._send_data(known, data, taken, last=last)
        elif last and not known.asked:
            state.send(frame(DATA, END_STREAM, stream))
        if last:
            known.asked = True
            state.ended(known)
        return taken

    def fits(self, stream: int, data: bytes) -> bool:
        """Tell whether `send_body` would take *data* at once, and as all that was promised."""
        state = self._state
        known = state.streams[stream]
        is_promised = known.to_send is None or known.to_send == len(data)
        return is_promised and len(data) <= min(known.credit + state.initial, state.send_window)

    def _check_promise(self, stream: Stream, size: int, *, end: bool) -> None:
        message = ""
        if stream.asked and size:
            message = "Too much data: the body has ended"
        elif stream.to_send is not None and size > stream.to_send:
            message = "Too much data for declared Content-Length"
        elif stream.to_send is not None and end and size < stream.to_send:
            message = "Too little data for declared Content-Length"
        if message:
            self.reset(stream.number)
            raise local_error(message)

    def _send_data(self, stream: Stream, data: bytes | memoryview, taken: int, *, last: bool) -> None:
        """Send the first *taken* bytes of *data*, in as many frames as it needs."""
        state = self._state
        stream.credit -= taken
        state.send_window -= taken
        if stream.to_send is not None:
            stream.to_send -= taken
        for at in range(0, taken, state.max_frame):
            part = _lasting(data[at : min(at + state.max_frame, taken)])
            flags = END_STREAM if last and at + len(part) == taken else 0
            head = frame_head(len(part), DATA, flags, stream.number)
            if len(part) <= _JOINED:
                state.send(head + part)
            else:
                state.send(head)
                state.send(part)
        state.progress()

    # Streams and the connection

    def credit(self, stream: int, size: int) -> None:
        """Let the server send *size* more bytes of the answer: they were consumed. Harmless if it is over."""
        known = self._state.streams.get(stream)
        if known is not None:
            self._state.credit(known, size)

    def reset(self, stream: int) -> bool:
        """
        Abandon a stream; tell whether its place is free now. Harmless to repeat.

        It is not if the server may not have heard of the stream yet (rule 15): then `SlotFreed` follows.
        No other event of the stream does.
        """
        state = self._state
        known = state.streams.get(stream)
        if known is None:
            return stream not in state.held
        state.close(known)
        state.send(rst_stream(stream, CANCEL))
        return not state.hold(known, self._reader.frames)

    def ping(self) -> None:
        """Ask for a sign of life; `Pong` is the answer (rule 14)."""
        self._state.send(frame(PING, 0, 0, LIVENESS))

    def close(self) -> None:
        """Say that we leave; streams that run may go on. Harmless to repeat."""
        if self.failure is None and not self._state.left:
            self._state.send(goaway(NO_ERROR))
        self._state.leaving = self._state.left = True

    # What comes

    def receive(self, data: bytes) -> list[Event]:
        """
        Take what came; give what it means. Never raises: look at `failure` afterwards.

        What came before a mistake of the server's is given all the same.
        """
        events: list[Event] = []
        if self.failure is not None:
            return events
        state = self._state
        state.rest()
        try:
            for kind, flags, number, payload in self._reader.feed(data):
                handler = HANDLERS.get(kind)
                if handler is None:
                    state.useless()  # 5.5: what we do not know means nothing
                    continue
                try:
                    handler(state, flags, number, payload, events)
                except StreamFault as fault:
                    state.fail(state.streams[number], fault.code, str(fault), events)
        except ConnectionFault as fault:
            self._fail(fault)
        return events

    def _fail(self, fault: ConnectionFault) -> None:
        self.failure = remote_error(f"the server broke HTTP/2 ({code_name(fault.code)}): {fault}")
        self._state.leaving = True
        self._state.end_with(goaway(fault.code, str(fault)))

    def receive_eof(self) -> list[Event]:
        """Take the news that the server closed; fail what it leaves unanswered."""
        state = self._state
        state.leaving = True
        streams, state.streams = state.streams, {}
        return [over(stream, _CUT_SHORT if stream.begun else _NO_ANSWER) for stream in streams.values()]


def _lasting(data: bytes | memoryview) -> bytes | memoryview:
    """Copy *data*, unless nobody can change it before it is written."""
    return bytes(data) if isinstance(data, memoryview) and type(data.obj) is not bytes else data
