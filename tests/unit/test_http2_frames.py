"""Frames that no server may send, and those that none may send for ever."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import Pong, StreamData, StreamEnd, StreamHead
from pool_manager.core.http2_frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    TWO_NUMBERS,
    WINDOW_UPDATE,
    frame,
    rst_stream,
    settings,
    window_update,
)
from pool_manager.core.http2_reader import MAX_BLOCK, MAX_CONTINUATIONS, MAX_FRAME
from pool_manager.core.http2_state import PATIENCE
from tests.support.http2 import (
    answer,
    asked,
    block,
    body,
    connected,
    farewell,
    headers,
    request,
    sent,
    string,
)

OPEN = frame(HEADERS, 0, 1, block((b":status", b"200")))  # a block that goes on


@attrs.frozen
class Fault:
    """What a server sends while streams 1 and 3 are open and 5 is over, and how that ends the connection."""

    promise: str
    wire: bytes
    code: int
    words: str


FAULTS = [
    Fault(
        "a frame is no larger than we allow",
        frame(DATA, 0, 1, bytes(MAX_FRAME + 1)),
        FRAME_SIZE_ERROR,
        "more",
    ),
    Fault("a push is refused", frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), PROTOCOL_ERROR, "PUSH_PROMISE"),
    *(
        Fault(f"{words} has its stream", wire, PROTOCOL_ERROR, words)
        for words, wire in {
            "DATA": body(0, b"x"),
            "HEADERS": answer(0),
            "PRIORITY": frame(PRIORITY, 0, 0, bytes(5)),
            "RST_STREAM": rst_stream(0, 0),
        }.items()
    ),
    *(
        Fault(f"{words} has no stream", frame(kind, 0, 1, bytes(size)), PROTOCOL_ERROR, words)
        for words, kind, size in (("SETTINGS", SETTINGS, 6), ("PING", PING, 8), ("GOAWAY", GOAWAY, 8))
    ),
    *(
        Fault(f"{words} is not of {size} bytes", frame(kind, 0, 0, bytes(size)), FRAME_SIZE_ERROR, words)
        for words, kind, sizes in (
            ("SETTINGS", SETTINGS, (1, 5, 7)),
            ("PING", PING, (0, 7, 9)),
            ("GOAWAY", GOAWAY, (0, 7)),
            ("WINDOW_UPDATE", WINDOW_UPDATE, (0, 3, 5)),
        )
        for size in sizes
    ),
    *(
        Fault(
            f"RST_STREAM is not of {size} bytes",
            frame(RST_STREAM, 0, 1, bytes(size)),
            FRAME_SIZE_ERROR,
            "RST",
        )
        for size in (0, 3, 5)
    ),
    Fault("an acknowledgement is empty", frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR, "SETTINGS"),
    Fault("a pad has a length", frame(DATA, PADDED, 1), FRAME_SIZE_ERROR, "padding"),
    Fault(
        "a pad of a head has one, too", frame(HEADERS, PADDED | END_HEADERS, 1), FRAME_SIZE_ERROR, "padding"
    ),
    Fault(
        "a pad is shorter than its frame",
        frame(HEADERS, PADDED | END_HEADERS, 1, b"\x01"),
        PROTOCOL_ERROR,
        "pad",
    ),
    Fault(
        "a priority fits in its frame",
        frame(HEADERS, PRIORITISED | END_HEADERS, 1, bytes(4)),
        FRAME_SIZE_ERROR,
        "priority",
    ),
    *(
        Fault(f"{words} of stream {number} cannot be", wire, PROTOCOL_ERROR, "was never begun")
        for number in (2, 7, 2**31 - 1)
        for words, wire in {
            "DATA": body(number, b"x"),
            "HEADERS": answer(number),
            "RST_STREAM": rst_stream(number, 0),
            "WINDOW_UPDATE": window_update(number, 1),
        }.items()
    ),
    Fault(
        "CONTINUATION continues something", frame(CONTINUATION, 4, 1), PROTOCOL_ERROR, "nothing to continue"
    ),
    *(
        Fault(f"nothing comes within a block: {words}", OPEN + wire, PROTOCOL_ERROR, "within a header block")
        for words, wire in {
            "another frame of the stream": body(1, b"x"),
            "another block": answer(1),
            "a PING": frame(PING, 0, 0, bytes(8)),
            "a frame nobody knows": frame(0xBB, 0, 1),
            "a part of another block": frame(CONTINUATION, END_HEADERS, 3, b""),
        }.items()
    ),
    Fault(
        "a block ends, by its bytes",
        OPEN + frame(CONTINUATION, 0, 1, bytes(MAX_FRAME)) * (MAX_BLOCK // MAX_FRAME),
        ENHANCE_YOUR_CALM,
        "does not end",
    ),
    Fault(
        "a block ends, by its frames",
        OPEN + frame(CONTINUATION, 0, 1) * (MAX_CONTINUATIONS + 1),
        ENHANCE_YOUR_CALM,
        "does not end",
    ),
    Fault(
        "a small block does not stand for a huge list",
        frame(HEADERS, 4, 1, b"\x88\x40\x01a" + string(b"b" * 4_000) + b"\xbe" * 300),
        ENHANCE_YOUR_CALM,
        "more than 1048576 bytes",
    ),
    Fault("a block can be decoded", frame(HEADERS, 4, 1, b"\xff"), COMPRESSION_ERROR, "cannot be decoded"),
    Fault(
        "a block of a stream that is over, too", frame(HEADERS, 4, 5, b"\x80"), COMPRESSION_ERROR, "cannot be"
    ),
]


def busy() -> Http2Connection:
    """Give a connection with two open streams and one that is over."""
    connection = connected()
    asked(connection, 2)
    connection.start(request(), end=True)
    connection.receive(answer(5, end=True) + answer(3))
    connection.data_to_send()
    return connection


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.promise)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "in bytes"])
def test_the_connection_ends(fault: Fault, *, cut: bool) -> None:
    """GOAWAY with the right code; what came before it is given."""
    connection = busy()
    wire = body(3, b"before") + fault.wire
    pieces = [wire[at : at + 1] for at in range(len(wire))] if cut and len(wire) < 5_000 else [wire]
    events = [event for piece in pieces for event in connection.receive(piece)]

    assert [StreamData(3, b"before", 6)] == events[:1]
    assert connection.failure is not None
    assert "RemoteProtocolError" == connection.failure.kind
    assert fault.words in str(connection.failure)
    (last,) = sent(connection)
    assert (GOAWAY, (0, fault.code)) == (last.kind, TWO_NUMBERS.unpack_from(last.payload))
    assert not connection.is_usable


def test_too_large_a_frame_is_refused_by_its_head() -> None:
    """Its bytes are not waited for."""
    connection = busy()
    connection.receive(frame(DATA, 0, 1, bytes(MAX_FRAME + 1))[:9])

    assert connection.failure is not None


def test_a_frame_and_a_block_may_have_their_largest_size() -> None:
    """What just fits, fits."""
    connection = busy()
    pad = block((b"a", b"b" * 8_000))
    parts = frame(CONTINUATION, 0, 1) * (MAX_CONTINUATIONS - 1) + frame(CONTINUATION, END_HEADERS, 1, pad)

    assert [StreamData(3, bytes(MAX_FRAME), MAX_FRAME)] == connection.receive(body(3, bytes(MAX_FRAME)))
    assert [StreamHead(1, 200, [(b"a", b"b" * 8_000)])] == connection.receive(OPEN + parts)


# Floods. Each frame is one that a server may send; a thousand to no purpose are an attack.

FLOODS = {
    "PING": frame(PING, 0, 0, b"12345678"),
    "answers to PING": frame(PING, ACK, 0, b"12345678"),
    "SETTINGS": settings({3: 100}),
    "empty SETTINGS": settings({}),
    "acknowledgements": SETTINGS_ACK,
    "RST_STREAM": rst_stream(5, 0),
    "empty DATA": body(3),
    "DATA of padding": frame(DATA, PADDED, 3, b"\x01\0"),
    "empty DATA of a stream that is over": body(5),
    "HEADERS of a stream that is over": headers(5, (b"a", b"b")),
    "WINDOW_UPDATE": window_update(0, 1),
    "WINDOW_UPDATE of a stream": window_update(1, 1),
    "WINDOW_UPDATE of a stream that is over": window_update(5, 1),
    "PRIORITY": frame(PRIORITY, 0, 1, bytes(5)),
    "frames nobody knows": frame(0xBB, 0, 0),
    "GOAWAY": farewell(5),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_ends_the_connection(flood: bytes) -> None:
    """One frame beyond our patience: ENHANCE_YOUR_CALM, and nothing else is left to write."""
    connection = busy()
    connection.receive(flood * PATIENCE)
    assert connection.failure is None
    connection.receive(flood * 17)

    assert connection.failure is not None
    assert "ENHANCE_YOUR_CALM" in str(connection.failure)
    (last,) = sent(connection)
    assert (GOAWAY, (0, ENHANCE_YOUR_CALM)) == (last.kind, TWO_NUMBERS.unpack_from(last.payload))


PROGRESS = {
    "data": lambda connection: connection.receive(body(3, b"x")),
    "an answer": lambda connection: connection.receive(answer(1)),
    "a request": lambda connection: connection.start(request(), end=True),
}


@pytest.mark.parametrize("progress", PROGRESS.values(), ids=PROGRESS.keys())
def test_progress_gives_patience_back(progress: object) -> None:
    """What a server with work to do sends besides is no flood."""
    assert callable(progress)
    connection = busy()
    connection.receive(FLOODS["PRIORITY"] * PATIENCE)
    progress(connection)
    connection.receive(FLOODS["PRIORITY"] * PATIENCE)
    assert connection.failure is None
    connection.receive(FLOODS["PRIORITY"] * 33)

    assert connection.failure is not None


def test_an_upload_gives_patience_back() -> None:
    """A server may tell of every little window that it opens for an upload."""
    connection = connected()
    stream = connection.start(request("POST"), end=False)
    for _ in range(10):
        assert connection.send_body(stream, b"x" * 400) == 400
        connection.receive((window_update(0, 1) + window_update(stream, 1)) * 400)

    assert connection.failure is None


def test_a_slow_ping_does_no_harm() -> None:
    """A server may ping a long poll for days."""
    connection = busy()
    for _ in range(20 * PATIENCE):
        connection.receive(FLOODS["PING"])
        connection.data_to_send()

    assert connection.failure is None


def test_many_resets_do_no_harm() -> None:
    """What comes late for thousands of streams that were reset at once is no flood."""
    connection = connected()
    streams = asked(connection, 5_000)
    for stream in streams:
        connection.reset(stream)
    late = b"".join(answer(stream) + body(stream, b"x") + rst_stream(stream, 8) for stream in streams)

    assert connection.receive(late) == []
    assert connection.failure is None


def test_what_is_to_be_written_does_not_grow_without_end() -> None:
    """A server that asks and asks and reads nothing is left, however much it answers between."""
    connection = busy()
    for _ in range(100):
        connection.receive(FLOODS["PING"] * 500 + body(3, b"x"))
        if connection.failure is not None:
            break

    assert connection.failure is not None
    assert "too many frames to answer" in str(connection.failure)
    assert sum(map(len, connection.data_to_send())) < 100


# No bytes whatever do harm

SCRAPS = [
    *(fault.wire for fault in FAULTS if len(fault.wire) < 1_000),
    *FLOODS.values(),
    answer(1),
    answer(1, end=True),
    answer(3, (b"content-length", b"3")),
    body(1, b"abc"),
    body(3, b"abc", end=True),
    headers(3, (b"t", b"u"), end=True),
    rst_stream(1, 7),
    farewell(1),
    settings({1: 0, 3: 5, 4: 10, 5: 20_000}),
    frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x01a\x01b\xbe"),
    frame(HEADERS, END_HEADERS, 3, b"\x3f\xe1\x1f\x88\xbe"),
    OPEN,
    frame(CONTINUATION, END_HEADERS, 1, b""),
]


@given(
    wire=st.lists(st.sampled_from(SCRAPS) | st.binary(max_size=30), max_size=20).map(b"".join),
    seed=st.randoms(use_true_random=False),
    settled=st.booleans(),
)
def test_no_bytes_do_harm(wire: bytes, seed: random.Random, *, settled: bool) -> None:
    """Whatever comes, nothing is raised, and it means the same however it is cut."""
    wires = bytearray(wire)
    for _ in range(seed.randrange(4) if wires else 0):
        wires[seed.randrange(len(wires))] = seed.randrange(256)
    marks = sorted(seed.choices(range(len(wires) + 1), k=seed.randrange(6)))
    pieces = [bytes(wires[a:b]) for a, b in zip([0, *marks], [*marks, len(wires)], strict=True)]
    outcomes = []
    for feed in ([bytes(wires)], pieces):
        connection = Http2Connection()
        connection.initiate()
        if settled:
            connection.receive(settings({}))
        asked(connection, 2)
        upload = connection.start(request("POST"), end=False)
        events = [event for piece in feed for event in connection.receive(piece)]
        connection.send_body(upload, b"x" * 100)
        connection.credit(1, 10)
        connection.reset(1)
        connection.ping()
        events += connection.receive_eof()
        connection.close()
        if connection.failure is not None:
            assert not connection.is_usable
        outcomes.append((str(events), str(connection.failure), connection.data_to_send()))

    assert outcomes[0] == outcomes[1]


def test_pong_is_told_from_other_answers() -> None:
    """The fuzz above would not notice."""
    connection = busy()
    connection.ping()
    payload = sent(connection)[0].payload

    assert [Pong()] == connection.receive(frame(PING, ACK, 0, payload))
    assert [StreamEnd(3)] == connection.receive(body(3, end=True))
