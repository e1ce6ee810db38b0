"""What a server of HTTP/2 may do to those who ask it something: scenarios, by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeAlias

from hyperframe.frame import RstStreamFrame

from tests.differential.playing import Ask, Scenario, Story
from tests.support.scripted import Gate
from tests.support.scripted_http2 import (
    INITIAL_WINDOW_SIZE,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    Http2Peer,
    Http2Request,
    ScriptedHttp2,
    raw_frame,
)

# Plain clients take a body that gets no credit for an answer that does not come.
BOTH: Final = ("read", "write")
AFTER: Final = Ask(path="/after")
LONG: Final = bytes(1_000_000)
CODES: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip

Answer = Callable[[Http2Peer, Http2Request], Any]


def to(answer: Answer) -> Story:
    """Answer the first request so, and serve on."""

    def story(peer: Http2Peer) -> None:
        answer(peer, peer.read_request())

    return story


def corked(answer: Answer) -> Answer:
    """Send all of an answer in one piece: what clients make of it is no matter of what came first."""

    def whole(peer: Http2Peer, it: Http2Request) -> None:
        sent: list[bytes] = []
        send, close = peer.send, peer.close

        def flush() -> None:
            peer.send, peer.close = send, close  # type: ignore[method-assign]
            peer.send(b"".join(sent))

        def flush_and_close() -> NoReturn:
            flush()
            peer.close()

        peer.send, peer.close = sent.append, flush_and_close  # type: ignore[method-assign]
        answer(peer, it)
        flush()

    return whole


def headed(*pairs: tuple[str, str], data: bytes = b"ok") -> Answer:
    """Answer with a header block of exactly *pairs*, and a body."""

    def answer(peer: Http2Peer, it: Http2Request) -> None:
        peer.send(raw_frame(1, 4, it.stream, peer.encode(pairs)))
        peer.data(it, data, end=True)

    return answer


def framed(*frames: tuple[int, int, bytes], on: int | None = None, answers: bool = True) -> Answer:
    """Send frames of (kind, flags, body), on the request's stream or another, and then the answer."""

    def answer(peer: Http2Peer, it: Http2Request) -> None:
        for kind, flags, body in frames:
            peer.send(raw_frame(kind, flags, it.stream if on is None else on, body))
        if answers:
            peer.answer(it)

    return answer


OK: Final = (":status", "200")

ANSWERS: Final[dict[str, Answer]] = {
    "plain": lambda peer, it: peer.answer(it),
    "no body": lambda peer, it: peer.answer(it, b""),
    "204": lambda peer, it: peer.head(it, status=204, end=True),
    "304": lambda peer, it: peer.head(it, ("content-length", "5"), status=304, end=True),
    "599": lambda peer, it: peer.answer(it, status=599),
    "100": lambda peer, it: [peer.head(it, status=100), peer.answer(it)],
    "103": lambda peer, it: [peer.head(it, ("link", "</a>"), status=103), peer.answer(it)],
    "103 that ends": lambda peer, it: peer.head(it, status=103, end=True),
    "101": lambda peer, it: [peer.head(it, status=101), peer.answer(it)],
    "trailers": lambda peer, it: [
        peer.head(it), peer.body(it, b"ok", end=False), peer.head(it, ("x-sum", "2"), status=None, end=True)
    ],
    "trailers that do not end": lambda peer, it: [
        peer.head(it), peer.body(it, b"ok", end=False), peer.head(it, ("x-sum", "2"), status=None)
    ],
    "trailers with a status": lambda peer, it: [
        peer.head(it), peer.body(it, b"ok", end=False), peer.head(it, status=200, end=True)
    ],
    "two heads": lambda peer, it: [peer.head(it), peer.head(it, status=200, end=True)],
    "data first": lambda peer, it: [peer.data(it, b"ok"), peer.answer(it)],
    "data after the end": lambda peer, it: [peer.answer(it), peer.data(it, b"more")],
    "the right length": headed(OK, ("content-length", "2")),
    "more than its length": headed(OK, ("content-length", "1")),
    "less than its length": headed(OK, ("content-length", "3")),
    "two lengths": headed(OK, ("content-length", "2"), ("content-length", "2")),
    "lengths that differ": headed(OK, ("content-length", "2"), ("content-length", "3")),
    "no number as length": headed(OK, ("content-length", "two")),
    "no status": headed(("x", "y")),
    "two statuses": headed(OK, (":status", "404")),
    "a status of words": headed((":status", "fine")),
    "a status of two digits": headed((":status", "20")),
    "a status of four digits": headed((":status", "2000")),
    "status last": headed(("x", "y"), OK),
    "a pseudo-header of requests": headed(OK, (":path", "/")),
    "an unknown pseudo-header": headed(OK, (":what", "x")),
    "an upper-case name": headed(OK, ("X-Upper", "y")),
    "no name": headed(OK, ("", "y")),
    "a bad name": headed(OK, ("x y", "z")),
    "connection": headed(OK, ("connection", "close")),
    "keep-alive": headed(OK, ("keep-alive", "timeout=5")),
    "transfer-encoding": headed(OK, ("transfer-encoding", "chunked")),
    "te": headed(OK, ("te", "trailers")),
    "NUL in a value": headed(OK, ("x", "a\0b")),
    "a line break in a value": headed(OK, ("x", "a\r\nb: c")),
    "spaces around a value": headed(OK, ("x", " a ")),
    "cookies": headed(OK, ("set-cookie", "a=1"), ("set-cookie", "b=2")),
    "UTF-8": headed(OK, ("x", "\u20ac")),
    "a header of 15 KB": headed(OK, ("x", "y" * 15_000)),
    "300 headers": headed(OK, *[(f"x-{number}", "y") for number in range(300)]),
}  # fmt: skip


