"""One conformance suite for HTTP/1.1 answers, over both parsers and however the bytes are cut."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable

import attrs
import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager.core.http1 import MAX_HEAD, End, Event, Head, Http1Connection, Switched, parse_head
from pool_manager.core.http1_answers import (
    BLANK_LINE,
    MAX_HEADERS,
    ParseHead,
    facts_of,
    parse_with_h11,
)
from pool_manager.core.http1_bodies import MAX_CHUNK_LINE
from pool_manager.core.messages import Headers, TransportFailure
from tests.support.http1 import (
    ANSWERS,
    CHUNKED,
    CHUNKED_OK,
    FAILURES,
    OK,
    UPGRADE,
    Case,
    head,
    length,
    request,
)

PARSERS: list[ParseHead] = [parse_with_h11]
try:
    from pool_manager.core.http1_httptools import parse_with_httptools
except ImportError:
    pass
else:
    PARSERS.append(parse_with_httptools)


@pytest.fixture(params=PARSERS, ids=lambda parse: parse.__name__.removeprefix("parse_with_"))
def parse(request: pytest.FixtureRequest) -> ParseHead:
    """Give each parser."""
    chosen: ParseHead = request.param
    return chosen


def asked(parse: ParseHead, method: str = "GET", *headers: tuple[bytes, bytes]) -> Http1Connection:
    """Give a connection that waits for its answer."""
    connection = Http1Connection(parse)
    connection.start(request(method, *headers))
    connection.end_of_body()
    return connection


def received(connection: Http1Connection, data: bytes) -> list[Event]:
    """Give the events that *data* makes; raise the failure that is the last of them."""
    events = connection.receive(data)
    if events and isinstance(events[-1], TransportFailure):
        raise events[-1]
    return events


def merged(events: Iterable[Event]) -> list[Event]:
    """Join neighbouring parts of a body: where it was cut is nobody's business."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += event
        elif isinstance(event, Switched) and not event.data:
            result.append(b"")
        elif isinstance(event, Switched):
            result.append(event.data)
        else:
            result.append(event)
    return result


CASES = ANSWERS + FAILURES


@attrs.frozen
class Outcome:
    """What came of a case."""

    events: list[Event]
    error: str | None
    idle: bool


def play(parse: ParseHead, case: Case, pieces: Iterable[bytes]) -> Outcome:
    """Feed the pieces of a case to a new connection."""
    connection = asked(parse, case.method, *case.asking)
    events: list[Event] = []
    try:
        for piece in pieces:
            events += connection.receive(piece)
            if events and isinstance(events[-1], TransportFailure):
                raise events.pop()  # type: ignore[misc]  # the last one
        if case.eof:
            events += connection.receive_eof()
    except TransportFailure as failure:
        return Outcome(events, f"{failure.kind}: {failure}", connection.is_idle)
    return Outcome(merged(events), None, connection.is_idle)


def heads(outcome: Outcome) -> list[Event]:
    """Give the head of the answer, if it was told."""
    return [event for event in outcome.events if isinstance(event, Head)]


def check(parse: ParseHead, case: Case, pieces: Iterable[bytes]) -> None:
    """Hold an outcome to its case."""
    outcome = play(parse, case, pieces)

    assert case.reusable == outcome.idle
    if case.error is None:
        assert (None, case.events) == (outcome.error, outcome.events)
    else:
        assert outcome.error is not None
        assert outcome.error.startswith("RemoteProtocolError")
        assert case.error in outcome.error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.promise)
