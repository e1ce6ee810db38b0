"""One HTTP/2 connection: what it promises to those who send requests over it."""

from __future__ import annotations

import hashlib
import sys
from types import FrameType

import pytest

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import (
    Allowed,
    Drain,
    Event,
    Pong,
    SlotFreed,
    StopSending,
    StreamData,
    StreamEnd,
    StreamFailed,
    StreamHead,
    StreamInformational,
    Writable,
)
from pool_manager.core.http2_frames import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    GOAWAY,
    HEADERS,
    MAX_31,
    NUMBER,
    PADDED,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTING,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_CLOSED,
    TWO_NUMBERS,
    WINDOW_UPDATE,
    frame,
    rst_stream,
    settings,
    window_update,
)
from pool_manager.core.http2_requests import request_block
from pool_manager.core.messages import TransportFailure
from tests.support.http2 import (
    MiB,
    Sent,
    Server,
    answer,
    asked,
    body,
    body_of,
    connected,
    exchange,
    farewell,
    frames_in,
    headers,
    request,
    sent,
    sent_of,
)

MAX_CONCURRENT_STREAMS = 3
INITIAL_WINDOW_SIZE = 4
MAX_FRAME_SIZE = 5


def failed(event: Event) -> StreamFailed:
    """Give a `StreamFailed` as one."""
    assert isinstance(event, StreamFailed)
    assert event.failure.kind == "RemoteProtocolError"
    return event


def broken(connection: Http2Connection, code: int, words: str) -> bool:
    """Tell whether the connection is over for that reason, and told the server."""
    assert connection.failure is not None
    assert connection.failure.kind == "RemoteProtocolError"
    assert words in str(connection.failure)
    (last,) = sent(connection)
    assert (GOAWAY, 0) == (last.kind, last.stream)
    assert TWO_NUMBERS.unpack_from(last.payload) == (0, code)
    return not connection.is_usable


# From end to end


def test_a_get_is_answered() -> None:
    """A request without a body reaches h2 as it was meant, and its answer comes back."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    stream = connection.start(request("GET", (b"Accept", b"*/*"), target=b"/a?b"), end=True)
    exchange(connection, server)
    server.h2.send_headers(stream, [(b":status", b"200"), (b"content-length", b"5")])
    server.h2.send_data(stream, b"hello", end_stream=True)

    assert [
        StreamHead(1, 200, [(b"content-length", b"5")]),
        StreamData(1, b"hello", 5),
        StreamEnd(1),
    ] == exchange(connection, server)
    assert [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"example.org"),
        (b":path", b"/a?b"),
        (b"accept", b"*/*"),
    ] == server.requests[stream]
    assert connection.open_streams == 0


def test_a_body_is_sent_as_windows_open() -> None:
    """A body larger than every window arrives whole; `Writable` says when to go on."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    data = bytes(range(256)) * 1_000
    stream = connection.start(request("POST", (b"Content-Length", b"%d" % len(data))), end=False)
    at = connection.send_body(stream, data, end=True)

    assert at == 65_535
    while at < len(data):
        assert Writable(0) in exchange(connection, server)
        at += connection.send_body(stream, memoryview(data)[at:], end=True)
    exchange(connection, server)
    assert (data, {stream}) == (bytes(server.bodies[stream]), server.complete)