def continued(peer: Http2Peer, it: Http2Request) -> None:
    """Send the head in pieces."""
    block = peer.encode([OK, ("x", "y")])
    pieces = [block[:1], b"", block[1:2], block[2:]]
    peer.send(raw_frame(1, 0, it.stream, pieces[0]))
    for piece in pieces[1:-1]:
        peer.send(raw_frame(9, 0, it.stream, piece))
    peer.send(raw_frame(9, 4, it.stream, pieces[-1]))
    peer.data(it, b"ok", end=True)


def padded(peer: Http2Peer, it: Http2Request) -> None:
    """Pad everything."""
    peer.send(raw_frame(1, 4 | 8, it.stream, b"\5" + peer.encode([OK]) + bytes(5)))
    peer.send(raw_frame(0, 1 | 8, it.stream, b"\xffok" + bytes(255)))


def prioritised(peer: Http2Peer, it: Http2Request) -> None:
    """Say of a head what nobody uses any more."""
    peer.send(raw_frame(1, 4 | 32, it.stream, bytes(5) + peer.encode([OK])))
    peer.data(it, b"ok", end=True)


FRAMES: Final[dict[str, Answer]] = {
    "CONTINUATION": continued,
    "padding": padded,
    "priority on HEADERS": prioritised,
    "padding longer than its frame": framed((0, 8, b"\xffok"), answers=False),
    "PRIORITY": framed((2, 0, bytes(4) + b"\x10")),
    "PRIORITY of itself": framed((2, 0, (1).to_bytes(4) + b"\x10")),
    "unknown kind": framed((99, 255, b"unknown")),
    "unknown kind on 0": framed((99, 255, b"unknown"), on=0),
    "ALTSVC": framed((10, 0, b"\0\0h2=x"), on=1),
    "ORIGIN": framed((12, 0, b"\0\6http:a"), on=0),
    "PING": framed((6, 0, bytes(8)), on=0),
    "100 PINGs": framed(*[(6, 0, bytes(8))] * 100, on=0),
    "PING on a stream": framed((6, 0, bytes(8))),
    "PING of 7 bytes": framed((6, 0, bytes(7)), on=0),
    "PING acknowledged that was not sent": framed((6, 1, bytes(8)), on=0),
    "empty DATA 50 times": lambda peer, it: [
        peer.head(it), peer.send(raw_frame(0, 0, it.stream) * 50), peer.data(it, b"ok", end=True)
    ],
    "DATA on 0": framed((0, 0, b"x"), on=0),
    "DATA on an idle stream": framed((0, 0, b"x"), on=99),
    "HEADERS on 0": framed((1, 4, b"\x88"), on=0),
    "HEADERS on 2": framed((1, 4, b"\x88"), on=2),
    "HEADERS on an idle stream": framed((1, 4, b"\x88"), on=99),
    "CONTINUATION without HEADERS": framed((9, 4, b"\x88")),
    "HEADERS, then PING": framed((1, 0, b"\x88"), (6, 0, bytes(8)), answers=False),
    "bad HPACK": framed((1, 4, b"\xff" * 20), answers=False),
    "PUSH_PROMISE": lambda peer, it: [peer.push(it), peer.answer(it)],
    "RST_STREAM on 0": framed((3, 0, bytes(4)), on=0),
    "RST_STREAM on an idle stream": framed((3, 0, bytes(4)), on=99),
    "RST_STREAM of 3 bytes": framed((3, 0, bytes(3)), answers=False),
    "WINDOW_UPDATE of 0": framed((8, 0, bytes(4)), answers=False),
    "WINDOW_UPDATE of 0 on 0": framed((8, 0, bytes(4)), on=0),
    "WINDOW_UPDATE too large": framed(*[(8, 0, (2**31 - 1).to_bytes(4))] * 2, answers=False),
    "WINDOW_UPDATE too large on 0": framed(*[(8, 0, (2**31 - 1).to_bytes(4))] * 2, on=0),
    "WINDOW_UPDATE on an idle stream": framed((8, 0, (1).to_bytes(4)), on=99),
    "SETTINGS on a stream": framed((4, 0, b"")),
    "SETTINGS cut": framed((4, 0, b"\0\3\0"), on=0),
    "SETTINGS acknowledged with a body": framed((4, 1, bytes(6)), on=0),
    "SETTINGS unknown": framed((4, 0, b"\0\x63" + bytes(4)), on=0),
    "SETTINGS with a window of 2^31": framed((4, 0, b"\0\4\x80" + bytes(3)), on=0),
    "SETTINGS with frames of 1": framed((4, 0, b"\0\5\0\0\0\1"), on=0),
    "SETTINGS with push": framed((4, 0, b"\0\2\0\0\0\1"), on=0),
    "SETTINGS with push of 2": framed((4, 0, b"\0\2\0\0\0\2"), on=0),
    "SETTINGS with a table of 0": framed((4, 0, b"\0\1" + bytes(4)), on=0),
    "SETTINGS with headers of 1 byte": framed((4, 0, b"\0\6\0\0\0\1"), on=0),
    "SETTINGS 20 times": framed(*[(4, 0, b"")] * 20, on=0),
    "a frame of 17 KB": lambda peer, it: [peer.head(it), peer.data(it, bytes(17_000), end=True)],
    "HTTP/1.1": lambda peer, _: peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
}  # fmt: skip


