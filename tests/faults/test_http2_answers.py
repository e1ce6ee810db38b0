"""Answers and uploads over HTTP/2: in any order, early, cut off, without credit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hyperframe.frame import RstStreamFrame

from tests.support.scripted import until
from tests.support.scripted_http2 import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
    REFUSED_STREAM,
    WINDOW,
    Http2Peer,
    ScriptedHttp2,
    raw_frame,
)
from tests.support.worlds import ONE_CONNECTION, World


def test_answers_in_reverse_order(world: World) -> None:
    """Ten requests, answered from the last to the first, each to who asked."""

    def story(peer: Http2Peer) -> None:
        for request in reversed(peer.read_requests(10)):
            peer.answer(request, request.target.encode())

    async def main(client: Any) -> None:
        answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(10)))
        assert [f"/{number}" for number in range(10)] == [answer.text for answer in answers]

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)


def test_trickled_frames_are_an_answer(world: World) -> None:
    """1xx, a head in pieces, padding, empty DATA, trailers and a frame nobody knows, byte by byte."""

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request, ("link", "</a>"), status=103)
        block = peer.encode([(":status", "200"), ("x-case", "trickle")])
        frames = [
            raw_frame(1, 0, request.stream, block[:1]),
            raw_frame(9, 0, request.stream, b""),
            raw_frame(9, 4, request.stream, block[1:]),
            raw_frame(0, 8, request.stream, b"\3sl" + bytes(3)),
            raw_frame(0, 0, request.stream),
            raw_frame(99, 255, request.stream, b"unknown"),
            raw_frame(0, 0, request.stream, b"ow"),
        ]
        peer.trickle(b"".join(frames))
        peer.head(request, ("x-sum", "4"), status=None, end=True)

    async def main(client: Any) -> None:
        answer = await client.get("/")
        assert ("slow", "trickle") == (answer.text, answer.headers["x-case"])

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 1 == server.connections


def test_an_early_answer_and_no_error_stop_an_upload(world: World) -> None:
    """A complete answer, then RST_STREAM(NO_ERROR): the answer stands (RFC 9113, 8.1)."""

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        request = peer.read_head()
        peer.answer(request, b"too long", status=413)
        peer.reset_stream(request, NO_ERROR)

    async def main(client: Any) -> None:
        answer = await client.post("/", content=bytes(1_000_000))
        assert (413, "too long") == (answer.status_code, answer.text)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert (1, 0) == (server.connections, server.processed("POST"))


def test_an_early_answer_ends_an_upload(world: World) -> None:
    """A complete answer and no more credit: it is delivered; the client resets what it cannot end."""

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        request = peer.read_head()
        peer.answer(request, b"too long", status=413)
        peer.want(RstStreamFrame, stream=request.stream)

    async def main(client: Any) -> None:
        answer = await client.post("/", content=bytes(1_000_000))
        assert (413, "too long") == (answer.status_code, answer.text)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 1 == server.connections


def test_no_credit_for_an_upload(world: World) -> None:
    """Without WINDOW_UPDATE an upload times out, is reset, and its neighbours are served."""

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        peer.read_body(peer.read_head(), at_least=WINDOW)

    async def main(client: Any) -> None:
        timeout = world.library.Timeout(5, write=0.1)
        upload = asyncio.create_task(
            world.outcome(client.post("/", content=bytes(1_000_000), timeout=timeout))
        )
        await until(lambda: bool(server.requests) and len(server.requests[0].body) == WINDOW)
        assert "ok" == (await client.get("/neighbour")).text
        assert "WriteTimeout" == await upload

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert ({1: CANCEL}, 1) == (server.peers[0].resets, server.connections)


@pytest.mark.parametrize("code", [INTERNAL_ERROR, CANCEL, REFUSED_STREAM])
@pytest.mark.parametrize("sent", [0, 4], ids=["after-the-head", "in-the-body"])
def test_a_stream_reset_in_its_answer(world: World, code: int, sent: int) -> None:
    """An answer cut off by RST_STREAM is an error, whatever its code, and its neighbour is served."""

    def story(peer: Http2Peer) -> None:
        one, other = peer.read_requests(2)
        peer.head(one)
        peer.body(one, bytes(sent), end=False)
        peer.send(raw_frame(3, 0, one.stream, code.to_bytes(4)))
        peer.answer(other)

    async def main(client: Any) -> None:
        seen = await asyncio.gather(*(world.outcome(client.get("/")) for _ in range(2)))
        assert ["200", "RemoteProtocolError"] == sorted(seen)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert {1: 3} == server.per_connection()