def test_a_large_answer_comes_whole() -> None:
    """An answer larger than every window comes whole if its reader gives credit."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    stream = connection.start(request(), end=True)
    exchange(connection, server)
    server.h2.send_headers(stream, [(b":status", b"200")])
    left, digests = 100 * MiB, (hashlib.sha256(), hashlib.sha256())
    while left:
        size = min(16_384, server.h2.local_flow_control_window(stream), left)
        assert size > 0, "the answer is stalled"
        left -= size
        part = hashlib.sha256(b"%d" % left).digest() * (size // 32 + 1)
        digests[0].update(part[:size])
        server.h2.send_data(stream, part[:size], end_stream=not left)
        for event in exchange(connection, server):
            if isinstance(event, StreamData):
                digests[1].update(event.data)
                connection.credit(stream, event.size)
        exchange(connection, server)

    assert digests[0].digest() == digests[1].digest()


def test_streams_are_numbered_as_clients_number() -> None:
    """Streams are 1, 3, 5 and so on, and counted while they are open."""
    connection = connected()

    assert [1, 3, 5] == asked(connection, 3)
    assert connection.open_streams == 3
    connection.receive(answer(3, end=True))
    assert connection.open_streams == 2


def test_the_opening_says_what_the_server_must_know() -> None:
    """No pushes, 4 MiB for each answer, 64 MiB for all, and how large headers may be."""
    connection = Http2Connection()
    connection.initiate()
    opening = connection.data_to_send()
    assert b"".join(opening).startswith(PREFACE)
    assert not connection.has_data_to_send
    assert connection.data_to_send() == []

    connection.initiate()
    first, second = sent(connection)
    assert (SETTINGS, 0, 0) == (first.kind, first.flags, first.stream)
    assert {2: 0, 4: 4 * MiB, 6: MiB // 4} == dict(SETTING.iter_unpack(first.payload))
    assert Sent(WINDOW_UPDATE, 0, 0, NUMBER.pack(64 * MiB - 65_535)) == second


def test_an_answer_may_have_everything() -> None:
    """Informational heads, the head, a padded body and trailers are told apart."""
    connection = connected()
    asked(connection)
    padded = frame(DATA, PADDED, 1, b"\x03body\0\0\0")

    assert [
        StreamInformational(1, 103, [(b"link", b"</x>")]),
        StreamHead(1, 200, [(b"a", b"b")]),
        StreamData(1, b"body", 8),
        StreamEnd(1, ((b"t", b"u"),)),
    ] == connection.receive(
        answer(1, (b"link", b"</x>"), status=103)
        + answer(1, (b"a", b"b"))
        + padded
        + headers(1, (b"t", b"u"), end=True)
    )


def test_heads_are_the_readers_own() -> None:
    """What one reader does to its headers is not seen by the next, though the block is the same."""
    connection = connected()
    asked(connection, 2)
    wire = answer(1, (b"a", b"b"), status=103) + answer(1, (b"a", b"b"), end=True)
    early, head, _ = connection.receive(wire)
    assert isinstance(early, StreamInformational)
    assert isinstance(head, StreamHead)
    early.headers.clear()
    head.headers.clear()

    wire = answer(3, (b"a", b"b"), status=103) + answer(3, (b"a", b"b"), end=True)
    assert [
        StreamInformational(3, 103, [(b"a", b"b")]),
        StreamHead(3, 200, [(b"a", b"b")]),
        StreamEnd(3),
    ] == connection.receive(wire)


def test_bits_without_a_meaning_are_ignored() -> None:
    """The first bit of numbers of streams and of windows is reserved (4.1, 6.8, 6.9)."""
    connection = connected()
    asked(connection, 2)
    (_, event) = connection.receive(farewell(1 | 1 << 31))
    assert failed(event).stream == 3
    connection.receive(window_update(1 << 31, 1 | 1 << 31))

    assert [StreamHead(1, 200, []), StreamEnd(1)] == connection.receive(answer(1 | 1 << 31, end=True))
    assert connection.failure is None


# SETTINGS (rule 8)


@pytest.mark.parametrize(
    ("frames", "allowed", "events"),
    [
        ([{}], 1_000, [Allowed(1_000)]),
        ([{INITIAL_WINDOW_SIZE: 70_000}], 1_000, [Allowed(1_000)]),
        ([{MAX_CONCURRENT_STREAMS: 50}], 50, []),
        ([{MAX_CONCURRENT_STREAMS: 0}], 0, [Allowed(0)]),
        ([{MAX_CONCURRENT_STREAMS: 9}, {}], 9, [Allowed(9)]),
        ([{MAX_CONCURRENT_STREAMS: 9}, {MAX_CONCURRENT_STREAMS: 3}], 3, [Allowed(9), Allowed(3)]),
        ([{MAX_CONCURRENT_STREAMS: 9}, {MAX_CONCURRENT_STREAMS: 90}], 90, [Allowed(9), Allowed(90)]),
        ([{}, {MAX_CONCURRENT_STREAMS: 1}], 1, [Allowed(1_000), Allowed(1)]),
        ([{0xF0F0: 1, 8: 1, 9: 1}], 1_000, [Allowed(1_000)]),
    ],
)
def test_as_many_streams_as_the_server_says(
    frames: list[dict[int, int]], allowed: int, events: list[Event]
) -> None:
    """Before SETTINGS as many as were told; a server that is silent about it means many, never 1."""
    connection = Http2Connection(first_streams=50)
    assert connection.allowed == 50

    assert events == connection.receive(b"".join(map(settings, frames)))
    assert allowed == connection.allowed
    assert [Sent(SETTINGS, ACK, 0, b"")] * len(frames) == sent(connection)
    assert connection.is_usable


def test_a_lowered_limit_ends_nothing() -> None:
    """Streams that run go on when the server allows fewer."""
    connection = connected()
    asked(connection, 3)

    assert [Allowed(1)] == connection.receive(settings({MAX_CONCURRENT_STREAMS: 1}))
    assert connection.open_streams == 3
    assert [StreamHead(5, 200, []), StreamEnd(5)] == connection.receive(answer(5, end=True))


@pytest.mark.parametrize("size", [0, 1, 100, 4_095, 8_192])
def test_any_header_table_will_do(size: int) -> None:
    """A server whose table is small, or gone, or large, reads our headers (RFC 7541, 4.2)."""
    connection, server = Http2Connection(), Server(header_table_size=size)
    connection.initiate()
    for _ in range(2):
        exchange(connection, server)
        stream = connection.start(request("GET", (b"a", b"b")), end=True)
        exchange(connection, server)
        assert (b"a", b"b") in server.requests[stream]
    server.h2.update_settings({1: 50})
    exchange(connection, server)
    connection.start(request(), end=True)
    exchange(connection, server)
    assert len(server.requests) == 3


def test_frames_are_as_large_as_the_server_takes() -> None:
    """Data and header blocks are cut by MAX_FRAME_SIZE, and by no more."""
    connection = connected({MAX_FRAME_SIZE: 20_000, INITIAL_WINDOW_SIZE: 100_000})
    connection.start(request("GET", (b"a", b"x" * 18_000)), end=True)
    assert [HEADERS] == [each.kind for each in sent(connection)]
    stream = connection.start(request("POST", (b"a", b"x" * 45_000)), end=False)
    connection.send_body(stream, b"y" * 41_000, end=True)
    frames = sent(connection)

    assert [20_000, 20_000] == [len(each.payload) for each in frames[:2]]
    assert [20_000, 20_000, 1_000] == [len(each.payload) for each in frames[3:]]
    assert [HEADERS, 9, 9, DATA, DATA, DATA] == [each.kind for each in frames]
    assert [0, 0, 4, 0, 0, END_STREAM] == [each.flags for each in frames]


def test_a_large_head_ends_the_request_in_its_first_frame() -> None:
    """END_STREAM is on HEADERS, END_HEADERS on the last CONTINUATION, no frame is empty; h2 reads all."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    exchange(connection, server)
    server.h2.decoder.max_header_list_size = 100_000
    asked_for = request("GET", (b"a", b"x" * 40_000))
    surplus = len(request_block(asked_for).data) - 2 * 16_384
    asked_for.headers[-1] = (b"a", b"x" * (40_000 - surplus))
    stream = connection.start(asked_for, end=True)
    wire = b"".join(connection.data_to_send())
    server.receive(wire)

    assert [(HEADERS, END_STREAM, 16_384), (CONTINUATION, END_HEADERS, 16_384)] == [
        (each.kind, each.flags, len(each.payload)) for each in frames_in(wire)
    ]
    assert (b"a", b"x" * (40_000 - surplus)) == server.requests[stream][-1]
    assert stream in server.complete


