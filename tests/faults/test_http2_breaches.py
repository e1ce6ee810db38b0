"""An HTTP/2 server that breaks the rules: it costs whom it talks to an error, and nobody else anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hyperframe.frame import PingFrame

from tests.support.scripted import Gate, until
from tests.support.scripted_http2 import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    Http2Peer,
    Http2Request,
    ScriptedHttp2,
    raw_frame,
)
from tests.support.worlds import CLOSED_BY_CLIENT, ONE_CONNECTION, World


@pytest.mark.parametrize("how", ["close", "reset"])
def test_connections_that_die_before_their_first_request(world: World, how: str) -> None:
    """Every connection ends before any SETTINGS: an error soon, and no loop of attempts (rules 5 and 11)."""
    well = Gate()

    def story(peer: Http2Peer) -> None:
        if not well.is_open:
            peer.greet(None)
            getattr(peer, how)()

    async def main(client: Any) -> None:
        seen = await world.outcome(client.get("/"))
        assert seen in {"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}
        assert server.connections <= 11
        well.open()

    with ScriptedHttp2(*[story] * 20) as server:
        world.play(server, main)


def test_a_server_that_never_says_its_settings(world: World) -> None:
    """SETTINGS have to come first; without them a request fails within its time."""

    def story(peer: Http2Peer) -> None:
        peer.greet(None)
        peer.listen()

    async def main(client: Any) -> None:
        seen = await world.outcome(client.post("/", timeout=0.1))
        assert seen in {"ConnectTimeout", "PoolTimeout", "ReadTimeout", "ConnectError", "RemoteProtocolError"}

    with ScriptedHttp2(story) as server:
        world.play(server, main)


def test_settings_that_come_late_limit_what_was_sent(world: World) -> None:
    """Ten requests are under way before the limit of two is known; what it refuses is sent again."""

    def story(peer: Http2Peer) -> None:
        peer.greet(None)
        peer.gives_credit = False  # SETTINGS have to come before that
        while not peer.frames:
            peer.read()
        peer.greet({MAX_CONCURRENT_STREAMS: 2})
        peer.ping()
        peer.want(PingFrame, flag="ACK")
        for request in list(peer.requests.values())[2:]:
            peer.refuse(request)

    async def main(client: Any) -> None:
        posts = await asyncio.gather(*(world.outcome(client.post("/", content=b"mine")) for _ in range(10)))
        assert {"200"} == set(posts)

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 10 == server.processed("POST")


def _huge_head(peer: Http2Peer, it: Http2Request) -> None:
    peer.send(raw_frame(1, 0, it.stream, peer.encode([(":status", "200")])))
    peer.flood(raw_frame(9, 0, it.stream, peer.encode([("x", "y" * 10_000)])), 10_000)


BREACHES: dict[str, Callable[[Http2Peer, Http2Request], Any]] = {
    "http1": lambda peer, _: peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
    "push": lambda peer, it: peer.push(it),
    "bad-hpack": lambda peer, it: peer.send(raw_frame(1, 4, it.stream, b"\xff" * 20)),
    "window-overflow": lambda peer, _: peer.send(raw_frame(8, 0, 0, (2**31 - 1).to_bytes(4)) * 2),
    "window-of-nothing": lambda peer, _: peer.send(raw_frame(8, 0, 0, bytes(4))),
    "data-on-0": lambda peer, _: peer.send(raw_frame(0, 0, 0, b"data")),
    "settings-on-1": lambda peer, _: peer.send(raw_frame(4, 0, 1)),
    "settings-cut": lambda peer, _: peer.send(raw_frame(4, 0, 0, b"\0\3\0")),
    "settings-value": lambda peer, _: peer.settings({INITIAL_WINDOW_SIZE: 2**31}),
    "ping-cut": lambda peer, _: peer.send(raw_frame(6, 0, 0, b"short")),
    "huge-frame": lambda peer, it: peer.send(raw_frame(0, 0, it.stream, bytes(2**24 - 1))),
    "stray-continuation": lambda peer, it: peer.send(raw_frame(9, 4, it.stream, b"\x88")),
    "broken-block": lambda peer, it: peer.send(
        raw_frame(1, 0, it.stream, b"\x88") + raw_frame(6, 0, 0, bytes(8))
    ),
    "continuation-flood": lambda peer, it: [
        peer.send(raw_frame(1, 0, it.stream, b"\x88")),
        peer.flood(raw_frame(9, 0, it.stream), 100_000),
    ],
    "huge-head": _huge_head,
    "idle-stream": lambda peer, _: peer.head(99),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_rules_ends_the_connection(world: World, breach: str) -> None:
    """Every request on it gets a RemoteProtocolError, is not sent again, and the connection is closed."""

    def story(peer: Http2Peer) -> None:
        first, _ = peer.read_requests(2)
        BREACHES[breach](peer, first)
        peer.listen()

    async def main(client: Any) -> None:
        seen = await asyncio.gather(*(world.outcome(client.post("/", content=b"mine")) for _ in range(2)))
        assert ["RemoteProtocolError"] * 2 == seen
        await until(lambda: server.peers[0].ended in CLOSED_BY_CLIENT)

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert (2, {1: 2, 2: 1}) == (server.processed("POST"), server.per_connection())


def test_data_beyond_the_window_is_not_taken(loop_world: World) -> None:
    """A byte more than the window of a caller who does not read: FLOW_CONTROL_ERROR."""
    # Where no thread reads its answer nobody reads the socket, and TCP holds the server up.
    sent = Gate()

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request)
        peer.body(request, bytes(peer.room(request)), end=False)
        peer.data(request, b"x")
        sent.open()

    async def main(client: Any) -> None:
        async with client.stream("GET", "/") as answer:
            await sent.opened()
            peer = server.peers[0]
            await until(
                lambda: peer.resets == {1: FLOW_CONTROL_ERROR} or peer.goaways == [FLOW_CONTROL_ERROR]
            )
            with pytest.raises(loop_world.library.RemoteProtocolError):
                await answer.aread()

    with ScriptedHttp2(story) as server:
        loop_world.play(server, main)


SLIPS: dict[str, Callable[[Http2Peer, Http2Request], Any]] = {
    "no-status": lambda peer, it: peer.head(it, ("x", "y"), status=None, end=True),
    "bad-status": lambda peer, it: peer.send(raw_frame(1, 5, it.stream, peer.encode([(":status", "2x0")]))),
    "upper-case": lambda peer, it: peer.head(it, ("X-Upper", "y"), end=True),
    "connection-header": lambda peer, it: peer.head(it, ("connection", "close"), end=True),
    "late-pseudo-header": lambda peer, it: peer.head(
        it, ("x", "y"), (":status", "200"), status=None, end=True
    ),
    "short-body": lambda peer, it: [peer.head(it, ("content-length", "3")), peer.data(it, b"ok", end=True)],
    "long-body": lambda peer, it: [peer.head(it, ("content-length", "1")), peer.data(it, b"ok", end=True)],
    "no-head": lambda peer, it: peer.data(it, b"ok", end=True),
    "window-of-nothing": lambda peer, it: peer.send(raw_frame(8, 0, it.stream, bytes(4))),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_malformed_answer_is_one_error(world: World, slip: str) -> None:
    """RFC 9113, 8.1.1: it is an error of its stream, and the request is not sent again."""

    def story(peer: Http2Peer) -> None:
        SLIPS[slip](peer, peer.read_request())

    async def main(client: Any) -> None:
        assert "RemoteProtocolError" == await world.outcome(client.post("/", content=b"mine"))

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 1 == server.processed("POST")


FLOODS = {
    "ping": raw_frame(6, 0, 0, b"12345678"),
    "settings": raw_frame(4, 0, 0),
    "empty-data": raw_frame(0, 0, 1),
    "window-update": raw_frame(8, 0, 1, (1).to_bytes(4)),
    "priority": raw_frame(2, 0, 1, bytes(5)),
    "unknown": raw_frame(99, 0, 0, b"12345678"),
    "stream-reset": raw_frame(3, 0, 1, CANCEL.to_bytes(4)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_drowns_nobody(world: World, flood: str) -> None:
    """Frames of no use without end: others are served meanwhile; the request is answered, or fails."""
    begun, served = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        if flood == "empty-data":
            peer.head(request)
        peer.flood(FLOODS[flood], 100)
        begun.open()
        peer.flood(FLOODS[flood], 20_000)
        while not served.is_open:
            peer.flood(FLOODS[flood], 1000)
        if flood == "empty-data":
            peer.data(request, b"ok", end=True)
        else:
            peer.answer(request)

    async def main(client: Any) -> None:
        asked = asyncio.create_task(world.outcome(client.get("/", timeout=15)))
        await begun.opened()
        assert "ok" == (await client.get(other.url)).text
        served.open()
        assert await asked in {"200", "RemoteProtocolError"}

    with ScriptedHttp2() as other, ScriptedHttp2(story) as server:
        world.play(server, main)


def test_a_server_that_pings_and_does_not_listen(any_world: World) -> None:
    """PINGs whose answers nobody reads: what waits to be written is bounded."""
    pushed = 0
    end = Gate()

    def story(peer: Http2Peer) -> None:
        nonlocal pushed
        peer.read_request()
        while pushed < 64_000_000:
            peer.send(FLOODS["ping"] * 1000)
            pushed += 17_000
        peer.wait_deaf(end)

    async def main(client: Any) -> None:
        seen = await any_world.outcome(client.get("/", timeout=1))
        assert seen in {"ReadTimeout", "WriteTimeout", "RemoteProtocolError"}
        assert pushed < 32_000_000
        end.open()

    with ScriptedHttp2(story) as server:
        any_world.play(server, main)
