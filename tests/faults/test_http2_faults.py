"""What an HTTP/2 server may do to a connection, and what becomes of its streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hyperframe.frame import PingFrame, RstStreamFrame

from pool_manager.core import liveness
from tests.support.certificates import Certificates
from tests.support.scripted import Gate, until
from tests.support.scripted_http2 import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    WINDOW,
    Http2Peer,
    ScriptedHttp2,
    raw_frame,
)
from tests.support.worlds import CLOSED_BY_CLIENT, ONE_CONNECTION, World, cancel

# GOAWAY


def test_a_graceful_goaway_in_two_steps(world: World) -> None:
    """2^31-1 kills nobody, the real one only what is above it, and that goes to a new connection."""
    warned, asked_again = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        first = peer.read_request()
        peer.goaway(LAST_STREAM, debug=b"soon")
        warned.open()
        peer.wait(asked_again)
        peer.goaway(first, debug=b"now")
        peer.answer(first)

    async def main(client: Any) -> None:
        accepted = asyncio.create_task(client.get("/accepted"))
        await warned.opened()
        assert "ok" == (await client.post("/new")).text
        asked_again.open()
        assert "ok" == (await accepted).text
        await until(lambda: server.peers[0].ended in CLOSED_BY_CLIENT)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert [("/accepted", 1), ("/new", 2)] == [(it.target, it.connection) for it in server.requests][:2]


def test_a_second_goaway_splits_what_runs(world: World) -> None:
    """Of three streams the second GOAWAY disowns two: these are sent again, the first is answered."""

    def story(peer: Http2Peer) -> None:
        three = peer.read_requests(3)
        peer.goaway(LAST_STREAM)
        peer.goaway(three[0])
        peer.answer(three[0])

    async def main(client: Any) -> None:
        posts = [client.post("/", content=b"mine") for _ in range(3)]
        assert [200] * 3 == [answer.status_code for answer in await asyncio.gather(*posts)]

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 3 == server.processed("POST")
        assert {1: 3, 2: 3} == server.per_connection()


def test_a_goaway_that_takes_back_the_one_before(world: World) -> None:
    """A last stream greater than the one before is against the rules: the connection is given up."""

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.goaway(request)
        peer.goaway(LAST_STREAM)
        peer.read_request()

    async def main(client: Any) -> None:
        assert "RemoteProtocolError" == await world.outcome(client.post("/"))

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 1 == server.processed("POST")


def test_goaway_on_an_idle_connection_is_noticed(world: World) -> None:
    """It is closed (in threads: by the next POST), and the POST takes a new connection, without error."""
    now = Gate()

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.answer(request)
        peer.wait(now)
        peer.goaway(request)
        peer.listen()

    async def main(client: Any) -> None:
        await client.get("/")
        now.open()
        await until(world.has_news_on_idle)
        assert 1 == (await client.post("/")).extensions["pool_manager"].attempts
        await until(lambda: server.peers[0].ended in CLOSED_BY_CLIENT)
        assert 1 == world.pool.connections

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert [1, 2, 2] == [request.connection for request in server.requests]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_the_end_of_an_idle_connection_is_noticed(
    world: World, how: str, tls: bool, certificates: Certificates
) -> None:
    """TCP ended while nobody asked anything: the next POST takes a new connection, without error."""
    now, done = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())
        peer.wait(now)
        done.open()
        getattr(peer, how)()

    async def main(client: Any) -> None:
        await client.get("/")
        now.open()
        await done.opened()
        await until(world.has_news_on_idle)
        assert 1 == (await client.post("/")).extensions["pool_manager"].attempts

    with ScriptedHttp2(story, certificates=certificates if tls else None) as server:
        world.play(server, main)
        assert [1, 2, 2] == [request.connection for request in server.requests]


# SETTINGS and the number of streams


def test_stall_at_server_limit(world: World) -> None:
    """One connection, two streams: the third request waits; cancelled, it leaves its place to the fourth."""
    first_done = Gate()

    def story(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 2})
        peer.answer(peer.read_request())
        first, second = peer.read_requests(2)
        peer.wait(first_done)
        peer.answer(first)
        peer.answer(peer.read_request())
        peer.answer(second)

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(4)]
        await until(lambda: (len(server.requests), world.pool.waiting) == (3, 2))
        await cancel(tasks[2])
        first_done.open()
        assert [200] * 3 == [(await tasks[number]).status_code for number in (0, 1, 3)]

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert ["/before", "/0", "/1", "/3", "/afterwards"] == [request.target for request in server.requests]


def test_settings_that_raise_the_limit_let_the_waiting_in(world: World) -> None:
    """From one stream to three: those who wait are sent in the same moment, on the same connection."""
    waiting = Gate()

    def story(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 1})
        peer.answer(peer.read_request())
        first = peer.read_request()
        peer.wait(waiting)
        peer.settings({MAX_CONCURRENT_STREAMS: 3})
        for request in [first, *peer.read_requests(2)]:  # none is answered before all are there
            peer.answer(request)

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = asyncio.gather(*(client.get(f"/{number}") for number in range(3)))
        await until(lambda: (len(server.requests), world.pool.waiting) == (2, 2))
        waiting.open()
        await tasks

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert 1 == server.connections


def test_a_limit_of_no_streams_is_waited_out(world: World) -> None:
    """Lowered to zero while it works: a request waits until it is raised, within its pool timeout."""
    lowered, raised = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())
        peer.settings({MAX_CONCURRENT_STREAMS: 0})
        lowered.open()
        peer.wait(raised)
        peer.settings({MAX_CONCURRENT_STREAMS: 10})

    async def main(client: Any) -> None:
        await client.get("/before")
        await lowered.opened()
        short = world.library.Timeout(5, pool=0.05)
        assert "PoolTimeout" == await world.outcome(client.get("/too-early", timeout=short))
        task = asyncio.create_task(client.get("/in-time"))
        await until(lambda: world.pool.waiting == 1)
        raised.open()
        assert "ok" == (await task).text

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert ["/before", "/in-time", "/afterwards"] == [request.target for request in server.requests]


def test_a_window_that_shrinks_holds_an_upload(world: World) -> None:
    """INITIAL_WINDOW_SIZE lowered to nothing in mid-stream: the upload waits until there is room again."""

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        request = peer.read_head()
        peer.read_body(request, at_least=WINDOW)
        peer.settings({INITIAL_WINDOW_SIZE: 0})  # the window is at minus 65535 now
        peer.send(raw_frame(8, 0, 0, (10_000_000).to_bytes(4)))
        peer.settings({INITIAL_WINDOW_SIZE: 1_000_000})
        peer.answer(peer.read_body(request))

    async def main(client: Any) -> None:
        assert "ok" == (await client.post("/", content=bytes(300_000))).text

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 300_000 == len(server.requests[0].body)


# Streams given up (rule 15)


def test_send_ping_with_reset(world: World) -> None:
    """Cancelled before any frame came: RST_STREAM and PING; its place is free when the PING is answered."""
    answer_ping, cancelled = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        peer.answers_pings = False
        peer.greet({MAX_CONCURRENT_STREAMS: 2})
        peer.answer(peer.read_request())
        _, second = peer.read_requests(2)
        ping = peer.want(PingFrame)
        cancelled.open()
        peer.wait(answer_ping)
        peer.pong(ping)
        peer.answer(peer.read_request())
        peer.answer(second)

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(3)]
        await until(lambda: len(server.requests) == 3)
        await cancel(tasks[0])
        await cancelled.opened()
        assert {3: CANCEL} == server.peers[0].resets
        # A thread waits for the place itself, on the connection.
        assert (3, 0 if world.in_threads else 1) == (len(server.requests), world.pool.waiting)
        answer_ping.open()
        assert [200, 200] == [(await task).status_code for task in tasks[1:]]

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert (1, 1) == (server.connections, server.peers[0].pings)


def test_no_ping_after_reset_with_frames(world: World) -> None:
    """Cancelled after the server has shown life: RST_STREAM alone, and its place is free at once."""
    alive = Gate()

    def story(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 1})
        peer.answer(peer.read_request())
        peer.read_request()
        peer.ping()
        peer.want(PingFrame, flag="ACK")
        alive.open()

    async def main(client: Any) -> None:
        await client.get("/before")
        task = asyncio.create_task(client.get("/cancelled"))
        await alive.opened()
        await cancel(task)
        assert "ok" == (await client.get("/next")).text

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert ({3: CANCEL}, 0) == (server.peers[0].resets, server.peers[0].pings)


def test_one_ping_for_many_resets(world: World) -> None:
    """Servers count PINGs: ten requests cancelled at once are ten RST_STREAMs and one PING."""

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())
        peer.read_requests(10)
        for _ in range(10):
            peer.want(RstStreamFrame)

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(10)]
        await until(lambda: len(server.requests) == 11)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert [CANCEL] * 10 == list(server.peers[0].resets.values())
        assert 1 == server.peers[0].pings


def test_conn_becomes_unresponsive(world: World) -> None:
    """A server that answers no PING either: its places stay taken, the next request goes elsewhere."""

    def story(peer: Http2Peer) -> None:
        peer.answers_pings = False
        peer.greet({MAX_CONCURRENT_STREAMS: 3})
        peer.answer(peer.read_request())
        peer.read_requests(3)
        peer.listen()

    async def main(client: Any) -> None:
        await client.get("/before")
        tasks = [asyncio.create_task(client.get(f"/{number}")) for number in range(3)]
        await until(lambda: len(server.requests) == 4)
        for task in tasks:
            await cancel(task)
        assert "ok" == (await client.post("/elsewhere")).text

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert [1, 1, 1, 1, 2, 2] == [request.connection for request in server.requests]


def test_a_timeout_that_a_ping_excuses(world: World) -> None:
    """One stream times out and the PING is answered: the connection is kept, its neighbours too."""
    timed_out = Gate()

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())
        _, neighbour = peer.read_requests(2)
        peer.wait(timed_out)
        peer.answer(neighbour)

    async def main(client: Any) -> None:
        await client.get("/before")
        slow = asyncio.create_task(world.outcome(client.get("/slow", timeout=0.1)))
        await until(lambda: len(server.requests) == 2)
        neighbour = asyncio.create_task(client.get("/neighbour"))
        assert "ReadTimeout" == await slow
        timed_out.open()
        assert "ok" == (await neighbour).text
        await until(lambda: server.peers[0].pings > 0)
        await client.get("/next")

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert (1, {3: CANCEL}) == (server.connections, server.peers[0].resets)


def test_a_timeout_that_no_ping_excuses(world: World) -> None:
    """One stream times out and the PING is not answered: nobody new is sent there."""

    def story(peer: Http2Peer) -> None:
        peer.answers_pings = False
        peer.answer(peer.read_request())
        peer.listen()

    async def main(client: Any) -> None:
        await client.get("/before")
        assert "ReadTimeout" == await world.outcome(client.get("/slow", timeout=0.1))
        assert "ok" == (await client.post("/elsewhere")).text

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert [1, 1, 2, 2] == [request.connection for request in server.requests]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have PINGs asked after a tenth of a second, and answered in a fifth."""
    monkeypatch.setattr(liveness, "PING_AFTER", 0.1)
    monkeypatch.setattr(liveness, "PING_PATIENCE", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_long_silence_that_pings_excuse(world: World) -> None:
    """A server that takes its time is asked again and again whether it is there, and its answer awaited."""

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        for _ in range(3):
            peer.want(PingFrame)
        peer.answer(request)

    async def main(client: Any) -> None:
        assert "ok" == (await client.post("/slow")).text

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 1 == server.connections


@pytest.mark.usefixtures("impatient")
def test_a_long_silence_that_no_ping_excuses(world: World) -> None:
    """A server that is gone without a word is found out: its requests fail long before their own timeout."""

    def story(peer: Http2Peer) -> None:
        peer.answers_pings = False
        peer.read_requests(2)
        peer.want(PingFrame)
        peer.listen()

    async def main(client: Any) -> None:
        tasks = [asyncio.create_task(world.outcome(client.post("/lost", timeout=60))) for _ in range(2)]
        assert ["ReadError", "ReadError"] == [await task for task in tasks]

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 2 == server.connections


def test_a_cancelled_upload_harms_no_neighbour(world: World) -> None:
    """Cancelled in the middle of its body: RST_STREAM(CANCEL); the other upload there arrives whole."""
    half, go = Gate(), Gate()

    def story(peer: Http2Peer) -> None:
        one, other = peer.read_head(), peer.read_head()
        cancelled = one if one.target == "/cancelled" else other
        peer.read_body(cancelled, at_least=10_000)
        half.open()
        peer.want(RstStreamFrame, stream=cancelled.stream)
        kept = other if cancelled is one else one
        peer.answer(peer.read_body(kept), bytes(kept.body))

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 10_000
        await go.opened()
        yield b"y" * 10_000

    async def main(client: Any) -> None:
        tasks = [asyncio.create_task(client.post(path, content=body())) for path in ("/cancelled", "/kept")]
        await half.opened()
        await cancel(tasks[0])
        go.open()
        assert b"x" * 10_000 + b"y" * 10_000 == (await tasks[1]).content

    with ScriptedHttp2(story) as server:
        world.play(server, main, limits=ONE_CONNECTION)
        assert [CANCEL] == list(server.peers[0].resets.values())
        assert 1 == server.processed("POST")


def test_a_body_closed_early_is_reset(world: World) -> None:
    """A response closed before its end stops the server (RST_STREAM), and gives back the credit it took."""

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request)
        peer.body(request, bytes(50_000), end=False)
        peer.want(RstStreamFrame, stream=request.stream)
        peer.data(request, bytes(10_000))  # it was under way

    async def main(client: Any) -> None:
        async with client.stream("GET", "/") as answer:
            async for _ in answer.aiter_raw():
                break
        await client.get("/next")

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert ({1: CANCEL}, 1) == (server.peers[0].resets, server.connections)
