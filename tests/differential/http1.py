"""What a server of HTTP/1.1 may do to those who ask it something: scenarios, by name."""

from __future__ import annotations

import gzip
import itertools
import operator
import zlib
from collections.abc import Iterator
from typing import Final, TypeAlias

from tests.differential.playing import Ask, Scenario, Story
from tests.support.scripted import Gate
from tests.support.scripted_http1 import CONTINUE, OK, Http1Peer, response

AFTER: Final = Ask(path="/after")
LONG: Final = bytes(8_000_000)  # more than the kernel takes off our hands
HEAD: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = HEAD + b"transfer-encoding: chunked\r\n\r\n"
SWITCH: Final = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
UPGRADE: Final = {"headers": {"connection": "upgrade", "upgrade": "x"}}


def sends(data: bytes, then: str = "serve") -> Story:
    """Answer the first request by *data*, and then `serve` on, `close`, `reset` ..."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(data)
        getattr(peer, then)()

    return story


def does(what: str) -> Story:
    """Do *what* when the first request is there."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        getattr(peer, what)()

    return story


def news(data: bytes = b"", then: str = "") -> Story:
    """Say something unasked."""
    return lambda peer: [peer.send(data), then and getattr(peer, then)()]


# Answers that are bytes, after which the connection stays open: [ask, answer].

INFORMATIONAL: Final = {
    "100": CONTINUE + OK,
    "103": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK,
    "102, 103": b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    "199": b"HTTP/1.1 199 Whatever\r\n\r\n" + OK,
    "100 times 50": CONTINUE * 50 + OK,
    "unasked 101": SWITCH,
}

NO_BODY: Final = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
    "204 with a body": b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
    "204, chunked": b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    "205": b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
    "length 0": HEAD + b"content-length: 0\r\n\r\n",
}