def test_a_smaller_table_is_told_once() -> None:
    """A server that lowers its table is told so by the next block, and never again (RFC 7541, 4.2)."""
    connection = connected({1: 8_192})

    def first_bytes() -> list[int]:
        for _ in range(2):
            connection.start(request(), end=True)
        return [each.payload[0] for each in sent(connection)]

    plain = first_bytes()
    for size, expected in (
        (4_096, plain),
        (4_095, [0x20, plain[0]]),
        (100, plain),
        (4_096, plain),
        (0, plain),
    ):
        connection.receive(settings({1: size}))
        connection.data_to_send()
        assert expected == first_bytes()


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (SETTING.pack(2, 1), PROTOCOL_ERROR, "ENABLE_PUSH=1"),
        (SETTING.pack(4, MAX_31 + 1), FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE=2147483648"),
        (SETTING.pack(5, 16_383), PROTOCOL_ERROR, "MAX_FRAME_SIZE=16383"),
        (SETTING.pack(5, 2**24), PROTOCOL_ERROR, "MAX_FRAME_SIZE=16777216"),
    ],
)
def test_settings_out_of_range_end_the_connection(payload: bytes, code: int, words: str) -> None:
    """A value that may not be is answered as the RFC says (6.5.2)."""
    connection = connected()
    connection.receive(frame(SETTINGS, 0, 0, payload))

    assert broken(connection, code, words)


@pytest.mark.parametrize(
    "values",
    [{4: 0}, {4: MAX_31}, {5: 16_384}, {5: 2**24 - 1}, {2: 0}, {1: 0}, {1: 2**32 - 1}, {3: 2**32 - 1}],
)
def test_settings_at_the_edge_of_their_range_are_taken(values: dict[int, int]) -> None:
    """A value that just may be is no error."""
    connection = connected()
    connection.receive(settings(values))

    assert connection.failure is None


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (frame(PING, 0, 0, b"12345678"), "no SETTINGS came first"),
        (SETTINGS_ACK, "no SETTINGS came first"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no SETTINGS came first"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered in HTTP/1.1"),
        (b"HTTP/1.0 505 \r\n\r\n", "answered in HTTP/1.1"),
    ],
)
def test_a_server_that_speaks_something_else_is_found_out(wire: bytes, words: str) -> None:
    """SETTINGS come first (3.4); an answer in HTTP/1 is named as one."""
    connection = Http2Connection()

    assert connection.receive(wire) == []
    assert broken(connection, PROTOCOL_ERROR, words)


# GOAWAY (rule 10)


def test_streams_that_goaway_accepts_run_to_their_end() -> None:
    """GOAWAY drains: what the server accepted goes on both ways, what it did not may be sent again."""
    connection = connected()
    upload = connection.start(request("POST"), end=False)
    asked(connection, 2)
    events = connection.receive(farewell(3, debug=b"bye"))

    assert Drain(0, b"bye") == events[0]
    failure = failed(events[1])
    assert (5, True, False) == (failure.stream, failure.unprocessed, failure.refused)
    assert "GOAWAY (NO_ERROR)" in str(failure.failure)
    assert len(events) == 2
    assert not connection.is_usable
    assert connection.send_body(upload, b"more", end=True) == 4
    assert [Sent(DATA, END_STREAM, 1, b"more")] == sent(connection)
    assert [StreamHead(1, 200, []), StreamEnd(1)] == connection.receive(answer(1, end=True))
    assert [StreamHead(3, 200, []), StreamEnd(3)] == connection.receive(answer(3, end=True))
    assert connection.open_streams == 0
    assert connection.failure is None


