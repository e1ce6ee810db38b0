"""What may be sent again over HTTP/2, and what never (rules 10 and 11); first Go's list."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.scripted import Gate, until
from tests.support.scripted_http2 import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    HTTP_1_1_REQUIRED,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    Http2Peer,
    Http2Request,
    ScriptedHttp2,
)
from tests.support.worlds import World


def test_retry_after_goaway_no_retry(world: World) -> None:
    """GOAWAY with an error on the very first stream: it may well be our fault, so the caller is told."""

    def story(peer: Http2Peer) -> None:
        peer.read_request()
        peer.goaway(0, INTERNAL_ERROR)

    async def main(client: Any) -> None:
        assert "RemoteProtocolError" == await world.outcome(client.get("/"))

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert {1: 1, 2: 1} == server.per_connection()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_retry_after_goaway_retry(world: World, method: str) -> None:
    """GOAWAY(0, NO_ERROR): we take the server at its word, and any method goes to a new connection."""

    def story(peer: Http2Peer) -> None:
        peer.read_request()
        peer.goaway(0)

    async def main(client: Any) -> None:
        answer = await client.request(method, "/", content=b"mine")
        assert (200, 2) == (answer.status_code, answer.extensions["pool_manager"].attempts)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert [1, 2, 2] == [request.connection for request in server.requests]
        assert b"mine" == server.requests[1].body
        assert 1 + (method == "GET") == server.processed(method)


def test_retry_after_goaway_second_request(world: World) -> None:
    """GOAWAY with an error after a stream that was processed: what was not is sent again."""

    def story(peer: Http2Peer) -> None:
        first = peer.read_request()
        peer.answer(first)
        peer.read_request()
        peer.goaway(first, PROTOCOL_ERROR)

    async def main(client: Any) -> None:
        assert ["ok", "ok"] == [(await client.post("/", content=b"mine")).text for _ in range(2)]

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 2 == server.processed("POST")


def test_retry_after_refused_stream(world: World) -> None:
    """REFUSED_STREAM: any method is sent again, on the same connection."""

    def story(peer: Http2Peer) -> None:
        peer.refuse(peer.read_request())

    async def main(client: Any) -> None:
        answer = await client.post("/", content=b"mine")
        assert ("ok", 2) == (answer.text, answer.extensions["pool_manager"].attempts)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert (1, 1) == (server.connections, server.processed("POST"))
        assert b"mine" == server.requests[1].body


@pytest.mark.usefixtures("hasty")
def test_the_second_refusal_retires_the_connection(any_world: World) -> None:
    """REFUSED_STREAM twice on one connection: the third attempt is on another."""

    def story(peer: Http2Peer) -> None:
        peer.refuse(peer.read_request())
        peer.refuse(peer.read_request())

    async def main(client: Any) -> None:
        assert "ok" == (await client.post("/", content=b"mine")).text

    with ScriptedHttp2(story) as server:
        any_world.play(server, main)
        assert [1, 1, 2, 2] == [request.connection for request in server.requests]
        assert 1 == server.processed("POST")


def test_retry_has_limit(any_world: World) -> None:
    """A server that refuses for ever gives an error after four attempts, and three or four seconds."""

    def refuse_all(peer: Http2Peer) -> None:
        while True:
            request = peer.read_request()
            if request.target == "/afterwards":
                peer.answer(request)
            else:
                peer.refuse(request)

    async def main(client: Any) -> None:
        started = time.monotonic()
        assert "RemoteProtocolError" == await any_world.outcome(client.post("/", content=b"mine"))
        assert 2.5 < time.monotonic() - started < 6

    with ScriptedHttp2(*[refuse_all] * 5) as server:
        any_world.play(server, main)
        assert 4 == sum(request.method == "POST" for request in server.requests)
        assert 0 == server.processed("POST")


def test_a_body_that_is_gone_is_not_sent_again(world: World) -> None:
    """A body out of an iterator was read: refused or not, the error is the caller's."""

    async def body() -> AsyncIterator[bytes]:
        yield b"mine"

    async def main(client: Any) -> None:
        assert "RemoteProtocolError" == await world.outcome(client.post("/", content=body()))

    with ScriptedHttp2(lambda peer: peer.refuse(peer.read_request())) as server:
        world.play(server, main)
        assert 0 == server.processed("POST")


def fin(peer: Http2Peer) -> list[None]:
    """Send FIN, and no RST for what the client was just sending."""
    peer.half_close()
    peer.listen()
    return []