def hangs_up(peer: Http2Peer) -> None:
    """Send FIN and listen: a close with something unread, like the ACK that is on its way, is told by RST."""
    peer.half_close()
    peer.listen()


GOAWAYS: Final[dict[str, Answer]] = {
    "this one, then its answer": lambda peer, it: [peer.goaway(it), peer.answer(it)],
    "all, then this one, then its answer": lambda peer, it: [
        peer.goaway(LAST_STREAM), peer.goaway(it), peer.answer(it)
    ],
    "after the answer": lambda peer, it: [peer.answer(it), peer.goaway(it)],
    "after the answer, and FIN": lambda peer, it: [peer.answer(it), peer.goaway(it), peer.close()],
    "in the answer": lambda peer, it: [
        peer.head(it), peer.body(it, b"o", end=False), peer.goaway(it), peer.body(it, b"k")
    ],
    "0": lambda peer, _: peer.goaway(0),
    "0, and FIN": lambda peer, _: [peer.goaway(0), peer.close()],
    "0 with an error": lambda peer, _: [peer.goaway(0, 2), hangs_up(peer)],
    "this one with an error": lambda peer, it: [peer.goaway(it, 2), hangs_up(peer)],
    "this one, and FIN": lambda peer, it: [peer.goaway(it), hangs_up(peer)],
    "calm": lambda peer, it: [peer.goaway(it, 11, b"too_many_pings"), hangs_up(peer)],
    "growing": lambda peer, it: [peer.goaway(it), peer.goaway(LAST_STREAM), peer.answer(it)],
}  # fmt: skip


def refuses(times: int) -> Story:
    """Refuse so many requests of a connection."""

    def story(peer: Http2Peer) -> None:
        for _ in range(times):
            peer.refuse(peer.read_request())

    return story