def test_a_first_goaway_may_name_no_stream() -> None:
    """2^31-1 kills none; the second tells which, and may only go down."""
    connection = connected()
    asked(connection, 3)
    assert [Drain(0, b"")] == connection.receive(farewell(MAX_31))
    assert connection.open_streams == 3

    _, *dropped = connection.receive(farewell(1))
    assert [3, 5] == [failed(event).stream for event in dropped]
    assert [Drain(0, b"")] == connection.receive(farewell(1))
    connection.receive(farewell(3))
    assert broken(connection, PROTOCOL_ERROR, "GOAWAY went up from stream 1 to 3")


def test_goaway_of_stream_0_gives_every_request_back() -> None:
    """Last stream 0: nothing was processed."""
    connection = connected()
    asked(connection, 2)
    _, *dropped = connection.receive(farewell(0))

    assert [(1, True), (3, True)] == [(failed(event).stream, failed(event).unprocessed) for event in dropped]


def test_an_error_at_the_first_request_is_not_tried_again() -> None:
    """A new connection that ends with an error before its first request: the next would, too. As Go."""
    connection = connected()
    asked(connection, 2)
    drain, *dropped = connection.receive(farewell(0, 11, b"too_many_pings"))

    assert Drain(11, b"too_many_pings") == drain
    assert [(1, False), (3, True)] == [(failed(event).stream, failed(event).unprocessed) for event in dropped]


def test_no_stream_is_started_after_goaway() -> None:
    """A draining connection refuses, and writes nothing."""
    connection = connected()
    connection.receive(farewell(MAX_31))

    with pytest.raises(TransportFailure, match="takes no new stream") as caught:
        connection.start(request(), end=True)
    assert caught.value.kind == "LocalProtocolError"
    assert not connection.has_data_to_send


def test_our_goodbye_is_said_once() -> None:
    """`close` says GOAWAY once and lets the rest run."""
    connection = connected()
    asked(connection)
    connection.close()
    connection.close()

    assert [Sent(GOAWAY, 0, 0, TWO_NUMBERS.pack(0, 0))] == sent(connection)
    assert not connection.is_usable
    assert [StreamHead(1, 200, []), StreamEnd(1)] == connection.receive(answer(1, end=True))


# Resets by the server


@pytest.mark.parametrize(
    ("code", "name", "refused"),
    [(7, "REFUSED_STREAM", True), (0, "NO_ERROR", False), (2, "INTERNAL_ERROR", False), (99, "0x63", False)],
)
def test_a_reset_says_why(code: int, name: str, *, refused: bool) -> None:
    """REFUSED_STREAM may be sent again (rule 11b); other codes are named."""
    connection = connected()
    asked(connection, 2)
    (event,) = connection.receive(rst_stream(1, code))

    assert name in str(failed(event).failure)
    assert (refused, refused) == (failed(event).unprocessed, failed(event).refused)
    assert connection.open_streams == 1
    assert not connection.has_data_to_send


@pytest.mark.parametrize("code", [0, 8])
def test_an_answer_that_is_complete_stands(code: int) -> None:
    """A reset behind a complete answer says only that the rest of the request is not wanted (8.1)."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    assert [StreamHead(1, 200, []), StreamEnd(1)] == connection.receive(answer(1, end=True))
    assert connection.open_streams == 1

    assert [StopSending(1)] == connection.receive(rst_stream(1, code))
    assert connection.open_streams == 0
    connection.data_to_send()
    assert connection.send_body(stream, b"rest", end=True) == 4
    assert not connection.has_data_to_send


def test_a_reset_of_a_stream_that_is_over_is_ignored() -> None:
    """A late RST_STREAM means nothing."""
    connection = connected()
    asked(connection)
    connection.receive(answer(1, end=True))

    assert connection.receive(rst_stream(1, 0)) == []
    assert connection.failure is None


def test_a_request_may_end_behind_its_answer() -> None:
    """The place of a stream is taken until its request is complete, too."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    connection.receive(answer(1, end=True))
    assert connection.open_streams == 1
    connection.send_body(stream, b"rest", end=True)

    assert connection.open_streams == 0


# Resets by us (rule 15)


def test_a_stream_that_the_server_knows_is_reset_at_once() -> None:
    """Where any frame came since, the server reads: the place is free."""
    connection = connected()
    asked(connection, 2)
    connection.receive(frame(PING, ACK, 0, b"whatever"))

    assert connection.reset(1)
    assert connection.reset(1)
    assert connection.reset(77)
    assert [Sent(RST_STREAM, 0, 1, NUMBER.pack(CANCEL))] == sent(connection)
    assert connection.open_streams == 1


def test_a_stream_that_the_server_may_not_know_holds_its_place() -> None:
    """Where nothing came since, a PING asks, one for all; its answer frees the places."""
    connection = connected()
    asked(connection, 3)

    assert not connection.reset(1)
    assert not connection.reset(3)
    assert not connection.reset(1)
    assert connection.open_streams == 1
    first, ping, second = sent(connection)
    assert [(RST_STREAM, 1), (RST_STREAM, 3)] == [(each.kind, each.stream) for each in (first, second)]
    assert (PING, 0) == (ping.kind, ping.flags)
    assert connection.receive(answer(1, end=True)) == []
    assert connection.receive(frame(PING, ACK, 0, b"liveness")) == [Pong()]
    assert [SlotFreed(1), SlotFreed(3)] == connection.receive(frame(PING, ACK, 0, ping.payload))
    assert connection.receive(frame(PING, ACK, 0, ping.payload)) == []
    assert connection.reset(1)


