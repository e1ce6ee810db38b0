"""
What each kind of frame does (RFC 9113, 6).

A handler is given the state of the connection, the flags, the stream and the payload of a frame, and a
list to put its events in. Rule 1: what concerns a stream that is over is ignored, and counted; what
concerns one that never was ends the connection (5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pool_manager.core.http2_events import (
    Allowed,
    Drain,
    Event,
    Pong,
    SlotFreed,
    StreamData,
    StreamFailed,
    Writable,
)
from pool_manager.core.http2_frames import (
    ACK,
    DATA,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    MAX_31,
    NO_ERROR,
    NUMBER,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    TWO_NUMBERS,
    WINDOW_UPDATE,
    ConnectionFault,
    StreamFault,
    code_name,
    frame,
)
from pool_manager.core.http2_reader import unpadded
from pool_manager.core.http2_settings import (
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    settings_in,
)
from pool_manager.core.http2_state import LIVENESS, RESET, State, over
from pool_manager.core.http2_streams import Stream
from pool_manager.core.messages import TransportFailure

Handler: TypeAlias = Callable[[State, int, int, bytes, list[Event]], None]

# Rule 8: a server that does not say how many streams it allows means many. As Go.
SILENT_LIMIT: Final = 1_000


def on_data(state: State, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
    """Take a part of a body."""
    size = len(payload)
    state.arrived(size)
    state.may_hold = True
    stream = _stream(state, number, "DATA")
    if stream is None:
        state.late(size)
        return
    if flags & PADDED:
        payload = unpadded(payload)
    stream.window -= size
    if stream.window < 0:
        raise StreamFault(FLOW_CONTROL_ERROR, "more data than its window")
    stream.take_body(len(payload))
    if payload:
        state.progress()
        events.append(StreamData(number, payload, size))
    elif not flags & END_STREAM:
        state.useless()
    if size and not payload:
        state.credit(stream, size)
    if flags & END_STREAM:
        stream.end(events)
        state.ended(stream)


def on_headers(state: State, flags: int, number: int, block: bytes, events: list[Event]) -> None:
    """Take a header block, whole."""
    state.may_hold = True
    stream = _stream(state, number, "HEADERS")
    fields = state.decoder.decode(block)
    if stream is None:
        state.useless()
        return
    state.progress()
    stream.take_fields(fields, events, last=bool(flags & END_STREAM))
    state.ended(stream)


def on_priority(state: State, _: int, number: int, payload: bytes, __: list[Event]) -> None:
    """Ignore advice that is no server's to give."""
    if not number:
        raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY of the whole connection")
    if len(payload) != 5 and number in state.streams:  # noqa: PLR2004 - RFC 9113, 6.3
        raise StreamFault(FRAME_SIZE_ERROR, "PRIORITY of a wrong size")
    state.useless()


def on_rst_stream(state: State, _: int, number: int, payload: bytes, events: list[Event]) -> None:
    """Take the end of a stream."""
    (code,) = _numbers(RST_STREAM, payload)
    stream = _stream(state, number, "RST_STREAM")
    if stream is None:
        state.useless()
        return
    state.close(stream)
    event = over(stream, f"the server reset the stream: {code_name(code)}")
    if isinstance(event, StreamFailed) and code == REFUSED_STREAM:
        event.unprocessed = event.refused = True
    events.append(event)


def on_push_promise(_: State, __: int, ___: int, ____: bytes, _____: list[Event]) -> None:
    """Refuse what we have said that we do not want (8.4)."""
    raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE, which was switched off")