CHUNKS: Final = {
    "chunks": CHUNKED + b"2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"2\r\nok\r\n0\r\nx-sum: 1\r\nx-other: 2\r\n\r\n",
    "extension": CHUNKED + b'2;name=value;x="y"\r\nok\r\n0\r\n\r\n',
    "upper case": CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n",
    "leading zeros": CHUNKED + b"0002\r\nok\r\n000\r\n\r\n",
    "twenty digits": CHUNKED + b"0" * 19 + b"2\r\nok\r\n0\r\n\r\n",
    "size with spaces behind": CHUNKED + b"2  \r\nok\r\n0\r\n\r\n",
    "size is no number": CHUNKED + b"xyz\r\nok\r\n0\r\n\r\n",
    "size is negative": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "size is missing": CHUNKED + b"\r\nok\r\n0\r\n\r\n",
    "size is 0x2": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "size is huge": CHUNKED + b"f" * 17 + b"\r\nok\r\n0\r\n\r\n",
    "chunk is too long": CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
    "LF only": CHUNKED + b"2\nok\n0\n\n",
    "bad trailer": CHUNKED + b"2\r\nok\r\n0\r\nno colon\r\n\r\n",
    "chunked twice": HEAD
    + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding is Chunked": HEAD + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding is identity": HEAD + b"transfer-encoding: identity\r\ncontent-length: 2\r\n\r\nok",
    "coding is gzip, chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding is unknown": HEAD + b"transfer-encoding: what\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}

LENGTHS: Final = {
    "the same twice": HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "the same in a list": HEAD + b"content-length: 2, 2\r\n\r\nok",
    "two that differ": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "negative": HEAD + b"content-length: -2\r\n\r\nok",
    "+2": HEAD + b"content-length: +2\r\n\r\nok",
    "two": HEAD + b"content-length: two\r\n\r\nok",
    "0x2": HEAD + b"content-length: 0x2\r\n\r\nok",
    "2 with spaces": HEAD + b"content-length:   2  \r\n\r\nok",
    "2_0": HEAD + b"content-length: 2_0\r\n\r\nok",
    "none": HEAD + b"content-length: \r\n\r\nok",
    "huge": HEAD + b"content-length: " + b"9" * 30 + b"\r\n\r\nok",
    "and chunked": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked and": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "less than comes": HEAD + b"content-length: 2\r\n\r\nokay",
    "and close": response(b"ok", b"connection: close"),
    "and Close in a list": response(b"ok", b"connection: x, Close"),
    "in HTTP/1.0": response().replace(b"1.1", b"1.0", 1),
    "in HTTP/1.0, keep-alive": response(b"ok", b"connection: keep-alive").replace(b"1.1", b"1.0", 1),
}

HEADERS: Final = {
    "folded": response(b"ok", b"x-a: one\r\n two"),
    "folded by a tab": response(b"ok", b"x-a: one\r\n\ttwo"),
    "folded first": b"HTTP/1.1 200 OK\r\n x: y\r\ncontent-length: 2\r\n\r\nok",
    "one of 8 KB": response(b"ok", b"x: " + b"y" * 8_000),
    "one of 60 KB": response(b"ok", b"x: " + b"y" * 60_000),
    "one of 90 KB": response(b"ok", b"x: " + b"y" * 90_000),
    "one of 200 KB": response(b"ok", b"x: " + b"y" * 200_000),
    "90": response(b"ok", *[b"x-%d: y" % number for number in range(90)]),
    "300": response(b"ok", *[b"x-%d: y" % number for number in range(300)]),
    "NUL in a value": response(b"ok", b"x: a\0b"),
    "NUL in a name": response(b"ok", b"x\0: a"),
    "CR in a value": response(b"ok", b"x: a\rb"),
    "control in a value": response(b"ok", b"x: a\x01b"),
    "DEL in a value": response(b"ok", b"x: a\x7fb"),
    "tab in a value": response(b"ok", b"x: a\tb"),
    "latin-1": response(b"ok", b"x: \xe9"),
    "UTF-8": response(b"ok", "x: \u20ac".encode()),
    "no value": response(b"ok", b"x:"),
    "spaces around": response(b"ok", b"x:  a b  "),
    "no space": response(b"ok", b"x:a"),
    "space before the colon": response(b"ok", b"x : a"),
    "no colon": response(b"ok", b"what"),
    "no name": response(b"ok", b": a"),
    "a bad name": response(b"ok", b"x(y): a"),
    "upper case": response(b"ok", b"X-UPPER: A"),
    "cookies": response(b"ok", b"set-cookie: a=1; Path=/", b"set-cookie: b=2; Path=/"),
    "LF only": OK.replace(b"\r\n", b"\n"),
    "LF only after the status line": OK.replace(b"\r\n", b"\n", 1),
    "CR only": OK.replace(b"\r\n", b"\r"),
    "an empty line first": b"\r\n" + OK,
    "many empty lines first": b"\r\n" * 20 + OK,
}

STATUSES: Final = {
    "no reason": response(status=b"200"),
    "no reason, a space": response(status=b"200 "),
    "a reason in latin-1": response(status=b"200 d\xe9j\xe0"),
    "a reason of 1000": response(status=b"200 " + b"x" * 1000),
    "two spaces": response(status=b" 200 OK"),
    "tab": OK.replace(b" ", b"\t", 1),
    "099": response(status=b"099 Odd"),
    "299": response(status=b"299 Odd"),
    "600": response(status=b"600 Odd"),
    "999": response(status=b"999 Odd"),
    "1000": response(status=b"1000 Odd"),
    "20": response(status=b"20 Odd"),
    "abc": response(status=b"abc Odd"),
    "none": b"HTTP/1.1 \r\n\r\n",
    "HTTP/1.0": OK.replace(b"1.1", b"1.0", 1),
    "HTTP/1.2": OK.replace(b"1.1", b"1.2", 1),
    "HTTP/2.0": OK.replace(b"1.1", b"2.0", 1),
    "HTTP/0.9": OK.replace(b"1.1", b"0.9", 1),
    "HTTP/1": OK.replace(b"1.1", b"1", 1),
    "http/1.1": OK.replace(b"HTTP", b"http", 1),
    "ICY": OK.replace(b"HTTP/1.1", b"ICY", 1),
    "SSH": b"SSH-2.0-OpenSSH\r\n\r\n",
    "frames of HTTP/2": b"\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x15\x03\x01\0\2\2\x46",
    "nothing but a line": b"\r\n\r\n",
}

# Of these the client waits for the rest.
UNENDED: Final = {("chunked", "LF only"), ("chunked", "size is huge"), ("header", "CR only")}

# Answers after which the connection is closed.

CLOSED: Final = {
    "no length": HEAD + b"\r\nok",
    "no length, HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nok",
    "no length, nothing": HEAD + b"\r\n",
    "HTTP/0.9": b"ok",
    "whole": OK,
    "a part of the body": OK[:-1],
    "a part of the head": OK[:-10],
    "a part of the status line": OK[:9],
    "a byte": OK[:1],
    "100": CONTINUE,
    "a part of a chunk": CHUNKED + b"5\r\nok",
    "a part of a size": CHUNKED + b"5",
    "before the last chunk": CHUNKED + b"2\r\nok\r\n",
    "in the trailers": CHUNKED + b"2\r\nok\r\n0\r\nx: y\r\n",
    "length of nothing": HEAD + b"content-length: 2\r\n\r\n",
}

RESET: Final = {
    "before a byte": b"",
    "in the status line": OK[:9],
    "in the head": OK[:-10],
    "in the body": OK[:-1],
    "in a chunk": CHUNKED + b"5\r\nok",
    "in a body without a length": HEAD + b"\r\nok",
    "after 100": CONTINUE,
}

STALLED: Final = {
    "before a byte": b"",
    "in the status line": OK[:9],
    "in the head": OK[:-10],
    "in the body": OK[:-1],
    "in a chunk": CHUNKED + b"5\r\nok",
    "before the last chunk": CHUNKED + b"2\r\nok\r\n",
    "after 100": CONTINUE,
}

CODINGS: Final = {
    "gzip": response(gzip.compress(b"plain", mtime=0), b"content-encoding: gzip"),
    "deflate": response(zlib.compress(b"plain"), b"content-encoding: deflate"),
    "raw deflate": response(zlib.compress(b"plain", wbits=-15), b"content-encoding: deflate"),
    "twice": response(zlib.compress(gzip.compress(b"plain", mtime=0)), b"content-encoding: gzip, deflate"),
    "no gzip": response(b"plain", b"content-encoding: gzip"),
    "half of gzip": response(gzip.compress(b"plain" * 100, mtime=0)[:20], b"content-encoding: gzip"),
    "unknown": response(b"plain", b"content-encoding: what"),
    "identity": response(b"plain", b"content-encoding: identity"),
    "gzip of nothing": response(b"", b"content-encoding: gzip"),
}

# What comes on a connection that is idle, and what comes in one piece with the answer before.

EXTRA: Final = {
    "408": response(b"", status=b"408 Request Timeout"),
    "an answer": response(b"smuggled"),
    "a line": b"\r\n",
    "a byte": b"x",
}

IDLE: Final[dict[str, Story]] = {
    "FIN": news(then="close"),
    "RST": news(then="reset"),
    "half-close": news(then="half_close"),
    "408 and FIN": news(EXTRA["408"], "close"),
} | {name: news(data) for name, data in EXTRA.items()}


def second(then: str, data: bytes = b"") -> Story:
    """Answer the first request; the second is read, and comes to this."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.read_request()
        peer.send(data)
        getattr(peer, then)()

    return story


REUSED: Final[dict[str, Story]] = {
    "FIN": second("close"),
    "RST": second("reset"),
    "half-close": second("half_close"),
    "FIN in the head": second("close", OK[:9]),
    "FIN after 100": second("close", CONTINUE),
    "garbage": second("listen", b"garbage\r\n\r\n"),
}
METHODS: Final = ("GET", "PUT", "POST", "DELETE")


# Requests with a body


def behaves(_: Http1Peer) -> None:
    """Answer whatever comes."""


def early(then: str, *headers: bytes) -> Story:
    """Answer when the head of a request is there, and go."""

    def story(peer: Http1Peer) -> None:
        peer.read_head()
        peer.send(response(b"too long", *headers, status=b"413 Too Long"))
        getattr(peer, then)()

    return story


def early_and_reads(peer: Http1Peer) -> None:
    """Answer at once, and read the body to its end."""
    request = peer.read_head()
    peer.answer(b"early")
    peer.read_body(request)


def continues(peer: Http1Peer) -> None:
    """Answer 100, read on, and answer."""
    request = peer.read_head()
    peer.send(CONTINUE)
    peer.read_body(request)
    peer.answer()


def asks_to_go(peer: Http1Peer) -> None:
    """Refuse a request that asks first."""
    peer.read_head()
    peer.answer(b"no", b"connection: close", status=b"417 Expectation Failed")
    peer.listen()


def deaf(peer: Http1Peer) -> None:
    """Read the head of a request and nothing more."""
    peer.read_head()
    peer.wait(Gate())


def hangs_up(peer: Http1Peer) -> None:
    """Close when the head of a request is there."""
    peer.read_head()
    peer.close()


UPLOADS: Final[dict[str, tuple[Story, Ask]]] = {
    "whole": (behaves, Ask("POST", body=b"body")),
    "parts": (behaves, Ask("POST", body=(b"one", b"two"))),
    "an empty part": (behaves, Ask("POST", body=(b"one", b"", b"two"))),
    "no part": (behaves, Ask("POST", body=())),
    "nothing": (behaves, Ask("POST")),
    "100": (continues, Ask("POST", body=b"body", extra={"headers": {"expect": "100-continue"}})),
    "417": (asks_to_go, Ask("POST", body=b"body", extra={"headers": {"expect": "100-continue"}})),
    "an early answer to a short one": (early_and_reads, Ask("POST", body=b"body")),
    "an early answer to a long one": (early_and_reads, Ask("POST", body=LONG)),
    "an early answer, then FIN": (early("close", b"connection: close"), Ask("POST", body=b"body")),
    "a short length": (
        lambda _: None,
        Ask("POST", body=(b"ab",), extra={"headers": {"content-length": "5"}}),
    ),
    "a long length": (
        lambda _: None,
        Ask("POST", body=(b"abc",), extra={"headers": {"content-length": "2"}}),
    ),
    "a deaf server": (deaf, Ask("POST", body=LONG, waits=("write",))),
    "FIN at the head": (hangs_up, Ask("POST", body=b"body")),
}

REDIRECTS: Final = {
    str(status): response(b"", b"location: /there", status=b"%d Moved" % status)
    for status in (300, 301, 302, 303, 304, 307, 308)
} | {
    "relative": response(b"", b"location: there?x=y#z", status=b"302 Moved"),
    "nowhere": response(b"", status=b"302 Moved"),
    "to ftp": response(b"", b"location: ftp://there/", status=b"302 Moved"),
    "to nonsense": response(b"", b"location: http://[", status=b"302 Moved"),
    "with a body": response(b"moved", b"location: /there", status=b"302 Moved"),
    "to UTF-8": response(b"", "location: /\u20ac".encode(), status=b"302 Moved"),
    "to another host": response(b"", b"location: http://127.0.0.1:1/", status=b"302 Moved"),
}

CONNECTS: Final = {
    "refused by 403": response(b"no", status=b"403 Forbidden"),
    "refused by 407": response(
        b"no", b'proxy-authenticate: Basic realm="x"', status=b"407 Proxy Authentication Required"
    ),
    "refused by 502": response(b"no", status=b"502 Bad Gateway"),
    "answered by 301": response(b"", b"location: /", status=b"301 Moved"),
    "answered by garbage": b"garbage\r\n\r\n",
    "answered by 100 and 403": CONTINUE + response(status=b"403 Forbidden"),
}


Named: TypeAlias = Iterator[tuple[str, Scenario]]


def answers() -> Named:
    """Answers in one piece, after which the connection stays open."""
    groups = {
        "1xx": INFORMATIONAL, "no body": NO_BODY, "chunked": CHUNKS, "length": LENGTHS, "header": HEADERS,
        "status": STATUSES, "coding": CODINGS,
    }  # fmt: skip
    for group, table in groups.items():
        for name, answer in table.items():
            ask = Ask(waits=("read",)) if (group, name) in UNENDED else Ask()
            yield f"{group}: {name}", Scenario(stories=(sends(answer),), asks=(ask, AFTER))
    heads = {"length 2": OK[:-2], "chunked": CHUNKED, "a body": OK, "chunks": CHUNKS["chunks"]}
    for name, answer in (NO_BODY | heads).items():
        yield f"HEAD: {name}", Scenario(stories=(sends(answer),), asks=(Ask("HEAD"), AFTER))
    yield "closed early", Scenario(stories=(sends(response(LONG)),), asks=(Ask(first=1), AFTER))


def ends() -> Named:
    """Answers that stop too early, in each way."""
    for name, answer in CLOSED.items():
        yield f"FIN after: {name}", Scenario(stories=(sends(answer, "close"),))
    for name, answer in RESET.items():
        yield f"RST: {name}", Scenario(stories=(sends(answer, "reset"),), broken=True)
    for name, answer in STALLED.items():
        yield f"stalled: {name}", Scenario(stories=(sends(answer),), asks=(Ask(waits=("read",)), AFTER))
    for what in ("close", "reset"):
        gone = operator.methodcaller(what)
        yield f"at once: {what}", Scenario(stories=(gone,), broken=True)


def reuse() -> Named:
    """What comes on a connection between two requests, and in the second."""
    for method in ("GET", "POST"):
        asks = (Ask(), Ask(method, "/after"))
        for name, idle in IDLE.items():
            yield f"{method} after idle: {name}", Scenario(news=idle, asks=asks)
        for name, extra in EXTRA.items():
            yield f"{method} after an answer and: {name}", Scenario(stories=(sends(OK + extra),), asks=asks)
    for method in METHODS:
        asks = (Ask(), Ask(method, "/after"))
        for name, story in REUSED.items():
            yield f"{method} reused: {name}", Scenario(stories=(story,), asks=asks, broken=name == "RST")


def requests() -> Named:
    """Requests with a body, redirected ones, and such as ask for another protocol."""
    for name, (story, ask) in UPLOADS.items():
        yield f"upload: {name}", Scenario(stories=(story,), asks=(ask, AFTER))
    follows = {"follow_redirects": True}
    for name, answer in REDIRECTS.items():
        for ask in (Ask(), Ask("POST", body=b"body")):
            asks = (ask, AFTER)
            yield (
                f"{ask.method} redirected: {name}",
                Scenario(stories=(sends(answer),), asks=asks, settings=follows),
            )
    yield "upgrade: 101", Scenario(stories=(sends(SWITCH),), asks=(Ask(first=0, extra=UPGRADE),))
    yield "upgrade: refused", Scenario(stories=(behaves,), asks=(Ask(extra=UPGRADE), AFTER))


def proxied() -> Named:
    """What a proxy says to who wants a tunnel, and to who wants none."""
    wanted = (Ask(path="https://target.example/"),)
    for name, answer in CONNECTS.items():
        yield f"CONNECT: {name}", Scenario(stories=(sends(answer, "listen"),), asks=wanted, proxy=True)
    for what in ("close", "reset"):
        yield f"CONNECT: {what}", Scenario(stories=(does(what),), asks=wanted, proxy=True, broken=True)
    refused = sends(response(b"no", status=b"407 Who"))
    yield "forward: 407", Scenario(stories=(refused,), asks=(Ask(path="http://target.example/"),), proxy=True)


SCENARIOS: Final = dict(itertools.chain(answers(), ends(), reuse(), requests(), proxied()))