def test_the_server_is_not_asked_again_until_it_sends_something() -> None:
    """GRPC servers count pings: after an answer, HEADERS or DATA have to come before the next."""
    connection = connected()
    asked(connection)
    connection.reset(1)
    ping = sent(connection)[1]
    connection.receive(frame(PING, ACK, 0, ping.payload))
    asked(connection)
    assert connection.reset(3)
    assert [RST_STREAM] == [each.kind for each in sent(connection)]

    for late in (answer(3), body(3, b"late")):
        connection.receive(late)
        (stream,) = asked(connection)
        assert not connection.reset(stream)
        assert [RST_STREAM, PING] == [each.kind for each in sent(connection)]
        connection.receive(frame(PING, ACK, 0, ping.payload))


def test_nothing_is_said_of_a_stream_that_was_reset() -> None:
    """Whatever comes for it is dropped, and its header blocks are still decoded (RFC 7541, 2.2)."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    asked_for = [connection.start(request(), end=True) for _ in range(2)]
    exchange(connection, server)
    for stream in asked_for:
        server.h2.send_headers(stream, [(b":status", b"200"), (b"x-kept-in-the-table", b"value")])
        server.h2.send_data(stream, b"data", end_stream=True)
    late = server.h2.data_to_send()
    connection.reset(asked_for[0])

    assert [
        StreamHead(3, 200, [(b"x-kept-in-the-table", b"value")]),
        StreamData(3, b"data", 4),
        StreamEnd(3),
    ] == connection.receive(late)


def test_a_ping_of_ours_is_answered() -> None:
    """`Pong` comes for the answer to `ping`, and for no other."""
    connection = connected()
    connection.ping()
    (ping,) = sent(connection)

    assert connection.receive(frame(PING, ACK, 0, b"stranger")) == []
    assert [Pong()] == connection.receive(frame(PING, ACK, 0, ping.payload))


def test_a_ping_of_the_servers_is_answered() -> None:
    """Its payload comes back."""
    connection = connected()
    connection.receive(frame(PING, 0, 0, b"liveness"))

    assert [Sent(PING, ACK, 0, b"liveness")] == sent(connection)


def test_every_frame_is_a_sign_of_life() -> None:
    """All frames count, known or not; half of one does not."""
    connection = connected()
    before = connection.frames_received
    unknown = frame(0xBB, 0xFF, 7, b"grease")
    connection.receive(unknown + frame(10, 0, 0, b"\0\0") + frame(PING, ACK, 0, b"12345678") + unknown[:-1])

    assert before + 3 == connection.frames_received
    assert connection.failure is None


# Flow control of what we send


def test_a_body_is_never_sent_beyond_a_window() -> None:
    """The smaller of both windows counts; `Writable` comes only where a send came up short."""
    connection = connected({INITIAL_WINDOW_SIZE: 10})
    first, second = (connection.start(request("POST"), end=False) for _ in range(2))
    assert connection.receive(window_update(first, 5)) == []

    assert connection.send_body(first, b"x" * 15) == 15
    assert connection.receive(window_update(first, 1)) == []
    assert connection.send_body(first, b"yz") == 1
    assert connection.send_body(second, b"x" * 11) == 10
    assert [Writable(first)] == connection.receive(window_update(first, 1) + window_update(first, 1))
    assert connection.receive(window_update(0, 1)) == []
    assert [Writable(0)] == connection.receive(settings({INITIAL_WINDOW_SIZE: 11}))
    assert connection.receive(settings({INITIAL_WINDOW_SIZE: 12})) == []


def test_the_window_of_the_connection_wakes_all() -> None:
    """Stream 0 is writable when the connection is, and somebody wanted it."""
    connection = connected({INITIAL_WINDOW_SIZE: MiB})
    stream = connection.start(request("POST"), end=False)
    assert connection.receive(window_update(0, 1)) == []
    assert connection.send_body(stream, b"x" * 70_000) == 65_536

    assert connection.receive(window_update(stream, 1)) == []
    assert [Writable(0)] == connection.receive(window_update(0, 1))
    assert connection.receive(window_update(0, 1)) == []
    assert connection.send_body(stream, b"xyz") == 2


@pytest.mark.parametrize("opening", [window_update(1, 1), settings({INITIAL_WINDOW_SIZE: 30_001})])
def test_nobody_is_forgotten_when_the_other_window_is_shut(opening: bytes) -> None:
    """A stream whose window opens while the connection's is shut is told when that opens."""
    connection = connected({INITIAL_WINDOW_SIZE: 30_000})
    streams = [connection.start(request("POST"), end=False) for _ in range(3)]
    assert connection.send_body(streams[0], b"x" * 30_001) == 30_000
    assert connection.send_body(streams[1], b"x" * 30_000) == 30_000
    assert connection.send_body(streams[2], b"x" * 5_535) == 5_535

    assert connection.receive(opening) == []
    assert [Writable(0)] == connection.receive(window_update(0, 1))
    assert connection.send_body(streams[0], b"y") == 1


