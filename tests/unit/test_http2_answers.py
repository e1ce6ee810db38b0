"""What is an answer over HTTP/2 and what is not: one table, over every way to cut the bytes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager.core.http1_answers import MAX_HEADERS
from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_answers import MAX_LIST
from pool_manager.core.http2_events import (
    Event,
    StreamData,
    StreamEnd,
    StreamFailed,
    StreamHead,
    StreamInformational,
)
from pool_manager.core.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    NUMBER,
    PADDED,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    RST_STREAM,
    STREAM_CLOSED,
    frame,
)
from tests.support.http2 import Sent, answer, asked, block, body, connected, headers, request, sent, string

LENGTH_5 = (b"content-length", b"5")
STATUS = (b":status", b"200")


@attrs.frozen(kw_only=True)
class Case:
    """
    What a server sends on stream 1, and what is to be made of it.

    Attributes:
        events: What is reported, without the failure.

        error: What the failure says.

        code: What the server is told.
    """

    promise: str
    wire: bytes
    events: Sequence[Event] = ()
    error: str | None = None
    code: int = PROTOCOL_ERROR
    method: str = "GET"


def whole(*fields: tuple[bytes, bytes], status: int = 200) -> list[Event]:
    """Give the events of an answer without a body."""
    return [StreamHead(1, status, list(fields)), StreamEnd(1)]


def part(data: bytes) -> StreamData:
    """Give the event of data without padding."""
    return StreamData(1, data, len(data))


CASES = [
    Case(promise="an answer may be a head alone", wire=answer(1, end=True), events=whole()),
    Case(
        promise="a body may have any length where none is told",
        wire=answer(1) + body(1, b"ab") + body(1, b"c", end=True),
        events=[StreamHead(1, 200, []), part(b"ab"), part(b"c"), StreamEnd(1)],
    ),
    Case(
        promise="an empty frame may end a body",
        wire=answer(1, LENGTH_5) + body(1, b"hello") + body(1, end=True),
        events=[StreamHead(1, 200, [LENGTH_5]), part(b"hello"), StreamEnd(1)],
    ),
    Case(
        promise="there may be more informational heads than one",
        wire=answer(1, status=100) + answer(1, (b"link", b"a"), status=103) + answer(1, end=True),
        events=[StreamInformational(1, 100, []), StreamInformational(1, 103, [(b"link", b"a")]), *whole()],
    ),
    Case(
        promise="trailers end an answer",
        wire=answer(1) + headers(1, (b"grpc-status", b"0"), end=True),
        events=[StreamHead(1, 200, []), StreamEnd(1, ((b"grpc-status", b"0"),))],
    ),
    Case(
        promise="trailers may be empty",
        wire=answer(1, LENGTH_5) + body(1, b"hello") + headers(1, end=True),
        events=[StreamHead(1, 200, [LENGTH_5]), part(b"hello"), StreamEnd(1)],
    ),
    Case(
        promise="HEAD has no body, whatever its length",
        method="HEAD",
        wire=answer(1, LENGTH_5, end=True),
        events=whole(LENGTH_5),
    ),
    Case(
        promise="304 has no body, whatever its length",
        wire=answer(1, LENGTH_5, status=304, end=True),
        events=whole(LENGTH_5, status=304),
    ),
    Case(
        promise="204 may end with an empty frame",
        wire=answer(1, status=204) + body(1, end=True),
        events=whole(status=204),
    ),
    Case(
        promise="a tunnel has no length",
        method="CONNECT",
        wire=answer(1, LENGTH_5) + body(1, b"a long tunnel", end=True),
        events=[StreamHead(1, 200, [LENGTH_5]), part(b"a long tunnel"), StreamEnd(1)],
    ),
    Case(
        promise="a refused tunnel has one",
        method="CONNECT",
        wire=answer(1, LENGTH_5, status=407) + body(1, b"never", end=True),
        events=[StreamHead(1, 407, [LENGTH_5]), part(b"never"), StreamEnd(1)],
    ),
    Case(
        promise="and no more than that",
        method="CONNECT",
        wire=answer(1, LENGTH_5, status=407) + body(1, b"never!"),
        events=[StreamHead(1, 407, [LENGTH_5])],
        error="more data",
    ),
    Case(
        promise="a length may be told twice if it is the same",
        wire=answer(1, LENGTH_5, LENGTH_5) + body(1, b"hello", end=True),
        events=[StreamHead(1, 200, [LENGTH_5, LENGTH_5]), part(b"hello"), StreamEnd(1)],
    ),
    Case(
        promise="values are bytes, spaces at their ends included",
        wire=answer(1, (b"a", b" \xff\x01\t"), (b"b", b""), end=True),
        events=whole((b"a", b" \xff\x01\t"), (b"b", b"")),
    ),
    Case(
        promise="padding and priority of a head are taken off",
        wire=frame(
            HEADERS,
            PADDED | PRIORITISED | END_HEADERS | END_STREAM,
            1,
            b"\x02" + b"\0\0\0\0\xff" + block(STATUS) + b"\0\0",
        ),
        events=whole(),
    ),
    Case(
        promise="padding of a head is taken off",
        wire=frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\x01" + block(STATUS) + b"\0"),
        events=whole(),
    ),
    Case(
        promise="priority of a head is taken off",
        wire=frame(HEADERS, PRIORITISED | END_HEADERS | END_STREAM, 1, bytes(5) + block(STATUS)),
        events=whole(),
    ),
    Case(
        promise="a head may come in pieces, an empty one among them",
        wire=frame(HEADERS, END_STREAM, 1, block(STATUS)[:3])
        + frame(CONTINUATION, 0, 1, b"")
        + frame(CONTINUATION, END_HEADERS, 1, block(STATUS)[3:]),
        events=whole(),
    ),
    Case(
        promise="frames nobody knows mean nothing, nor does priority",
        wire=frame(10, 0, 1, b"\0\0alt-svc")
        + frame(PRIORITY, 0, 1, bytes(5))
        + frame(PRIORITY, 0, 8, bytes(5))
        + frame(0xFA, 0xFF, 1)
        + answer(1, end=True),
        events=whole(),
    ),
    Case(
        promise="names are tokens in lower case",
        wire=answer(1, (b"X-A", b""), end=True),
        error="illegal header name b'X-A'",
    ),
    Case(promise="a name has no space", wire=answer(1, (b"a b", b"")), error="illegal header name"),
    Case(promise="a name is not empty", wire=answer(1, (b"", b"x")), error="illegal header name"),
    Case(promise="a name has no colon", wire=answer(1, (b"a:", b"x")), error="illegal header name"),
    Case(promise="a name is ASCII", wire=answer(1, (b"\xe4", b"x")), error="illegal header name"),
    *(
        Case(
            promise=f"a value has no {escape!r}",
            wire=answer(1, (b"a", b"b" + escape + b"c"), (b"d", b"e")),
            error="a line break or NUL in a header's value",
        )
        for escape in (b"\r", b"\n", b"\0")
    ),
    *(
        Case(
            promise=f"{name.decode()} is of HTTP/1.1",
            wire=answer(1, (name, b"x")),
            error=f"{name.decode()} has no meaning in HTTP/2",
        )
        for name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
    ),
    Case(promise="an answer has a status", wire=headers(1, (b"a", b"b")), error="an answer without :status"),
    Case(promise="an answer is not nothing", wire=headers(1, end=True), error="an answer without :status"),
    *(
        Case(promise=f"{status!r} is no status", wire=headers(1, (b":status", status)), error="three digits")
        for status in (b"", b"20", b"2000", b"099", b"abc", b"-20", b"2 0", b"+20")
    ),
    Case(promise="a status comes once", wire=headers(1, STATUS, STATUS), error=":status comes twice"),
    Case(
        promise="a status comes first",
        wire=headers(1, (b"a", b"b"), STATUS),
        error=":status comes twice, or behind a header",
    ),
    Case(
        promise="an answer has no other pseudo-header",
        wire=answer(1, (b":path", b"/")),
        error="unknown pseudo-header b':path'",
    ),
    Case(promise="101 is of HTTP/1.1", wire=answer(1, status=101), error="101 cannot be the answer"),
    Case(
        promise="an informational head is not the end",
        wire=answer(1, status=103, end=True),
        error="103 cannot be the answer",
    ),
    Case(promise="a body has a head", wire=body(1, b"x"), error="data before the head"),
    Case(promise="the end has a head", wire=body(1, end=True), error="data before the head"),
    Case(
        promise="an informational head is no head for a body",
        wire=answer(1, status=100) + body(1, b"x"),
        events=[StreamInformational(1, 100, [])],
        error="data before the head",
    ),
    Case(
        promise="trailers have no status",
        wire=answer(1) + answer(1, end=True),
        events=[StreamHead(1, 200, [])],
        error=":status in trailers",
    ),
    Case(
        promise="trailers end the answer",
        wire=answer(1) + headers(1, (b"a", b"b")),
        events=[StreamHead(1, 200, [])],
        error="trailers that do not end",
    ),
    Case(
        promise="trailers are held to the rules of headers",
        wire=answer(1) + headers(1, (b"A", b"b"), end=True),
        events=[StreamHead(1, 200, [])],
        error="illegal header name",
    ),
    Case(
        promise="a body is no longer than its length",
        wire=answer(1, LENGTH_5) + body(1, b"hello") + body(1, b"!"),
        events=[StreamHead(1, 200, [LENGTH_5]), part(b"hello")],
        error="more data than content-length says",
    ),
    Case(
        promise="a body is no shorter than its length",
        wire=answer(1, LENGTH_5) + body(1, b"hell", end=True),
        events=[StreamHead(1, 200, [LENGTH_5]), part(b"hell")],
        error="1 bytes before its content-length",
    ),
    Case(
        promise="trailers do not end a body too early",
        wire=answer(1, LENGTH_5) + body(1, b"hell") + headers(1, end=True),
        events=[StreamHead(1, 200, [LENGTH_5]), part(b"hell")],
        error="1 bytes before its content-length",
    ),
    Case(
        promise="a head does not end a body too early",
        wire=answer(1, LENGTH_5, end=True),
        events=[StreamHead(1, 200, [LENGTH_5])],
        error="5 bytes before its content-length",
    ),
    *(
        Case(
            promise=f"{value!r} is no length",
            wire=answer(1, (b"content-length", value)),
            error="bad content-l",
        )
        for value in (b"", b"-1", b"1.0", b" 5", b"5, 5", b"0x5", b"\xb2", b"1" * 21)
    ),
    Case(
        promise="two lengths do not differ",
        wire=answer(1, LENGTH_5, (b"content-length", b"6")),
        error="content-length comes twice",
    ),
    Case(
        promise="HEAD has no body",
        method="HEAD",
        wire=answer(1) + body(1, b"x"),
        events=[StreamHead(1, 200, [])],
        error="more data",
    ),
    *(
        Case(
            promise=f"{status} has no body",
            wire=answer(1, status=status) + body(1, b"x"),
            events=[StreamHead(1, status, [])],
            error="more data",
        )
        for status in (204, 304)
    ),
    Case(
        promise="a list of headers has a size, however small its block",
        # One field of 4,000 bytes, and 70 times the same.
        wire=frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x01a" + string(b"b" * 4_000) + b"\xbe" * 70),
        error=f"headers longer than {MAX_LIST} bytes",
        code=ENHANCE_YOUR_CALM,
    ),
    Case(
        promise="informational heads do not come for ever",
        wire=b"".join(answer(1, (b"a", b"b" * 16_000), status=103) for _ in range(17)),
        events=[StreamInformational(1, 103, [(b"a", b"b" * 16_000)])] * 16,
        error=f"headers longer than {MAX_LIST} bytes",
        code=ENHANCE_YOUR_CALM,
    ),
    Case(
        promise="there are not too many headers",
        wire=b"".join(
            [
                frame(HEADERS, 0, 1, block(STATUS, *[(b"a", b"")] * 1_000)),
                frame(CONTINUATION, END_HEADERS, 1, block(*[(b"a", b"")] * (MAX_HEADERS - 999))),
            ]
        ),
        error=f"more than {MAX_HEADERS} headers",
    ),
    Case(
        promise="there may be many headers",
        wire=b"".join(
            [
                frame(HEADERS, END_STREAM, 1, block(STATUS, *[(b"a", b"")] * 1_000)),
                frame(CONTINUATION, END_HEADERS, 1, block(*[(b"a", b"")] * (MAX_HEADERS - 1_000))),
            ]
        ),
        events=whole(*[(b"a", b"")] * MAX_HEADERS),
    ),
    Case(
        promise="priority of a wrong size concerns its stream",
        wire=frame(PRIORITY, 0, 1, bytes(4)),
        error="PRIORITY of a wrong size",
        code=6,
    ),
]


def play(case: Case, pieces: Iterable[bytes]) -> tuple[list[Event], Http2Connection]:
    """Feed the pieces to a connection that has asked twice, and has a neighbour for stream 1."""
    connection = connected()
    connection.start(
        request(case.method, target=b"/" if case.method != "CONNECT" else b"e.org:443"), end=True
    )
    asked(connection)
    events: list[Event] = []
    for piece in pieces:
        events += connection.receive(piece)
    return events, connection


def check(case: Case, pieces: Iterable[bytes]) -> None:
    """Hold what comes of a case to it; the neighbour is served in any case."""
    events, connection = play(case, pieces)
    if case.error is not None:
        failure = events.pop()
        assert isinstance(failure, StreamFailed)
        assert (1, False, False) == (failure.stream, failure.unprocessed, failure.refused)
        assert "RemoteProtocolError" == failure.failure.kind
        assert case.error in str(failure.failure)
        assert [Sent(RST_STREAM, 0, 1, NUMBER.pack(case.code))] == sent(connection)
    else:
        assert not connection.has_data_to_send

    assert list(case.events) == events
    assert connection.failure is None
    assert connection.open_streams == 1
    assert [StreamHead(3, 200, []), StreamEnd(3)] == connection.receive(answer(3, end=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.promise)
def test_in_one_piece(case: Case) -> None:
    """What the case promises, with all bytes at once."""
    check(case, [case.wire])


@pytest.mark.parametrize(
    "case", [case for case in CASES if len(case.wire) < 1_000], ids=lambda case: case.promise
)
def test_byte_by_byte(case: Case) -> None:
    """What the case promises, with each byte on its own."""
    check(case, [case.wire[at : at + 1] for at in range(len(case.wire))])


@given(case=st.sampled_from(CASES), seed=st.randoms(use_true_random=False))
def test_cut_anywhere(case: Case, seed: random.Random) -> None:
    """What the case promises, cut anywhere."""
    marks = sorted(seed.choices(range(len(case.wire) + 1), k=seed.randrange(8)))
    check(case, [case.wire[a:b] for a, b in zip([0, *marks], [*marks, len(case.wire)], strict=True)])


@pytest.mark.parametrize(
    "wire", [body(1, b"x"), body(1, end=True), answer(1), headers(1, (b"a", b"b"), end=True)]
)
def test_nothing_follows_the_end_of_an_answer(wire: bytes) -> None:
    """Behind END_STREAM comes nothing, even while the request goes on: STREAM_CLOSED, the answer stands."""
    connection = connected()
    connection.start(request("POST"), end=False)
    connection.data_to_send()
    connection.receive(answer(1, end=True))
    (event,) = connection.receive(wire)

    assert "StopSending" == type(event).__name__
    assert [Sent(RST_STREAM, 0, 1, NUMBER.pack(STREAM_CLOSED))] == sent(connection)
    assert connection.open_streams == 0


def test_a_pad_longer_than_its_frame_ends_the_connection() -> None:
    """What is padding and what is not cannot be told: PROTOCOL_ERROR (6.1)."""
    connection = connected()
    asked(connection)
    connection.receive(answer(1) + frame(DATA, PADDED, 1, b"\x04abc\0"[:4]))

    assert connection.failure is not None
    assert "more padding than there is payload" in str(connection.failure)
