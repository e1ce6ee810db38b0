"""Bodies on their way out: whole, unchanged, no more of them kept than needs be, and nobody shut out."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from hyperframe.frame import DataFrame

from tests.support.scripted import MOMENT, Gate
from tests.support.scripted_http1 import Http1Peer, ScriptedHttp1
from tests.support.scripted_http2 import INITIAL_WINDOW_SIZE, Http2Peer, ScriptedHttp2, raw_frame
from tests.support.worlds import World

MIB = 1024 * 1024
ANY = 2**31 - 1  # the largest window there is
MAX_FRAME_SIZE, WINDOW_UPDATE = 5, 8


def greet_with_all_windows_open(peer: Http2Peer) -> None:
    """Let the client send whatever it has."""
    peer.gives_credit = False
    peer.greet({INITIAL_WINDOW_SIZE: ANY, MAX_FRAME_SIZE: MIB})
    peer.send(raw_frame(WINDOW_UPDATE, 0, 0, (ANY - 65_535).to_bytes(4)))
    peer.answer(peer.read_request())


def test_a_buffer_that_is_filled_anew(world: World) -> None:
    """A caller may use one buffer for all parts: each goes out as it was, though the server reads late."""
    _fill_a_buffer_anew(world, 16 * 1024)


def test_a_large_buffer_that_is_filled_anew(loop_world: World) -> None:
    """So, too, where it is more than the kernel takes at once."""
    # A thread asks for no further part before the kernel has taken the one before.
    _fill_a_buffer_anew(loop_world, 4 * MIB)


def _fill_a_buffer_anew(world: World, size: int) -> None:
    filled = Gate()

    def story(peer: Http1Peer) -> None:
        request = peer.read_head()
        peer.wait(filled)
        peer.read_body(request)
        peer.answer()

    async def parts() -> AsyncIterator[bytearray]:
        buffer = bytearray(size)
        yield buffer
        buffer[:] = b"x" * size
        filled.open()
        yield buffer

    async def main(client: Any) -> None:
        assert 200 == (await client.post("/", content=parts())).status_code

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        assert bytes(size) + b"x" * size == server.requests[0].body


def test_an_answer_before_a_body_is_known_to_end(world: World) -> None:
    """Over HTTP/1.1 a connection lives on if the server had all that was announced when it answered."""
    answered = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer()
        answered.open()
        peer.read_request()
        peer.answer()

    async def parts() -> AsyncIterator[bytes]:
        yield b"whole"
        await answered.opened()
        yield b""

    async def main(client: Any) -> None:
        assert 200 == (await client.post("/", content=parts(), headers={"content-length": "5"})).status_code
        assert 200 == (await client.get("/")).status_code

    with ScriptedHttp1(story) as server:
        world.play(server, main)
        whole, empty = server.requests[:2]
        assert (b"whole", b"") == (whole.body, empty.body)
        assert whole.connection == empty.connection


def test_a_short_body_goes_with_its_head(world: World) -> None:
    """Over HTTP/2 it ends the request itself: no frame more than needs be."""

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request())

    async def main(client: Any) -> None:
        assert 200 == (await client.post("/", content=b"short")).status_code

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        (frame,) = server.peers[0].frames_of(DataFrame)
        assert (b"short", {"END_STREAM"}) == (frame.data, set(frame.flags))


def test_a_short_body_waits_for_a_window(world: World) -> None:
    """Over HTTP/2 a short body goes as its window opens, where that is not open enough at first."""

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        peer.greet({INITIAL_WINDOW_SIZE: 3})
        peer.answer(peer.read_request())
        request = peer.read_head()
        peer.read_body(request, at_least=3)
        peer.send(raw_frame(WINDOW_UPDATE, 0, request.stream, (10).to_bytes(4)))
        peer.answer(peer.read_body(request))

    async def main(client: Any) -> None:
        await client.get("/")
        assert 200 == (await client.post("/", content=b"short")).status_code

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert b"short" == server.requests[1].body


def test_no_more_of_a_body_is_made_than_goes_out(world: World) -> None:
    """Over HTTP/2, whatever the windows allow: a server that does not read is not given all there is."""
    looked = Gate()
    made = 0

    def story(peer: Http2Peer) -> None:
        greet_with_all_windows_open(peer)
        request = peer.read_head()
        peer.wait_deaf(looked)
        peer.answer(peer.read_body(request))

    async def parts() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(64):
            made += 1
            yield bytes(MIB)

    async def main(client: Any) -> None:
        await client.get("/")
        upload = asyncio.create_task(client.post("/", content=parts()))
        before = -1
        while before != made:
            before = made
            await asyncio.sleep(10 * MOMENT)
        assert made < 32
        looked.open()
        assert 200 == (await upload).status_code

    with ScriptedHttp2(story) as server:
        world.play(server, main)
        assert 64 * MIB == len(server.requests[1].body)


def test_many_bodies_are_not_copied_at_once(world: World) -> None:
    """Over HTTP/2 what is kept of fifty uploads is what one connection takes, not a part of each."""
    many, size, looked = 50, 2 * MIB, Gate()

    def story(peer: Http2Peer) -> None:
        greet_with_all_windows_open(peer)
        first = peer.read_head()
        peer.wait_deaf(looked)
        peer.answer(peer.read_body(first))

    async def main(client: Any) -> None:
        await client.get("/")
        body = bytes(size)
        tracemalloc.start()
        uploads = [asyncio.create_task(client.post("/", content=body)) for _ in range(many)]
        await asyncio.sleep(10 * MOMENT)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 * MIB
        looked.open()
        await asyncio.gather(*uploads)

    with ScriptedHttp2(story) as server:
        world.play(server, main)


def test_uploads_take_turns(loop_world: World) -> None:
    """Over HTTP/2 one long body does not hold up others, nor a request without one."""
    # Threads have their turns from the interpreter, which is not so fair.
    size = 16 * MIB

    def story(peer: Http2Peer) -> None:
        greet_with_all_windows_open(peer)
        requests = [peer.read_head() for _ in range(6)]
        for request in requests:
            peer.answer(peer.read_body(request))

    async def main(client: Any) -> None:
        await client.get("/")
        long = [client.post("/", content=bytes(size)) for _ in range(5)]
        await asyncio.gather(*long, client.get("/short"))

    with ScriptedHttp2(story) as server:
        loop_world.play(server, main)
        frames = [frame for frame in server.peers[0].frames if frame.stream_id > 1]
        ends = [at for at, frame in enumerate(frames) if "END_STREAM" in frame.flags]
        sent = Counter[int]()
        for frame in frames[: ends[1]]:  # up to the end of the first long one
            sent[frame.stream_id] += len(frame.data) if isinstance(frame, DataFrame) else 0
        short, *long = (frames[at].stream_id for at in ends[:6])
        assert "/short" == server.peers[0].requests[short].target
        assert min(sent[stream] for stream in long) > size // 4, sent