def test_in_one_piece(parse: ParseHead, case: Case) -> None:
    """What the case promises, with all bytes at once."""
    check(parse, case, [case.wire] if case.wire else [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.promise)
def test_byte_by_byte(parse: ParseHead, case: Case) -> None:
    """What the case promises, with each byte on its own."""
    check(parse, case, [case.wire[at : at + 1] for at in range(len(case.wire))])


@given(case=st.sampled_from(CASES), seed=st.randoms(use_true_random=False), which=st.sampled_from(PARSERS))
def test_cut_anywhere(case: Case, seed: random.Random, which: ParseHead) -> None:
    """What the case promises, cut anywhere; errors are in the same words, and behind the same head."""
    marks = sorted(seed.choices(range(len(case.wire) + 1), k=seed.randrange(8)))
    pieces = [case.wire[start:end] for start, end in zip([0, *marks], [*marks, len(case.wire)], strict=True)]

    check(which, case, pieces)
    whole, cut = play(PARSERS[0], case, [case.wire]), play(which, case, pieces)
    assert whole.error == cut.error
    assert heads(whole) == heads(cut)


# One exchange after the other


def is_idle(connection: Http1Connection) -> bool:
    """Ask anew: a type checker takes a property for a constant."""
    return connection.is_idle


def standing(connection: Http1Connection) -> tuple[bool, bool, float | None]:
    """Tell how an exchange stands."""
    return connection.is_idle, connection.request_written, connection.keep_alive_timeout


def test_next_request_starts_afresh(parse: ParseHead) -> None:
    """Nothing of an exchange is left for the next one."""
    connection = asked(parse, "HEAD")
    connection.receive(OK + b"Content-Length: 5\r\nKeep-Alive: timeout=7\r\n\r\n")
    assert standing(connection) == (True, True, 7)

    connection.start(request())

    assert standing(connection) == (False, False, None)
    connection.end_of_body()
    events = connection.receive(OK + b"Content-Length: 5\r\n\r\nhello")
    assert [head(200, length(5)), b"hello", End()] == events
    assert connection.is_idle


def test_an_offer_holds_for_one_request(parse: ParseHead) -> None:
    """A server may not take up what an earlier request offered."""
    connection = asked(parse, "GET", *UPGRADE)
    connection.receive(OK + b"Content-Length: 0\r\n\r\n")
    connection.start(request())
    connection.end_of_body()

    with pytest.raises(TransportFailure, match="not asked for"):
        connection.receive(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")


@pytest.mark.parametrize("stray", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\r\n", b"\0", OK])
def test_idle_connections_listen_to_nobody(parse: ParseHead, stray: bytes) -> None:
    """Whatever comes between two exchanges makes the connection useless, and is given to nobody."""
    connection = asked(parse)
    connection.receive(OK + b"Content-Length: 0\r\n\r\n")
    assert is_idle(connection)

    assert connection.receive(stray) == []

    assert not connection.is_idle
    with pytest.raises(TransportFailure, match="not idle"):
        connection.start(request())


def test_servers_do_not_speak_first(parse: ParseHead) -> None:
    """A connection on which the server spoke before it was asked is useless."""
    connection = Http1Connection(parse)
    assert is_idle(connection)

    assert connection.receive(b"220 smtp.example.org") == []

    assert not connection.is_idle


def test_idle_connections_end_quietly(parse: ParseHead) -> None:
    """A server may close an idle connection; that is no error."""
    connection = asked(parse)
    connection.receive(OK + b"Content-Length: 0\r\n\r\n")

    assert connection.receive_eof() == []

    assert not connection.is_idle
    assert not connection.is_reusable


def test_one_exchange_at_a_time(parse: ParseHead) -> None:
    """Requests are not sent before the last answer is complete."""
    connection = asked(parse)
    with pytest.raises(TransportFailure, match="not idle"):
        connection.start(request())
    connection.receive(OK + b"Content-Length: 5\r\n\r\nhell")
    with pytest.raises(TransportFailure, match="not idle") as caught:
        connection.start(request())
    assert caught.value.kind == "LocalProtocolError"

    assert connection.receive(b"o") == [b"o", End()]


def test_broken_connections_stay_silent(parse: ParseHead) -> None:
    """After an error nothing more is reported, and nothing can be started."""
    connection = asked(parse)
    with pytest.raises(TransportFailure):
        connection.receive(b"\0")

    assert connection.receive(OK + b"\r\n") == []
    assert connection.receive_eof() == []
    assert not connection.is_reusable


def test_switched_connections_pass_bytes_on(parse: ParseHead) -> None:
    """After a switch bytes are passed on as they come, until the server closes."""
    connection = asked(parse, "GET", *UPGRADE)
    connection.receive(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    assert connection.receive(OK) == [OK]
    assert connection.receive_eof() == []
    assert not connection.is_idle
    assert not connection.is_reusable


def test_early_answers_wait_for_the_request(parse: ParseHead) -> None:
    """A connection whose answer came early is idle once the request is written, and not before."""
    connection = Http1Connection(parse)
    connection.start(request("POST", length(5)))
    connection.send_body(b"he")
    connection.receive(OK + b"Content-Length: 0\r\n\r\n")
    assert not connection.is_idle
    assert not connection.is_reusable
    connection.send_body(b"llo")
    assert not connection.is_idle

    connection.end_of_body()

    assert is_idle(connection)


def test_tells_what_is_left(parse: ParseHead) -> None:
    """What is left of a body is known if its length was told."""
    connection = asked(parse)
    left = []
    for piece in b"", OK + b"Content-Length: 5\r\n\r\nhe", b"l", b"lo":
        connection.receive(piece)
        left.append(connection.body_left)

    assert [None, 3, 2, None] == left
    connection = asked(parse)
    connection.receive(CHUNKED_OK)
    assert connection.body_left is None


def test_tells_early_that_reading_on_is_vain(parse: ParseHead) -> None:
    """While a body is read, it is known whether the connection may serve again."""
    connection = asked(parse)
    connection.receive(CHUNKED_OK)
    assert connection.is_reusable
    assert not connection.is_idle
    connection = asked(parse)
    connection.receive(OK + b"\r\n")
    assert not connection.is_reusable


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"timeout=5, max=100", 5),
        (b"max=100,TIMEOUT=60", 60),
        (b"timeout = 0", 0),
        (b"max=5", None),
        (b"timeout=x", None),
        (b"timeout=-5", None),
        (b"timeout=1234567890", None),
        (b"notimeout=5", None),
        (b"", None),
    ],
)
def test_keep_alive_timeout(parse: ParseHead, value: bytes, seconds: float | None) -> None:
    """The server's own idle timeout is known, where it makes sense."""
    connection = asked(parse)

    connection.receive(OK + b"Content-Length: 0\r\nKeep-Alive: " + value + b"\r\n\r\n")

    assert connection.keep_alive_timeout == seconds


def test_big_bodies_are_not_copied(parse: ParseHead) -> None:
    """What lies inside a body, or inside one chunk, is passed on as the object that came."""
    part = bytes(70_000)
    for framing in b"Content-Length: 200000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n30d40\r\n", b"\r\n":
        connection = asked(parse)
        connection.receive(OK + framing)

        (event,) = connection.receive(part)

        assert part is event


# Limits


def padded(size: int) -> bytes:
    """Make a head of exactly that size."""
    start = OK + b"Content-Length: 0\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_heads_have_a_limit(parse: ParseHead) -> None:
    """A head of the greatest size passes, and one byte more does not."""
    assert len(asked(parse).receive(padded(MAX_HEAD))) == 2
    with pytest.raises(TransportFailure, match="headers longer than"):
        asked(parse).receive(padded(MAX_HEAD + 1))
    connection = asked(parse)
    connection.receive(padded(MAX_HEAD + 1)[:MAX_HEAD])
    with pytest.raises(TransportFailure, match="headers longer than"):
        connection.receive(b"x")


def test_limits_are_those_of_an_exchange(parse: ParseHead) -> None:
    """Heads of the greatest size may follow one another."""
    connection = Http1Connection(parse)
    for _ in range(3):
        connection.start(request())
        connection.end_of_body()
        assert len(connection.receive(padded(MAX_HEAD))) == 2


def test_informational_answers_have_a_limit(parse: ParseHead) -> None:
    """A server may not say 100 for ever."""
    with pytest.raises(TransportFailure, match="headers longer than"):
        asked(parse).receive(b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000)


def test_headers_have_a_limit(parse: ParseHead) -> None:
    """As many headers as allowed pass, and one more does not."""
    many = OK + b"Content-Length: 0\r\n" + b"a: b\r\n" * (MAX_HEADERS - 1)
    assert len(asked(parse).receive(many + b"\r\n")) == 2
    with pytest.raises(TransportFailure, match="more than 2000 headers"):
        asked(parse).receive(many + b"a: b\r\n\r\n")


def test_chunk_headers_have_a_limit(parse: ParseHead) -> None:
    """A chunk's line of the greatest length passes, and one byte more does not, nor waits for an end."""
    line = b"0;" + b"x" * (MAX_CHUNK_LINE - 2)
    assert asked(parse).receive(CHUNKED_OK + line + b"\r\n\r\n")[1:] == [End()]
    connection = asked(parse)
    connection.receive(CHUNKED_OK + line + b"\r")
    assert connection.receive(b"\n\r\n") == [End()]
    with pytest.raises(TransportFailure, match="chunk header longer than"):
        received(asked(parse), CHUNKED_OK + line + b"x\r\n\r\n")
    with pytest.raises(TransportFailure, match="chunk header longer than"):
        received(asked(parse), CHUNKED_OK + line + b"xx")


def test_trailers_have_a_limit(parse: ParseHead) -> None:
    """Trailers are no way around the limit of heads."""
    connection = asked(parse)
    connection.receive(CHUNKED_OK + b"0\r\n" + b"x: y\r\n" * 10_000)
    with pytest.raises(TransportFailure, match="trailers longer than"):
        connection.receive(b"x: y\r\n" * 10_000)
    with pytest.raises(TransportFailure, match="more than 2000 headers"):
        received(asked(parse), CHUNKED_OK + b"0\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1) + b"\r\n")


# Against h11 and against one another

TOKENS = st.text("!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz", min_size=1, max_size=12).map(str.encode)
FRAMING = {b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"host", b"upgrade"}
NAMES = TOKENS.filter(lambda name: name.lower() not in FRAMING)
VALUES = st.binary(max_size=20).map(lambda value: value.translate(None, b"\0\r\n\v\f").strip())
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
PARTS = st.lists(st.binary(max_size=50), max_size=6)


@attrs.frozen
class Served:
    """What a server is given to serialise."""

    status: int
    reason: bytes
    headers: Headers
    parts: list[bytes]
    trailers: Headers | None

    def wire(self, server: h11.Connection) -> bytes:
        """Let h11 serialise it."""
        response = h11.Response(status_code=self.status, reason=self.reason, headers=self.framed())
        parts = [h11.Data(data=part) for part in self.parts]
        end = h11.EndOfMessage(headers=self.trailers or [])
        return b"".join(server.send(event) or b"" for event in [response, *parts, end])

    def framed(self) -> Headers:
        """Give the headers with the framing that suits."""
        told = length(len(b"".join(self.parts)))
        return [*self.headers, told if self.trailers is None else CHUNKED]


SERVED = st.builds(
    Served,
    status=st.integers(200, 999).filter(lambda status: status not in {204, 304}),
    reason=VALUES,
    headers=HEADERS,
    parts=PARTS,
    trailers=st.none() | HEADERS,
)


@given(served=SERVED, which=st.sampled_from(PARSERS), at=st.integers(0, 400))
def test_reads_what_h11_serves(served: Served, which: ParseHead, at: int) -> None:
    """What h11 serialises as a server comes out as it went in."""
    server = h11.Connection(h11.SERVER)
    connection = Http1Connection(which)
    server.receive_data(connection.start(request()) + connection.end_of_body())
    assert isinstance(server.next_event(), h11.Request)
    wire = served.wire(server)

    events = merged(connection.receive(wire[:at]) + connection.receive(wire[at:]))

    body = b"".join(served.parts)
    expected = Head(served.status, served.reason, served.framed(), b"HTTP/1.1")
    assert [expected, *filter(None, [body]), End(tuple(served.trailers or ()))] == events
    assert connection.is_idle


FRAGMENTS = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b": ", b",", b"\0", b"\x01", b"\v", b"\x7f", b"\xff"),
        *(b"HTTP/1.1", b"HTTP/1.0", b"200", b"101", b"103", b"099", b"OK", b"A", b"X: y\r\n", b"X: y\n"),
        *(b"Content-Length: 5\r\n", b"Content-Length", b"5", b"-", b"99999999999999999999", b"upgrade\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding", b"Chunked", b"Connection: ", b"close"),
    ]
)
STARTS = st.sampled_from([OK, b"HTTP/1.1 ", b"HTTP/1.1 200", b"HTTP/1.0 101 X\r\nUpgrade: y\r\n", b"HTTP/1."])
HEADS = st.builds(lambda start, rest: start + b"".join(rest), STARTS, st.lists(FRAGMENTS, max_size=12))


