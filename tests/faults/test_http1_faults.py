"""What an HTTP/1.1 server may do to us. After each fault nothing is counted, and the next is served."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore
import pytest

from tests.support.certificates import Certificates
from tests.support.scripted import Gate, until
from tests.support.scripted_http1 import CONTINUE, OK, Http1Peer, ScriptedHttp1, response
from tests.support.worlds import CLOSED_BY_CLIENT, World, cancel

Fault = Callable[[Http1Peer], Any]

BIG = 50_000_000  # more than the kernel takes off our hands


async def parts(count: int, size: int = 65536) -> AsyncIterator[bytes]:
    """Give a body in parts."""
    for _ in range(count):
        yield bytes(size)


# What may be sent again (rule 11)

METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "POST+key"]
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST+key"}
HUNG_UP = {"RemoteProtocolError"}
CUT_OFF = {"ReadError", "RemoteProtocolError"}

# What happens to the request, what the client then sees unless it is sent again, and whether it may be.
FAULTS: dict[str, tuple[Fault, set[str], bool]] = {
    "FIN": (lambda peer: peer.close(), HUNG_UP, True),
    "half-close": (lambda peer: [peer.half_close(), peer.listen()], HUNG_UP, True),
    "RST": (lambda peer: peer.reset(), CUT_OFF, True),
    "1xx-FIN": (lambda peer: [peer.send(CONTINUE), peer.close()], HUNG_UP, False),
    "FIN-in-head": (lambda peer: [peer.send(OK[:1]), peer.close()], HUNG_UP, False),
    "FIN-after-head": (lambda peer: [peer.send(OK[:-2]), peer.close()], HUNG_UP, False),
    "garbage": (lambda peer: [peer.send(b"garbage\r\n\r\n"), peer.listen()], HUNG_UP, False),
    "timeout": (lambda peer: peer.listen(), {"ReadTimeout"}, False),
}


@pytest.mark.parametrize("reused", [True, False], ids=["reused", "fresh"])
@pytest.mark.parametrize("fault", FAULTS)
def test_replay_table(world: World, fault: str, reused: bool) -> None:
    """
    Each method meets each fault when it is at the server whole: what the client sees, how often it counted.

    Again goes only what may: safe methods and those with an Idempotency-Key, once, on another connection,
    when a connection that had served before ended without a byte of an answer.
    """
    break_, errors, repeatable = FAULTS[fault]
    table: dict[str, tuple[str, int]] = {}

    def story(peer: Http1Peer) -> None:
        if reused:
            peer.read_request()
            peer.answer()
        peer.read_request()
        break_(peer)

    for name in METHODS:
        method, key = name.removesuffix("+key"), {"idempotency-key": "1"} if name.endswith("+key") else {}

        async def main(
            client: Any, method: str = method, key: dict[str, str] = key, name: str = name
        ) -> None:
            if reused:
                await client.get("/before")
            content = b"body" if method in {"PUT", "POST", "PATCH"} else None
            request = client.build_request(method, "/it", content=content, headers=key)
            request.extensions["timeout"]["read"] = 0.01 if fault == "timeout" else 5
            seen = await world.outcome(client.send(request))
            await until(lambda: asked() > 0)  # the server may be slower than the timeout
            table[name] = seen, asked()

        def asked() -> int:
            return sum(request.target == "/it" for request in server.requests)

        with ScriptedHttp1(story) as server:
            world.play(server, main)
            assert server.processed(method) == sum(request.method == method for request in server.requests)

    for name, (seen, processed) in table.items():
        if fault == "FIN-after-head" and name == "HEAD":
            assert ("200", 1) == (seen, processed)  # there is nothing after the head of an answer to HEAD
        elif reused and repeatable and name in SAFE:
            assert (name, "200", 2) == (name, seen, processed)
        else:
            assert (name, 1) == (name, processed)
            assert seen in errors, name


def test_it_is_sent_again_once(world: World) -> None:
    """When one of two idle connections ends under a request, the other is not tried: it goes to a new one."""
    both = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.wait(both)
        peer.answer()
        peer.read_request()
        peer.close()

    async def main(client: Any) -> None:
        warm = [asyncio.create_task(client.get("/before")) for _ in range(2)]
        await until(lambda: server.connections == 2)
        both.open()
        await asyncio.gather(*warm)
        seen = await world.outcome(client.get("/it"))
        count = sum(request.target == "/it" for request in server.requests)
        assert ("200", 2, 3) == (seen, count, server.connections)

    with ScriptedHttp1(story, story) as server:
        world.play(server, main)


def test_a_body_that_is_gone_is_not_sent_again(world: World) -> None:
    """A body out of an iterator was read once: even a PUT is not sent again."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.read_request()
        peer.close()

    async def main(client: Any) -> None:
        await client.get("/before")
        assert "RemoteProtocolError" == await world.outcome(client.put("/it", content=parts(2, 10)))

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert 1 == server.processed("PUT")