# What happens to the POST, what the client then sees, and how often it was processed.
POSTS: dict[str, tuple[Callable[[Http2Peer, Http2Request], Any], set[str], int]] = {
    "refused": (lambda peer, it: peer.refuse(it), {"200"}, 1),
    "goaway-below": (lambda peer, it: peer.goaway(max(0, it.stream - 2)), {"200"}, 1),
    "goaway-below-FIN": (lambda peer, it: [peer.goaway(max(0, it.stream - 2)), *fin(peer)], {"200"}, 1),
    "goaway-at-it": (lambda peer, it: [peer.goaway(it), peer.answer(it)], {"200"}, 1),
    "goaway-at-it-FIN": (lambda peer, it: [peer.goaway(it), *fin(peer)], {"RemoteProtocolError"}, 1),
    "FIN": (lambda peer, _: fin(peer), {"RemoteProtocolError"}, 1),
    "RST": (lambda peer, _: peer.reset(), {"ReadError", "RemoteProtocolError"}, 1),
    "FIN-after-head": (lambda peer, it: [peer.head(it), *fin(peer)], {"RemoteProtocolError"}, 1),
    "stream-reset": (lambda peer, it: peer.reset_stream(it, INTERNAL_ERROR), {"RemoteProtocolError"}, 1),
    "stream-reset-calm": (
        lambda peer, it: peer.reset_stream(it, ENHANCE_YOUR_CALM),
        {"RemoteProtocolError"},
        1,
    ),
    "stream-reset-cancel": (lambda peer, it: peer.reset_stream(it, CANCEL), {"RemoteProtocolError"}, 1),
    "stream-reset-http1": (
        lambda peer, it: peer.reset_stream(it, HTTP_1_1_REQUIRED),
        {"RemoteProtocolError"},
        1,
    ),
    "stream-reset-none": (lambda peer, it: peer.reset_stream(it, NO_ERROR), {"RemoteProtocolError"}, 1),
    "head-then-refused": (
        lambda peer, it: [peer.head(it), peer.data(it, b"o"), peer.reset_stream(it, CANCEL)],
        {"RemoteProtocolError"},
        1,
    ),
    "timeout": (lambda _, __: None, {"ReadTimeout"}, 1),  # it was read, and nobody answers it
}


@pytest.mark.parametrize("reused", [True, False], ids=["reused", "fresh"])
@pytest.mark.parametrize("fault", POSTS)
def test_replay_table(world: World, fault: str, reused: bool) -> None:
    """A POST meets each fault when it is at the server whole: what the client sees, how often it counted."""
    break_, outcomes, processed = POSTS[fault]

    def story(peer: Http2Peer) -> None:
        if reused:
            peer.answer(peer.read_request())
        break_(peer, peer.read_request())

    async def main(client: Any) -> None:
        if reused:
            await client.get("/before")
        request = client.build_request("POST", "/", content=b"mine")
        request.extensions["timeout"]["read"] = 0.1 if fault == "timeout" else 5
        assert await world.outcome(client.send(request)) in outcomes
        assert processed == server.processed("POST")

    with ScriptedHttp2(story) as server:
        world.play(server, main)


@pytest.mark.usefixtures("hasty")
def test_no_post_is_ever_processed_twice(world: World) -> None:
    """Two hundred POSTs, at random refused, cut off, drained or answered: each counts once at most."""
    chance = random.Random(20261124)
    seen: dict[str, str] = {}
    calm = Gate()

    def whimsical(peer: Http2Peer) -> None:
        last = 0
        for _ in range(chance.randrange(5, 30)):
            request = peer.read_request()
            last = max(
                last, request.stream
            )  # they come in turns: a later stream may have been answered first
            what = chance.choice(["answer"] * 16 + ["refuse", "reset", "goaway"] * (not calm.is_open))
            if what == "answer":
                peer.answer(request)
            elif what == "refuse":
                peer.refuse(request)
            elif what == "reset":
                peer.reset_stream(request, INTERNAL_ERROR)
            else:
                peer.goaway(last)
                peer.answer(request)
                peer.close()
        if not calm.is_open:
            peer.reset()

    async def main(client: Any) -> None:
        async def pay(number: str) -> None:
            seen[number] = await world.outcome(client.post("/pay", content=number.encode()))

        await asyncio.gather(*(pay(str(number)) for number in range(200)))
        await until(lambda: server.connections > 0)  # what ends of itself has ended
        calm.open()

    with ScriptedHttp2(*[whimsical] * 300) as server:
        world.play(server, main)
        counts = Counter(
            bytes(request.body).decode()
            for request in server.requests
            if request.is_complete and not request.is_disowned
        )
    assert 200 == len(seen)
    assert {1} >= {counts[number] for number in seen if seen[number] == "200"}
    assert {0, 1} >= {counts[number] for number in seen}
    assert {"200", "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"} >= set(seen.values())