def verdict(which: ParseHead, wire: bytes) -> tuple[Head, object] | str:
    """Give what a parser makes of a head, or what it says against it."""
    try:
        parsed = which(wire)
        return parsed, facts_of(parsed.headers)
    except TransportFailure as failure:
        return str(failure)


@given(start=HEADS, end=st.sampled_from([b"\r\n\r\n", b"\n\n", b"\n\r\n"]))
def test_parsers_agree(start: bytes, end: bytes) -> None:
    """Both parsers take the same heads for the same, and refuse the others in the same words."""
    blank = BLANK_LINE.search(start + end)
    assert blank is not None
    wire = blank.string[: blank.end()]

    assert len({repr(verdict(which, wire)) for which in PARSERS}) == 1


@given(
    method=st.sampled_from(["GET", "HEAD", "CONNECT"]),
    start=st.sampled_from([b"", OK, CHUNKED_OK, CHUNKED_OK + b"0\r\n", OK + b"Content-Length: 3\r\n\r\n"]),
    pieces=st.lists(st.binary(max_size=30) | HEADS | FRAGMENTS, max_size=6),
    which=st.sampled_from(PARSERS),
    eof=st.booleans(),
)
def test_nothing_but_failures(
    method: str, start: bytes, pieces: list[bytes], which: ParseHead, eof: bool
) -> None:
    """No bytes raise anything but `TransportFailure`, and after one the connection is useless."""
    connection = asked(which, method, *UPGRADE)
    try:
        for piece in [start, *pieces]:
            connection.receive(piece)
        if eof:
            connection.receive_eof()
            assert not connection.is_idle
    except TransportFailure:
        assert not connection.is_idle
        assert not connection.is_reusable


@pytest.mark.parametrize("before", [b"", b"a"], ids=["blanks alone", "behind a value"])
@pytest.mark.parametrize("forbidden", [b"\0", b"\v", b"\f", b"\ra"])
def test_blanks_before_what_is_refused_cost_no_time(
    parse: ParseHead, forbidden: bytes, before: bytes
) -> None:
    """However many there are, the parser is given one: it would look at each from each."""
    line = b"a:" + before + b" \t" * (MAX_HEAD // 2 - 100) + forbidden
    with pytest.raises(TransportFailure, match="illegal header line") as refused:
        asked(parse).receive(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
    assert len(str(refused.value)) < 100


def test_the_faster_parser_is_the_default() -> None:
    """Where httptools is installed, it is used."""
    assert parse_head is PARSERS[-1]


def test_httptools_is_not_needed() -> None:
    """Where httptools is not installed, h11 is used."""
    code = (
        "import sys; sys.modules['httptools'] = None\n"
        "from pool_manager.core.http1 import parse_head; print(parse_head.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "parse_with_h11\n"