def test_no_post_is_ever_processed_twice(world: World) -> None:
    """Two hundred POSTs on connections that end at random moments: each counts once at most."""
    chance = random.Random(20261124)
    seen: dict[str, str] = {}
    calm = Gate()

    def whimsical(peer: Http1Peer) -> None:
        for _ in range(chance.randrange(4)):
            peer.read_request()
            peer.answer()
        if chance.random() < 0.5:
            peer.read_request()
            if calm.is_open:
                peer.answer()
        if calm.is_open:
            return
        if chance.random() < 0.5:
            peer.reset()
        peer.close()

    async def main(client: Any) -> None:
        async def pay(number: str) -> None:
            seen[number] = await world.outcome(client.post("/pay", content=number.encode()))

        for start in range(0, 200, 20):
            await asyncio.gather(*(pay(str(start + number)) for number in range(20)))
        await until(lambda: server.connections > 0)  # what ends of itself has ended
        calm.open()

    with ScriptedHttp1(*[whimsical] * 400) as server:
        world.play(server, main)
        counts = Counter(bytes(request.body).decode() for request in server.requests if request.is_complete)
    assert 200 == len(seen)
    assert {1} >= {counts[number] for number in seen if seen[number] == "200"}
    assert {0, 1} >= {counts[number] for number in seen}
    assert {"200", "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"} >= set(seen.values())


# Idle connections