def test_nobody_is_woken_for_nothing() -> None:
    """A lowered window wakes nobody, nor does a raised one if those who waited are gone."""
    connection = connected({INITIAL_WINDOW_SIZE: 10})
    stream = connection.start(request("POST"), end=False)
    connection.send_body(stream, b"x" * 11)
    assert connection.receive(settings({INITIAL_WINDOW_SIZE: 9})) == []
    connection.reset(stream)

    assert connection.receive(settings({INITIAL_WINDOW_SIZE: 100})) == []


def test_windows_may_become_negative() -> None:
    """A lowered INITIAL_WINDOW_SIZE counts for streams that run, and below nothing (6.9.2)."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    connection.send_body(stream, b"x" * 100)
    connection.receive(settings({INITIAL_WINDOW_SIZE: 40}))

    assert connection.send_body(stream, b"y") == 0
    assert connection.receive(window_update(stream, 60)) == []
    assert connection.send_body(stream, b"y") == 0
    assert [Writable(stream)] == connection.receive(window_update(stream, 1))
    assert connection.send_body(stream, b"yz") == 1


def test_the_end_needs_no_window() -> None:
    """An empty frame ends a request, whatever the windows are."""
    connection = connected({INITIAL_WINDOW_SIZE: 2})
    stream = connection.start(request("POST"), end=False)

    assert connection.send_body(stream, b"xyz", end=True) == 2
    assert connection.send_body(stream, b"", end=True) == 0
    assert [Sent(DATA, 0, 1, b"xy"), Sent(DATA, END_STREAM, 1, b"")] == sent(connection)[1:]


def test_nothing_is_sent_for_nothing() -> None:
    """No data and no end is no frame, and an end is said once."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    connection.data_to_send()
    assert connection.send_body(stream, b"") == 0
    assert not connection.has_data_to_send
    connection.send_body(stream, b"", end=True)
    connection.send_body(stream, b"", end=True)

    assert [Sent(DATA, END_STREAM, 1, b"")] == sent(connection)


def test_data_is_not_copied_where_it_fills_a_frame() -> None:
    """A part of a frame's size is written as it is; a caller's buffer is never kept."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    connection.data_to_send()
    part, buffer = b"x" * 16_384, bytearray(b"y" * 8_000)
    connection.send_body(stream, part)
    connection.send_body(stream, memoryview(buffer))
    buffer[:] = b"z" * 8_000

    out = connection.data_to_send()
    assert out[1] is part
    assert all(type(each) is bytes for each in out)
    assert b"".join(out).count(b"y") == 8_000


@pytest.mark.parametrize(
    ("values", "wire", "whole"),
    [
        ({}, window_update(0, MAX_31 - 65_535), None),
        ({}, window_update(0, MAX_31 - 65_534), FLOW_CONTROL_ERROR),
        ({}, window_update(0, 0), PROTOCOL_ERROR),
        ({}, window_update(0, 1) + settings({INITIAL_WINDOW_SIZE: MAX_31}), None),
        ({}, window_update(1, 1) + settings({INITIAL_WINDOW_SIZE: MAX_31 - 1}), None),
        ({}, window_update(1, 1) + settings({INITIAL_WINDOW_SIZE: MAX_31}), FLOW_CONTROL_ERROR),
        ({}, window_update(1, 9) + rst_stream(1, 0) + settings({INITIAL_WINDOW_SIZE: MAX_31}), None),
        ({}, window_update(1, MAX_31 - 65_535), None),
    ],
)
def test_windows_have_a_largest_size(values: dict[int, int], wire: bytes, whole: int | None) -> None:
    """2^31-1 and no more (6.9.1); what concerns the connection ends it."""
    connection = connected(values)
    asked(connection)
    connection.receive(wire)

    if whole is None:
        assert connection.failure is None
    else:
        assert broken(connection, whole, "")


@pytest.mark.parametrize(("size", "code"), [(0, PROTOCOL_ERROR), (MAX_31 - 65_534, FLOW_CONTROL_ERROR)])
def test_a_stream_whose_window_is_abused_ends_alone(size: int, code: int) -> None:
    """What concerns one stream ends it, and not its neighbour."""
    connection = connected()
    asked(connection, 2)
    assert connection.receive(window_update(3, MAX_31 - 65_535)) == []
    (event,) = connection.receive(window_update(1, size))

    assert failed(event).stream == 1
    assert not failed(event).unprocessed
    assert [Sent(RST_STREAM, 0, 1, NUMBER.pack(code))] == sent(connection)
    assert [StreamHead(3, 200, []), StreamEnd(3)] == connection.receive(answer(3, end=True))


# What a request promises


def test_a_body_longer_than_promised_is_not_sent() -> None:
    """More than Content-Length: the caller is told, the stream reset, the neighbour unharmed."""
    connection = connected()
    stream, other = (
        connection.start(request("POST", (b"Content-Length", b"5")), end=False) for _ in range(2)
    )
    connection.send_body(stream, b"abc")
    connection.data_to_send()
    with pytest.raises(TransportFailure, match="Too much data for declared Content-Length") as caught:
        connection.send_body(stream, b"def", end=True)

    assert caught.value.kind == "LocalProtocolError"
    assert Sent(RST_STREAM, 0, 1, NUMBER.pack(CANCEL)) == sent(connection)[0]
    assert not connection.reset(stream)
    assert connection.send_body(other, b"hello", end=True) == 5


@pytest.mark.parametrize(("part", "length"), [(b"abc", b"5"), (b"", b"1")])
def test_a_body_shorter_than_promised_is_not_ended(part: bytes, length: bytes) -> None:
    """Less than Content-Length at the end: the same."""
    connection = connected()
    stream = connection.start(request("POST", (b"Content-Length", length)), end=False)
    with pytest.raises(TransportFailure, match="Too little data for declared Content-Length"):
        connection.send_body(stream, part, end=True)

    assert [HEADERS, RST_STREAM, PING] == [each.kind for each in sent(connection)]
    assert connection.failure is None


def test_nothing_follows_the_end_of_a_body() -> None:
    """Data behind the end is the caller's mistake."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    connection.send_body(stream, b"x", end=True)

    with pytest.raises(TransportFailure, match="Too much data: the body has ended"):
        connection.send_body(stream, b"y")