def on_ping(state: State, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
    """Answer a PING, or take the answer to ours."""
    if number or len(payload) != 8:  # noqa: PLR2004
        raise ConnectionFault(
            PROTOCOL_ERROR if number else FRAME_SIZE_ERROR, "PING of a stream, or ill-sized"
        )
    state.useless()
    if not flags & ACK:
        state.reply(frame(PING, ACK, 0, payload))
    elif payload == LIVENESS:
        events.append(Pong())
    elif payload == RESET and state.held:
        # gRPC servers count pings, and HEADERS or DATA give us leave for more.
        state.may_hold = False
        events.extend(map(SlotFreed, state.held))
        state.held = {}


def on_goaway(state: State, _: int, number: int, payload: bytes, events: list[Event]) -> None:
    """Let run what the server lets run, and fail the rest (rule 10)."""
    if number or len(payload) < TWO_NUMBERS.size:
        raise ConnectionFault(
            PROTOCOL_ERROR if number else FRAME_SIZE_ERROR, "GOAWAY of a stream, or too short"
        )
    last, code = TWO_NUMBERS.unpack_from(payload)
    last &= MAX_31
    if state.last is not None and last > state.last:
        raise ConnectionFault(PROTOCOL_ERROR, f"GOAWAY went up from stream {state.last} to {last}")
    state.useless()
    state.last = last
    state.leaving = True
    debug = payload[TWO_NUMBERS.size :]
    events.append(Drain(code, debug))
    message = f"the server sent GOAWAY ({code_name(code)}) and did not process the request"
    for above in _above(state, last):
        state.close(state.streams[above])
        # As Go: an error at the first request of a connection will be there on the next connection, too.
        unprocessed = code == NO_ERROR or above != 1
        failure = TransportFailure("RemoteProtocolError", message)
        events.append(StreamFailed(above, failure, unprocessed=unprocessed))


def _above(state: State, last: int) -> list[int]:
    """Give the streams above *last*, at no cost for the others, first things first."""
    numbers: list[int] = []
    for number in reversed(state.streams):
        if number <= last:
            break
        numbers.append(number)
    return numbers[::-1]


def on_window_update(state: State, _: int, number: int, payload: bytes, events: list[Event]) -> None:
    """Let the caller send more."""
    (size,) = _numbers(WINDOW_UPDATE, payload)
    size &= MAX_31
    state.useless()
    if not number:
        _widen_connection(state, size, events)
        return
    stream = _stream(state, number, "WINDOW_UPDATE")
    if stream is None:
        return
    if not size:
        raise StreamFault(PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
    stream.credit += size
    state.most_credit = max(state.most_credit, stream.credit)
    if stream.credit + state.initial > MAX_31:
        raise StreamFault(FLOW_CONTROL_ERROR, "the window grew too large")
    if number in state.short and stream.credit + state.initial > 0:
        state.short.discard(number)
        if state.send_window > 0:
            events.append(Writable(number))
        else:
            state.all_short = True


def _widen_connection(state: State, size: int, events: list[Event]) -> None:
    if not size:
        raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
    state.send_window += size
    if state.send_window > MAX_31:
        raise ConnectionFault(FLOW_CONTROL_ERROR, "the window of the connection grew too large")
    if state.all_short:
        state.all_short = False
        events.append(Writable(0))


# SETTINGS


def on_settings(state: State, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
    """Take what the server wants, and say that it was taken."""
    if number:
        raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS of a stream")
    state.useless()
    if flags & ACK:
        if payload:
            raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
        return
    allowed = state.allowed if state.settled else SILENT_LIMIT
    state.settled = True
    for key, value in settings_in(payload):
        if key == MAX_CONCURRENT_STREAMS:
            allowed = value
        elif key == MAX_FRAME_SIZE:
            state.max_frame = value
        elif key == INITIAL_WINDOW_SIZE:
            _take_initial_window(state, value, events)
        elif key == HEADER_TABLE_SIZE and value < state.table:
            state.table = value
            state.table_shrunk = True
    if allowed != state.allowed:
        state.allowed = allowed
        events.append(Allowed(allowed))
    state.reply(SETTINGS_ACK)


def _take_initial_window(state: State, value: int, events: list[Event]) -> None:
    """Change the windows of all streams, which may become negative (6.9.2)."""
    grown = value > state.initial
    state.initial = value
    # Looking at each stream is for those who have made a window that large.
    if value + state.most_credit > MAX_31:
        state.most_credit = max((stream.credit for stream in state.streams.values()), default=0)
        if value + state.most_credit > MAX_31:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE made a window too large")
    if grown and state.short:
        state.short.clear()
        if state.send_window > 0:
            events.append(Writable(0))
        else:
            state.all_short = True


def _numbers(kind: int, payload: bytes) -> tuple[int]:
    if len(payload) != NUMBER.size:
        name = "RST_STREAM" if kind == RST_STREAM else "WINDOW_UPDATE"
        raise ConnectionFault(FRAME_SIZE_ERROR, f"{name} of a wrong size")
    value: tuple[int] = NUMBER.unpack(payload)
    return value


def _stream(state: State, number: int, kind: str) -> Stream | None:
    """Give an open stream, or None for one that is over."""
    stream = state.streams.get(number)
    if stream is None and not state.was_started(number):
        raise ConnectionFault(PROTOCOL_ERROR, f"{kind} of stream {number}, which was never begun")
    return stream


HANDLERS: Final[dict[int, Handler]] = {
    DATA: on_data,
    HEADERS: on_headers,
    PRIORITY: on_priority,
    RST_STREAM: on_rst_stream,
    SETTINGS: on_settings,
    PUSH_PROMISE: on_push_promise,
    PING: on_ping,
    GOAWAY: on_goaway,
    WINDOW_UPDATE: on_window_update,
}