IDLE: Final[dict[str, Story]] = {
    "FIN": lambda peer: peer.close(),
    "RST": lambda peer: peer.reset(),
    "half-close": lambda peer: peer.half_close(),
    "GOAWAY": lambda peer: peer.goaway(1),
    "GOAWAY and FIN": lambda peer: [peer.goaway(1), peer.close()],
    "PING": lambda peer: peer.ping(),
    "SETTINGS": lambda peer: peer.settings({MAX_CONCURRENT_STREAMS: 1}),
    "no streams, then one": lambda peer: [
        peer.settings({MAX_CONCURRENT_STREAMS: 0}), peer.settings({MAX_CONCURRENT_STREAMS: 1})
    ],
    "a breach": lambda peer: peer.send(raw_frame(0, 0, 0, b"x")),
}  # fmt: skip


def greets(*settings: dict[int, int] | None) -> Story:
    """Send these SETTINGS first."""

    def story(peer: Http2Peer) -> None:
        peer.greet(settings[0])
        for more in settings[1:]:
            assert more is not None
            peer.settings(more)

    return story


GREETINGS: Final[dict[str, Story]] = {
    "empty": greets({}),
    "one stream": greets({MAX_CONCURRENT_STREAMS: 1}),
    "two, then one": greets({MAX_CONCURRENT_STREAMS: 2}, {MAX_CONCURRENT_STREAMS: 1}),
    "one, then a thousand": greets({MAX_CONCURRENT_STREAMS: 1}, {MAX_CONCURRENT_STREAMS: 1000}),
    "no window, then some": greets({INITIAL_WINDOW_SIZE: 0}, {INITIAL_WINDOW_SIZE: 65535}),
}


def behaves(_: Http2Peer) -> None:
    """Answer whatever comes."""


def early(peer: Http2Peer, it: Http2Request) -> None:
    """Answer in full before the body is there, and stop it."""
    peer.answer(it, b"too long", status=413)
    peer.reset_stream(it, NO_ERROR)


def early_and_waits(peer: Http2Peer, it: Http2Request) -> None:
    """Answer in full before the body is there, and give no credit until the client gives up."""
    peer.answer(it, b"too long", status=413)
    peer.want(RstStreamFrame, stream=it.stream)


def late_credit(peer: Http2Peer, it: Http2Request) -> None:
    """Give credit when the windows are used up."""
    peer.read_body(it, at_least=65535)
    peer.gives_credit = True
    peer.send(raw_frame(8, 0, 0, (2_000_000).to_bytes(4)))
    peer.send(raw_frame(8, 0, it.stream, (2_000_000).to_bytes(4)))
    peer.read_body(it)
    peer.answer(it)


def without_credit(then: Answer) -> Story:
    """Read no more of a body than the first windows allow, and answer so."""

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        then(peer, peer.read_head())

    return story


UPLOADS: Final[dict[str, tuple[Story, Ask]]] = {
    "whole": (behaves, Ask("POST", body=b"body")),
    "parts": (behaves, Ask("POST", body=(b"one", b"", b"two"))),
    "long": (behaves, Ask("POST", body=LONG)),
    "an early answer, then NO_ERROR": (without_credit(early), Ask("POST", body=LONG, waits=BOTH)),
    "an early answer, no credit": (
        without_credit(early_and_waits), Ask("POST", body=LONG, waits=BOTH)
    ),
    "no credit": (
        without_credit(lambda peer, it: peer.want(RstStreamFrame, stream=it.stream)),
        Ask("POST", body=LONG, waits=BOTH),
    ),
    "late credit": (without_credit(late_credit), Ask("POST", body=LONG)),
    "refused": (refuses(1), Ask("POST", body=b"body")),
    "refused, in parts": (refuses(1), Ask("POST", body=(b"one", b"two"))),
    "too short": (behaves, Ask("POST", body=(b"ab",), extra={"headers": {"content-length": "5"}})),
    "too long": (behaves, Ask("POST", body=(b"abc",), extra={"headers": {"content-length": "2"}})),
}  # fmt: skip