NEWS: dict[str, Fault] = {
    "FIN": lambda peer: peer.close(),
    "half-close": lambda peer: [peer.half_close(), peer.listen()],
    "RST": lambda peer: peer.reset(),
    "408-and-FIN": lambda peer: [peer.send(response(b"", status=b"408 Request Timeout")), peer.close()],
    "408": lambda peer: [peer.send(response(b"", status=b"408 Request Timeout")), peer.listen()],
    "an-answer": lambda peer: [peer.send(response(b"smuggled")), peer.listen()],
    "a-byte": lambda peer: [peer.send(b"\0"), peer.listen()],
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("news", NEWS)
def test_news_on_an_idle_connection_end_it(
    world: World, news: str, tls: bool, certificates: Certificates
) -> None:
    """Whatever comes on an idle connection, it is let go (in threads by the POST); that takes a new one."""
    now, done = Gate(), Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.wait(now)
        done.open()  # before: what ends a story does not return
        NEWS[news](peer)

    async def main(client: Any) -> None:
        await client.get("/before")
        assert 1 == world.pool.connections
        now.open()
        await done.opened()
        await until(world.has_news_on_idle)
        assert "ok" == (await client.post("/pay", content=b"mine")).text

    with ScriptedHttp1(story, certificates=certificates if tls else None) as server:
        world.play(server, main)
        assert [1, 2, 2] == [request.connection for request in server.requests]
        assert 1 == server.processed("POST")


@pytest.mark.parametrize("extra", [response(b"smuggled"), b"\r\n", b"x"], ids=["answer", "newline", "byte"])
def test_what_follows_an_answer_is_never_served(world: World, extra: bytes) -> None:
    """Bytes after a complete answer close the connection, and are nobody's answer."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(OK + extra)
        peer.listen()

    async def main(client: Any) -> None:
        assert ["ok", "ok"] == [(await client.get("/")).text for _ in range(2)]

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert [1, 2, 2] == [request.connection for request in server.requests]
        assert server.peers[0].ended in CLOSED_BY_CLIENT


@pytest.mark.parametrize(
    "answer",
    [
        response(b"ok", b"connection: close"),
        response().replace(b"1.1", b"1.0", 1),
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x, Close\r\n\r\nok",
    ],
    ids=["close", "1.0", "list"],
)
def test_a_connection_that_is_to_close_is_closed(world: World, answer: bytes) -> None:
    """A server that says so gets no second request, though it keeps the connection open."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(answer)
        peer.listen()

    async def main(client: Any) -> None:
        assert ["ok", "ok"] == [(await client.post("/")).text for _ in range(2)]

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert [1, 2, 2] == [request.connection for request in server.requests]
        assert server.peers[0].ended in CLOSED_BY_CLIENT


# Answers


def test_trickled_bytes_are_an_answer(world: World) -> None:
    """An answer byte by byte, with one before it and chunks in it, is whole; the connection serves on."""
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nsl\r\n2\r\now\r\n0\r\nx: y\r\n\r\n"

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.trickle(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + chunked)

    async def main(client: Any) -> None:
        assert ["slow", "ok"] == [(await client.get("/")).text for _ in range(2)]

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert 1 == server.connections


BROKEN = {
    "no-http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "http2": b"\0\0\0\4\0\0\0\0\0",
    "no-status": b"HTTP/1.1 \r\n\r\n",
    "huge-head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
    "endless-line": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000,
    "two-lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "length-and-chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
    "no-number": b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok",
    "chunk-size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "chunk-end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
    "unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_answer_is_one_error(world: World, broken: str) -> None:
    """A server that breaks the rules is a RemoteProtocolError, and gets no second request there."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(BROKEN[broken])
        peer.listen()

    async def main(client: Any) -> None:
        assert "RemoteProtocolError" == await world.outcome(client.get("/"))
        await until(lambda: server.peers[0].ended in CLOSED_BY_CLIENT)

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert {1: 1, 2: 1} == server.per_connection()


@pytest.mark.parametrize(
    "sent", [b"", OK[:9], OK[:-1]], ids=["before-the-head", "in-the-head", "in-the-body"]
)
@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_an_answer_that_stalls(world: World, sent: bytes, how: str) -> None:
    """A caller who waits no longer, by timeout or cancelled, gets its error; the connection is closed."""
    stalled = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(sent)
        stalled.open()
        peer.listen()

    async def main(client: Any) -> None:
        if how == "timeout":
            assert "ReadTimeout" == await world.outcome(client.post("/", timeout=0.05))
        else:
            task = asyncio.create_task(client.post("/"))
            await stalled.opened()
            await cancel(task)
        await until(lambda: server.peers[0].ended in CLOSED_BY_CLIENT)

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert {1: 1, 2: 1} == server.per_connection()


def test_an_upgrade_hands_the_connection_over(world: World) -> None:
    """After 101 the caller reads and writes on `network_stream`; what came with the head is not lost."""

    def echo(peer: Http1Peer) -> None:
        assert "echo" == peer.read_request().header("upgrade")
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello")
        while True:
            peer.send(peer.read_exactly(3).upper())

    async def main(client: Any) -> None:
        async with client.stream("GET", "/", headers={"upgrade": "echo", "connection": "upgrade"}) as answer:
            assert 101 == answer.status_code
            stream = answer.extensions["network_stream"]
            assert b"hello" == await stream.read(100, timeout=5)
            await stream.write(b"abc", timeout=5)
            assert b"ABC" == await stream.read(100, timeout=5)
        await until(lambda: server.peers[0].ended in CLOSED_BY_CLIENT)

    with ScriptedHttp1(echo) as server:
        world.play(server, main)


def switch(peer: Http1Peer) -> None:
    """Say 101."""
    peer.read_request()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")


UPGRADE = {"upgrade": "echo", "connection": "upgrade"}


def test_an_upgraded_connection_that_breaks(world: World) -> None:
    """Its errors are the library's, and httpcore's, which WebSocket libraries look for."""
    over = Gate()

    def story(peer: Http1Peer) -> None:
        switch(peer)
        peer.wait(over)
        peer.reset()

    async def main(client: Any) -> None:
        library = world.library
        async with client.stream("GET", "/", headers=UPGRADE) as answer:
            stream = answer.extensions["network_stream"]
            for timeout in (library.ReadTimeout, httpcore.ReadTimeout):
                with pytest.raises(timeout):
                    await stream.read(100, timeout=0.01)
            for timeout in (library.WriteTimeout, httpcore.WriteTimeout):
                with pytest.raises(timeout):
                    await stream.write(bytes(BIG), timeout=0.01)
            over.open()
            for broken in (library.ReadError, httpcore.ReadError):
                with pytest.raises(broken):
                    await stream.read(100, timeout=5)
            for broken in (library.WriteError, httpcore.WriteError):
                with pytest.raises(broken):
                    await stream.write(b"abc", timeout=5)

    with ScriptedHttp1(story) as server:
        world.play(server, main)


def test_a_write_that_waits_on_an_upgraded_connection_hears_of_its_end(world: World) -> None:
    """What the peer will never take is no success."""
    over = Gate()

    def story(peer: Http1Peer) -> None:
        switch(peer)
        peer.wait(over)
        peer.reset()

    async def main(client: Any) -> None:
        async with client.stream("GET", "/", headers=UPGRADE) as answer:
            stream = answer.extensions["network_stream"]
            writing = asyncio.create_task(stream.write(bytes(BIG), timeout=5))
            await world.settled(client)
            over.open()
            with pytest.raises(world.library.WriteError):
                await writing

    with ScriptedHttp1(story) as server:
        world.play(server, main)


def test_an_upgraded_connection_that_is_closed_while_it_is_read(world: World) -> None:
    """Who reads hears of it at once, and so does who comes later."""

    def story(peer: Http1Peer) -> None:
        switch(peer)
        peer.receive()

    async def main(client: Any) -> None:
        async with client.stream("GET", "/", headers=UPGRADE) as answer:
            stream = answer.extensions["network_stream"]
            reading = asyncio.create_task(stream.read(100))
            await world.settled(client)
            await stream.aclose()
            for read in (reading, stream.read(100)):
                with pytest.raises(world.library.ReadError):
                    await read

    with ScriptedHttp1(story) as server:
        world.play(server, main)


def test_an_upgraded_connection_that_is_closed_while_it_is_written(world: World) -> None:
    """Who waits for the peer to take what was written hears of it at once, though no timeout was set."""
    over = Gate()

    def story(peer: Http1Peer) -> None:
        switch(peer)
        peer.wait(over)

    async def main(client: Any) -> None:
        async with client.stream("GET", "/", headers=UPGRADE) as answer:
            stream = answer.extensions["network_stream"]
            writing = asyncio.create_task(stream.write(bytes(BIG)))
            await world.settled(client)
            await stream.aclose()
            with pytest.raises(world.library.WriteError):
                await asyncio.wait_for(writing, 10)
            over.open()

    with ScriptedHttp1(story) as server:
        world.play(server, main)


# Answers that are closed


def test_what_is_closed_half_way_is_not_taken_for_whole(world: World) -> None:
    """Who reads on after that gets an error, though the rest of the answer was there already."""
    has_read, has_sent = Gate(), Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        peer.wait(has_read)
        peer.send(b"3\r\ndef\r\n0\r\n\r\n")
        has_sent.open()

    async def main(client: Any) -> None:
        async with client.stream("GET", "/") as answer:
            parts = answer.aiter_raw()
            assert b"abc" == await anext(parts)
            has_read.open()
            await has_sent.opened()
            if not world.in_threads:  # those read no more than they are asked for
                await until(lambda: world.pool.idle == 1)
            await answer.aclose()
            with pytest.raises(world.library.ReadError):
                await anext(parts)

    with ScriptedHttp1(story) as server:
        world.play(server, main)


# Uploads


def test_an_early_answer_while_the_server_reads_on(world: World) -> None:
    """An answer that comes before the body was sent is delivered; nothing is cut off."""
    answered = Gate()

    def story(peer: Http1Peer) -> None:
        request = peer.read_head()
        peer.answer(b"too long", status=b"413 Content Too Large")
        answered.open()
        peer.read_body(request)

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await answered.opened()
        yield b"y"

    async def main(client: Any) -> None:
        answer = await client.post("/", content=body())
        assert (413, "too long") == (answer.status_code, answer.text)

    with ScriptedHttp1(story) as server:
        world.play(server, main)


def test_an_early_answer_of_a_server_that_reads_no_more(world: World) -> None:
    """It is delivered though the rest of the body can never be sent; that connection is not used again."""
    end = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_head()
        peer.answer(b"too long", status=b"413 Content Too Large")
        peer.wait(end)
        peer.reset()

    async def main(client: Any) -> None:
        answer = await client.post("/", content=bytes(BIG))
        assert (413, "too long") == (answer.status_code, answer.text)
        end.open()

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert (0, 2) == (server.processed("POST"), server.connections)


def test_a_server_that_never_reads(world: World) -> None:
    """An upload that makes no progress is a WriteTimeout."""
    end = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_head()
        peer.wait(end)
        peer.reset()

    async def main(client: Any) -> None:
        timeout = world.library.Timeout(5, write=0.1)
        assert "WriteTimeout" == await world.outcome(client.post("/", content=bytes(BIG), timeout=timeout))
        end.open()

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert 0 == server.processed("POST")


def test_a_server_that_leaves_during_an_upload(world: World) -> None:
    """A connection that is reset in the middle of the body is an error, and the body is not sent again."""

    def story(peer: Http1Peer) -> None:
        peer.read_head()
        peer.read_exactly(1000)
        peer.reset()

    async def main(client: Any) -> None:
        seen = await world.outcome(client.post("/", content=bytes(BIG)))
        assert seen in {"WriteError", "ReadError", "RemoteProtocolError"}

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert [("POST", False), ("GET", True)] == [
            (request.method, request.is_complete) for request in server.requests
        ]


# Answers that are not read to their end (rule 16)


@pytest.mark.parametrize("left", [10, 1_000_000], ids=["little-left", "much-left"])
def test_a_body_that_is_closed_while_it_is_read(world: World, left: int) -> None:
    """A task that waits for the next part hears that another has closed the answer."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % left)
        peer.receive()

    async def main(client: Any) -> None:
        async with client.stream("GET", "/") as answer:
            reading = asyncio.create_task(answer.aread())
            await world.settled(client)
            await answer.aclose()
            with pytest.raises(world.library.ReadError):
                await reading

    with ScriptedHttp1(story) as server:
        world.play(server, main)


LITTLE, MUCH = response(bytes(200_000)), response(bytes(600_000))
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n" + bytes(1000) + b"\r\n"
REUSED, CLOSED = [1, 1], [1, 2]


@pytest.mark.parametrize(
    ("first", "rest", "connections"),
    [
        pytest.param(LITTLE[:1000], LITTLE[1000:], REUSED, id="little-left"),
        pytest.param(MUCH[:1000], MUCH[1000:], CLOSED, id="much-left"),
        pytest.param(CHUNKED, b"0\r\n\r\n", REUSED, id="chunks-left"),
        pytest.param(CHUNKED, b"0\r\nx: y\r\n\r\n", REUSED, id="trailers-left"),
        pytest.param(CHUNKED, b"186a0\r\n" + bytes(100_000) + b"\r\n", CLOSED, id="no-end"),
        pytest.param(LITTLE[:1000], b"", CLOSED, id="stalled"),
        pytest.param(OK[:-1], b"k" + OK, CLOSED, id="too-much-left"),
    ],
)
def test_a_body_closed_early(world: World, first: bytes, rest: bytes, connections: list[int]) -> None:
    """
    Where what is left is little and comes soon, the connection serves on; else it is closed.

    A thread that does not know how much is left looks for the end once, and does not wait for it.
    """
    if world.in_threads and first is CHUNKED:
        connections = CLOSED
    closed = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(first)
        peer.wait(closed)
        peer.send(rest)

    async def main(client: Any) -> None:
        async with client.stream("GET", "/") as answer:
            async for _ in answer.aiter_raw():
                break
        assert 0 == world.pool.in_flight  # the caller does not wait for the rest
        closed.open()
        await asyncio.sleep(0.1)  # twice the time that is given to the rest
        await client.get("/next")

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert connections == [request.connection for request in server.requests][:2]


STRAY = response(b"STRAY")


@pytest.mark.parametrize("body", [b"", bytes(100_000), None], ids=["alone", "long", "in parts"])
def test_what_a_busy_loop_has_not_read_is_given_to_nobody(loop_world: World, body: bytes | None) -> None:
    """
    Rule 12: an answer that nobody asked for came to an idle connection while the loop had no time for it.

    The next request goes elsewhere, each has its own answer, and each is sent once and in order.
    """
    idle = Gate()

    def talkative(peer: Http1Peer) -> None:
        peer.answer(peer.read_request().target.encode())
        peer.wait(idle)
        peer.send(STRAY)
        peer.listen()

    def story(peer: Http1Peer) -> None:
        while True:
            peer.answer(peer.read_request().target.encode())

    async def main(client: Any) -> None:
        assert (await client.get("/1")).content == b"/1"
        idle.open()
        server.settle()  # meanwhile the loop does nothing
        content = parts(2) if body is None else body
        answers = [await client.request("POST" if content else "GET", "/2", content=content)]
        answers += [await client.get(path) for path in ("/3", "/4")]
        assert [answer.content for answer in answers] == [b"/2", b"/3", b"/4"]

    with ScriptedHttp1(talkative, story) as server:
        loop_world.play(server, main)
        seen = [request.target for request in server.requests]
    assert seen[:4] == ["/1", "/2", "/3", "/4"]
    assert Counter(seen).most_common(1)[0][1] == 1
