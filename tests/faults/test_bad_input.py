"""What callers get wrong is a clear error of their library, and costs nobody else anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.scripted_http1 import ScriptedHttp1
from tests.support.scripted_http2 import ScriptedHttp2
from tests.support.worlds import World

SERVERS = pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])

BAD: dict[str, dict[str, Any]] = {
    "value-crlf": {"headers": [(b"x-bad", b"a\r\nx-smuggled: b")]},
    "value-lf": {"headers": [(b"x-bad", b"a\nx-smuggled: b")]},
    "value-cr": {"headers": [(b"x-bad", b"a\rb")]},
    "value-nul": {"headers": [(b"x-bad", b"a\0b")]},
    "value-end": {"headers": [(b"authorization", b"Bearer secret\n")]},
    "name-crlf": {"headers": [(b"x-bad: a\r\nx-smuggled", b"b")]},
    "name-nul": {"headers": [(b"x-b\0d", b"b")]},
    "name-space": {"headers": [(b"x bad", b"b")]},
    "name-empty": {"headers": [(b"", b"b")]},
    "method-crlf": {"method": "GET / HTTP/1.1\r\nx-smuggled: b\r\n\r\nGET"},
    "method-space": {"method": "GE T"},
    "method-nul": {"method": "GET\0"},
    "method-empty": {"method": ""},
    "target-crlf": {"extensions": {"target": b"/ HTTP/1.1\r\nx-smuggled: b\r\n\r\n"}},
    "target-space": {"extensions": {"target": b"/a b"}},
    "target-nul": {"extensions": {"target": b"/\0"}},
    "target-empty": {"extensions": {"target": b""}},
}


async def parts(*some: bytes) -> AsyncIterator[bytes]:
    """Give a body in parts."""
    for part in some:
        yield part


@SERVERS
@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_sent_is_not(world: World, kind: Any, bad: str) -> None:
    """A request that could smuggle another is refused before a byte of it, and the connection serves on."""

    async def main(client: Any) -> None:
        await client.get("/before")
        request = {"method": "GET", "url": "/bad", **BAD[bad]}
        with pytest.raises(world.library.LocalProtocolError) as caught:
            await client.request(**request)
        assert str(caught.value)
        assert "secret" not in str(caught.value)

    with kind() as server:
        world.play(server, main)
        assert ["/before", "/afterwards"] == [request.target for request in server.requests]
        assert 1 == server.connections


FRAMINGS: dict[str, list[tuple[str, str]]] = {
    "two-lengths": [("content-length", "4"), ("content-length", "5")],
    "length-and-chunked": [("content-length", "4"), ("transfer-encoding", "chunked")],
    "no-number": [("content-length", "four")],
    "negative": [("content-length", "-1")],
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_framing_that_can_be_read_two_ways_is_refused(world: World, framing: str) -> None:
    """HTTP/1.1: whoever says two things about the length of a body is told so."""

    async def main(client: Any) -> None:
        await client.get("/before")
        with pytest.raises(world.library.LocalProtocolError):
            await client.post("/bad", content=parts(b"mine"), headers=FRAMINGS[framing])

    with ScriptedHttp1() as server:
        world.play(server, main)
        assert {1: 2} == server.per_connection()


@SERVERS
@pytest.mark.parametrize("some", [[], [b"short"], [b"sho", b"rt"]], ids=["empty", "one", "two"])
def test_a_body_shorter_than_it_was_said_to_be(world: World, kind: Any, some: list[bytes]) -> None:
    """It is the caller's error; the server never sees a complete request."""

    async def main(client: Any) -> None:
        await client.get("/before")
        with pytest.raises(world.library.LocalProtocolError, match=r"(?i)too little"):
            await client.post("/bad", content=parts(*some), headers={"content-length": "10"})

    with kind() as server:
        world.play(server, main)
        assert (0, 2) == (server.processed("POST"), server.processed("GET"))
        assert server.connections == (1 if kind is ScriptedHttp2 else 2)


@SERVERS
@pytest.mark.parametrize("some", [[b"too long"], [b"too", b" long"]], ids=["one", "two"])
def test_a_body_longer_than_it_was_said_to_be(world: World, kind: Any, some: list[bytes]) -> None:
    """It is the caller's error, and what is too much never becomes the next request."""

    async def main(client: Any) -> None:
        await client.get("/before")
        post = client.post("/bad", content=parts(*some), headers={"content-length": "3"})
        if (world.in_threads or world.on_trio) and len(some) == 2:
            # Between two parts, which come from another loop, the request may have been answered already.
            assert await world.outcome(post) in {"200", "LocalProtocolError"}
        else:
            with pytest.raises(world.library.LocalProtocolError, match=r"(?i)too much"):
                await post

    with kind() as server:
        world.play(server, main)
        assert ["GET", "GET", "POST"] == sorted(request.method for request in server.requests)
        assert {len(request.body) for request in server.requests} <= {0, 3}


class Broken(Exception):
    """What a body of the user's raises."""


@SERVERS
@pytest.mark.parametrize("some", [[], [b"half"]], ids=["at-once", "half-way"])
@pytest.mark.parametrize(
    "error", [Broken("mine"), TimeoutError("mine"), OSError("mine")], ids=lambda it: type(it).__name__
)
def test_a_body_that_fails(world: World, kind: Any, some: list[bytes], error: Exception) -> None:
    """The caller gets the very exception of its body; the server never sees a complete request."""

    async def failing() -> AsyncIterator[bytes]:
        for part in some:
            yield part
        raise error

    async def main(client: Any) -> None:
        await client.get("/before")
        with pytest.raises(type(error)) as caught:
            await client.post("/bad", content=failing())
        assert error is caught.value

    with kind() as server:
        world.play(server, main)
        assert (0, 2) == (server.processed("POST"), server.processed("GET"))
        assert server.connections == (1 if kind is ScriptedHttp2 else 2)


@SERVERS
def test_a_body_that_gives_no_bytes(world: World, kind: Any) -> None:
    """A body of something else than bytes is an error, and the pool serves on."""

    async def text() -> AsyncIterator[Any]:
        yield b"bytes"
        yield "text"

    async def main(client: Any) -> None:
        with pytest.raises((TypeError, AttributeError, world.library.LocalProtocolError)):
            await client.post("/bad", content=text())

    with kind() as server:
        world.play(server, main)
        assert 0 == server.processed("POST")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://\u2603/",
        "http://a b/",
        "ftp://127.0.0.1/",
    ],
)
def test_addresses_that_lead_nowhere(world: World, url: str) -> None:
    """Port 0, a host that is none, another scheme: an error of the library, of the kind that says so."""
    library = world.library
    told = (library.ConnectError, library.UnsupportedProtocol, library.LocalProtocolError, library.InvalidURL)

    async def main(client: Any) -> None:
        with pytest.raises(told) as caught:
            await client.get(url)
        assert str(caught.value)

    with ScriptedHttp1() as server:
        world.play(server, main)