def test_a_head_that_promises_a_body_has_one() -> None:
    """Without a body, Content-Length must be nothing; and nothing was written."""
    connection = connected()
    with pytest.raises(TransportFailure, match="Too little data"):
        connection.start(request("POST", (b"Content-Length", b"5")), end=True)

    assert not connection.has_data_to_send
    assert connection.open_streams == 0
    assert connection.start(request("POST", (b"Content-Length", b"0")), end=True) == 1


def test_numbers_run_out() -> None:
    """After the last number the connection is drained, not broken."""
    connection = connected()
    connection._state.next_number = MAX_31  # noqa: SLF001 - a billion requests would take a while
    assert connection.is_usable
    assert connection.start(request(), end=True) == MAX_31

    assert not connection.is_usable
    with pytest.raises(TransportFailure, match="takes no new stream"):
        connection.start(request(), end=True)
    assert [StreamHead(MAX_31, 200, []), StreamEnd(MAX_31)] == connection.receive(answer(MAX_31, end=True))


# Flow control of what comes


def test_the_server_may_send_again_what_was_consumed() -> None:
    """Credit is told at half a window, and at once."""
    connection = connected()
    asked(connection)
    connection.receive(answer(1) + body(1, b"x" * 16_384) * 200)
    connection.credit(1, 2 * MiB - 1)
    assert not sent_of(connection, WINDOW_UPDATE)
    connection.credit(1, 1)

    assert [Sent(WINDOW_UPDATE, 0, 1, NUMBER.pack(2 * MiB))] == sent(connection)


def test_credit_is_harmless() -> None:
    """Too much credit, or for a stream that is over or was never begun, does nothing."""
    connection = connected()
    asked(connection, 2)
    connection.receive(answer(1) + body(1, b"x" * 16_384) * 150 + answer(3, end=True))
    connection.credit(1, 10 * MiB)
    connection.credit(1, 10 * MiB)
    connection.credit(3, 10 * MiB)
    connection.credit(9, 10 * MiB)

    assert [Sent(WINDOW_UPDATE, 0, 1, NUMBER.pack(150 * 16_384))] == sent(connection)


def test_no_credit_for_an_answer_that_is_complete() -> None:
    """Whoever has sent everything needs no window."""
    connection = connected()
    connection.start(request("POST"), end=False)
    connection.data_to_send()
    connection.receive(answer(1) + body(1, b"x" * 16_384) * 150 + body(1, end=True))
    connection.credit(1, 150 * 16_384)

    assert not connection.has_data_to_send


def test_padding_is_credited_without_the_reader() -> None:
    """Frames of padding alone are no data, and take no window for good."""
    connection = connected()
    asked(connection)
    padding = frame(DATA, PADDED, 1, b"\xff" + bytes(255))
    assert connection.receive(answer(1)) == [StreamHead(1, 200, [])]
    updates: list[Sent] = []
    for _ in range(20):
        assert connection.receive(padding * 900 + body(1, b"x")) == [StreamData(1, b"x", 1)]
        updates += sent(connection)

    assert connection.failure is None
    assert updates == [Sent(WINDOW_UPDATE, 0, 1, NUMBER.pack(2 * MiB))] * 2


def test_an_answer_nobody_reads_stalls_no_other() -> None:
    """The window of the connection is credited as data comes: 20 unread answers leave it open."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    streams = [connection.start(request(), end=True) for _ in range(21)]
    exchange(connection, server)
    for stream in streams[:20]:
        server.h2.send_headers(stream, [(b":status", b"200")])
        for _ in range(256):
            server.h2.send_data(stream, bytes(16_384))
        exchange(connection, server)
        assert server.h2.local_flow_control_window(stream) == 0
    server.h2.send_headers(streams[20], [(b":status", b"200")])
    server.h2.send_data(streams[20], b"on time", end_stream=True)

    assert body_of(exchange(connection, server), streams[20]) == b"on time"


def test_data_of_streams_that_are_over_is_credited() -> None:
    """Late data of streams that were reset leaves the window of the connection as it was (rule 15)."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    for _ in range(20):
        stream = connection.start(request(), end=True)
        exchange(connection, server)
        server.h2.send_headers(stream, [(b":status", b"200")])
        for _ in range(256):
            server.h2.send_data(stream, bytes(16_384))
        late = server.h2.data_to_send()
        connection.reset(stream)
        assert connection.receive(late) == []
        exchange(connection, server)

    assert connection.failure is None
    assert server.h2.outbound_flow_control_window > 31 * MiB