STALLS: Final[dict[str, Answer]] = {
    "before the head": lambda peer, _: peer.wait(Gate()),
    "after 103": lambda peer, it: [peer.head(it, status=103), peer.wait(Gate())],
    "after the head": lambda peer, it: [peer.head(it), peer.wait(Gate())],
    "in the body": lambda peer, it: [peer.head(it), peer.body(it, b"o", end=False), peer.wait(Gate())],
    "in a block": lambda peer, it: [peer.send(raw_frame(1, 0, it.stream, b"\x88")), peer.wait(Gate())],
}


def silent(peer: Http2Peer) -> None:
    """Never send SETTINGS."""
    peer.greet(None)
    peer.listen()


Named: TypeAlias = Iterator[tuple[str, Scenario]]


def made(story: Story | None, *asks: Ask, **more: Any) -> Scenario:
    """Make a scenario of one story and some requests, or of two."""
    stories = (story,) if story else ()
    return Scenario(stories=stories, asks=asks or (Ask(), AFTER), kind=ScriptedHttp2, **more)


def answers() -> Named:
    """Answers and frames, right and wrong."""
    for group, table in {"answer": ANSWERS, "frames": FRAMES}.items():
        for name, answer in table.items():
            ask = Ask(waits=("read",)) if name == "HTTP/1.1" else Ask()
            yield f"{group}: {name}", made(to(corked(answer)), ask, AFTER)
    for name, answer in GOAWAYS.items():
        yield f"GOAWAY: {name}", made(to(corked(answer)))
    yield "answer: long", made(to(lambda peer, it: peer.answer(it, LONG)))
    yield "HEAD: no body", made(to(ANSWERS["no body"]), Ask("HEAD"), AFTER)
    yield "HEAD: a length", made(to(ANSWERS["304"]), Ask("HEAD"), AFTER)
    yield "HEAD: a body", made(to(corked(ANSWERS["plain"])), Ask("HEAD"), AFTER)
    yield "closed early", made(to(lambda peer, it: peer.answer(it, LONG)), Ask(first=1), AFTER)


def resets(code: int, *, in_body: bool) -> Answer:
    """Reset the stream, before the head or in the body."""

    def answer(peer: Http2Peer, it: Http2Request) -> None:
        if in_body:
            peer.head(it)
            peer.body(it, b"o", end=False)
        peer.reset_stream(it, code)

    return answer


def cuts() -> Named:
    """Streams that are reset."""
    for code, name in enumerate(CODES):
        yield f"RST_STREAM: {name}", made(to(resets(code, in_body=False)))
        yield f"RST_STREAM in the body: {name}", made(to(resets(code, in_body=True)))
    late = to(lambda peer, it: [peer.answer(it), peer.reset_stream(it, NO_ERROR)])
    yield "RST_STREAM: after the answer", made(late)
    yield "REFUSED_STREAM: again and again", made(refuses(20))


def ends() -> Named:
    """Connections that end, or are silent."""
    for method in ("GET", "POST"):
        for name, story in IDLE.items():
            broken = name in {"FIN", "RST", "half-close", "GOAWAY and FIN"}
            asks = (Ask(), Ask(method, "/after"))
            yield f"{method} after idle: {name}", made(None, *asks, news=story, broken=broken)
        for what in ("close", "reset", "half_close"):
            gone = to(lambda peer, _, what=what: getattr(peer, what)())
            yield f"{method}: {what}", made(gone, Ask(method), AFTER, broken=True)
    for what in ("close", "reset"):
        unseen = lambda peer, what=what: [peer.greet(None), getattr(peer, what)()]  # noqa: E731
        yield f"at once: {what}", made(unseen, broken=True)
    cut = to(lambda peer, it: [peer.head(it), peer.body(it, b"o", end=False), peer.close()])
    yield "in the body: close", made(cut, broken=True)  # what the client says meanwhile is answered by a RST
    for name, answer in STALLS.items():
        yield f"stalled: {name}", made(to(answer), Ask(waits=("read",)))
    yield "stalled: no SETTINGS", made(silent, Ask(waits=("read",)))


def requests() -> Named:
    """Requests with a body, under each SETTINGS."""
    for name, story in GREETINGS.items():
        yield f"SETTINGS first: {name}", made(story, Ask("POST", body=b"body"), AFTER)
    for name, (story, ask) in UPLOADS.items():
        yield f"upload: {name}", made(story, ask, AFTER)


SCENARIOS: Final = dict(itertools.chain(answers(), cuts(), ends(), requests()))