def test_the_window_of_the_connection_is_opened_at_the_half() -> None:
    """The server may go on sending while the WINDOW_UPDATE is on its way."""
    connection = connected()
    streams = asked(connection, 9)
    part = bytes(16_384)
    for stream in streams[:8]:
        connection.receive(answer(stream) + body(stream, part) * 255)
    assert not sent_of(connection, WINDOW_UPDATE)
    connection.receive(answer(streams[8]) + body(streams[8], part) * 8)

    assert [Sent(WINDOW_UPDATE, 0, 0, NUMBER.pack(32 * MiB))] == sent(connection)


def test_more_data_than_its_window_ends_a_stream() -> None:
    """FLOW_CONTROL_ERROR for the stream; the neighbour goes on, whatever else is on its way."""
    connection = connected()
    asked(connection, 2)
    connection.receive(answer(1) + body(1, bytes(16_384)) * 256)
    (event,) = connection.receive(body(1, b"x") + body(1, bytes(16_384)) * 256)

    assert "more data than its window" in str(failed(event).failure)
    assert Sent(RST_STREAM, 0, 1, NUMBER.pack(FLOW_CONTROL_ERROR)) in sent(connection)
    assert [StreamHead(3, 200, []), StreamEnd(3)] == connection.receive(answer(3, end=True))
    assert connection.failure is None


def test_streams_that_are_over_may_send_what_was_on_its_way_and_no_more() -> None:
    """A server that goes on and on with a stream that was reset is stopped."""
    connection = connected()
    asked(connection)
    connection.receive(answer(1) + body(1, bytes(16_384)))
    connection.reset(1)
    assert connection.receive(body(1, bytes(16_384)) * 255) == []
    assert connection.failure is None
    connection.receive(body(1, b"x"))

    assert broken(connection, STREAM_CLOSED, "streams that are over")


# The end


def test_what_came_before_a_mistake_is_given() -> None:
    """The failure does not swallow the events before it, and nothing comes after it."""
    connection = connected()
    asked(connection)
    connection.start(request(), end=True)
    good = answer(1) + body(1, b"data", end=True)

    assert [StreamHead(1, 200, []), StreamData(1, b"data", 4), StreamEnd(1)] == connection.receive(
        good + window_update(0, 0) + answer(3)
    )
    assert broken(connection, PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
    assert connection.receive(answer(3)) == []
    connection.close()
    assert not connection.has_data_to_send


def test_the_end_of_a_connection_fails_what_is_unanswered() -> None:
    """Nothing says that the server did not process it, so it may not be sent again."""
    connection = connected()
    asked(connection, 3)
    connection.start(request("POST"), end=False)
    connection.receive(answer(1) + answer(3, end=True) + answer(7, end=True))
    first, second, third = connection.receive_eof()

    assert "Server disconnected before the end of its response" in str(failed(first).failure)
    assert "Server disconnected without sending a response" in str(failed(second).failure)
    assert [(1, False), (5, False)] == [(failed(e).stream, failed(e).unprocessed) for e in (first, second)]
    assert third == StopSending(7)
    assert not connection.is_usable
    assert connection.open_streams == 0
    assert connection.receive_eof() == []


# The cost


def lines_for(others: int) -> int:
    """Count the lines that run for all there is to do, beside that many open streams."""
    connection = connected({MAX_CONCURRENT_STREAMS: MAX_31})
    uploads = [connection.start(request("POST"), end=False) for _ in range(others)]
    connection.send_body(uploads[0], b"x" * 65_535)
    for upload in uploads:
        connection.send_body(upload, b"more than the windows allow")
    count = 0

    def trace(_: FrameType, event: str, __: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        stream = connection.start(request("POST"), end=False)
        connection.receive(settings({INITIAL_WINDOW_SIZE: 70_000}) + window_update(stream, 5))
        connection.receive(window_update(0, 100))
        connection.send_body(stream, b"x" * 50, end=True)
        connection.data_to_send()
        connection.receive(answer(stream) + body(stream, b"x" * 10_000))
        connection.credit(stream, 10_000)
        connection.receive(body(stream, end=True) + frame(PING, 0, 0, b"12345678"))
        connection.reset(connection.start(request(), end=True))
        connection.receive(farewell(stream))
    finally:
        sys.settrace(before)
    assert connection.open_streams == others
    return count


def test_nothing_costs_more_beside_more_streams() -> None:
    """A request, its answer, settings, windows, a reset, a GOAWAY: as many steps beside 2,000 as beside 2."""
    lines_for(2)  # fills what is remembered

    assert lines_for(2) == lines_for(2_000)
