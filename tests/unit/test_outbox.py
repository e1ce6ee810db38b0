"""Requests over HTTP/1.1 that go out together: what is on its way to the socket, and what never was."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from pool_manager import Limits, PoolConfig
from pool_manager.core.lanes import DEFAULT, Lanes
from pool_manager.core.messages import AsyncResponse, Request
from pool_manager.events import Audience
from pool_manager.runtimes.addresses import Address, Guide
from pool_manager.runtimes.dialing import Dialer
from pool_manager.runtimes.in_loops.carriers import Greeter
from pool_manager.runtimes.in_loops.port import Listener
from pool_manager.runtimes.on_asyncio.engine import AsyncioEngine
from pool_manager.runtimes.tls import ContextCache

PATIENCE = 5.0  # seconds

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire(asyncio.Transport):
    """A transport that keeps what was written to it, and has a socket on which nothing comes."""

    def __init__(self) -> None:
        self._socket, self._peer = socket.socketpair()
        super().__init__({"socket": self._socket})
        self.written: list[bytes] = []
        self.protocol: object = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep *data*."""
        self.written.append(bytes(data))

    def set_protocol(self, protocol: object) -> None:
        """Talk to *protocol*."""
        self.protocol = protocol

    def answer(self) -> None:
        """Answer one request."""
        assert isinstance(self.protocol, Listener)
        self.protocol.data_received(ANSWER)

    def end(self) -> None:
        """Have the server hang up."""
        assert isinstance(self.protocol, Listener)
        self.protocol.eof_received()

    def say(self, data: bytes) -> None:
        """Have the server send *data*, which the loop has not read yet."""
        self._peer.sendall(data)

    def read(self) -> None:
        """Have the loop read it."""
        self._socket.recv(1024)

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._peer.close()

    def abort(self) -> None:
        """As `close`."""
        self.close()


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> list[Wire]:
    """Have every dial succeed; give what was opened."""
    opened: list[Wire] = []

    async def dial(_: Dialer, __: Address, greet: Callable[[], Greeter], ___: Guide) -> Greeter:
        wire, greeter = Wire(), greet()
        opened.append(wire)
        greeter.connection_made(wire)
        return greeter

    monkeypatch.setattr(Dialer, "dial", dial)
    return opened


def post() -> Request:
    """Make a request that nobody may send twice."""
    return Request(
        method="POST",
        scheme="http",
        host="localhost",
        port=None,
        target=b"/",
        headers=[(b"Host", b"localhost"), (b"Content-Length", b"4")],
        body=b"body",
        timeouts={},
        lane=DEFAULT,
        lease="",
        extensions={},
    )


def new_engine() -> AsyncioEngine:
    """Make an engine for the running loop."""
    loop = asyncio.get_running_loop()
    return AsyncioEngine(
        loop, PoolConfig(http2=False), Limits(), Lanes([]), ContextCache(), audience=Audience()
    )


async def warm(engine: AsyncioEngine, wires: list[Wire], count: int) -> None:
    """Have *count* idle connections."""
    tasks = [asyncio.create_task(engine.open(post())) for _ in range(count)]
    async with asyncio.timeout(PATIENCE):
        while len(wires) < count or not all(wire.written for wire in wires):
            await asyncio.sleep(0)
    for wire in wires:
        wire.answer()
        wire.written.clear()
    for task in tasks:
        await (await task).body.aclose()


async def begun(engine: AsyncioEngine) -> asyncio.Task[AsyncResponse]:
    """Begin a request, and return in the same turn of the loop."""
    task = asyncio.create_task(engine.open(post()))
    await asyncio.sleep(0)
    return task


def test_a_request_that_is_alone_is_written_at_once(wires: list[Wire]) -> None:
    """There is nobody to go out with."""

    async def main() -> None:
        engine = new_engine()
        await warm(engine, wires, 1)
        task = await begun(engine)
        assert len(wires[0].written) == 1
        wires[0].answer()
        await (await task).body.aclose()
        await engine.aclose()

    asyncio.run(main())


def test_what_is_begun_in_one_turn_is_written_in_the_next(wires: list[Wire]) -> None:
    """Two requests that are begun while there is a third are written one right after another."""

    async def main() -> None:
        engine = new_engine()
        await warm(engine, wires, 3)
        tasks = [asyncio.create_task(engine.open(post())) for _ in range(3)]
        await asyncio.sleep(0)
        assert sorted(len(wire.written) for wire in wires) == [0, 0, 1]
        await asyncio.sleep(0)
        assert [len(wire.written) for wire in wires] == [1, 1, 1]
        for wire in wires:
            wire.answer()
        for task in tasks:
            await (await task).body.aclose()
        await engine.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("count", [1, 2], ids=["a busy loop has not read yet", "comes before the next turn"])
def test_what_was_not_written_goes_to_another_connection(wires: list[Wire], count: int) -> None:
    """A connection that ends before a request went out has done nothing with it, even with a POST (11a)."""

    async def main() -> None:
        engine = new_engine()
        await warm(engine, wires, count)
        if count == 1:
            wires[0].say(b" ")  # to the socket it is all one
        tasks = [await begun(engine) for _ in range(count - 1)]  # written at once
        task = await begun(engine)
        (wire,) = (wire for wire in wires if not wire.written)
        wire.end()
        async with asyncio.timeout(PATIENCE):
            while len(wires) == count or not wires[-1].written:
                await asyncio.sleep(0)
        assert wire.written == []
        for other in wires:
            if other is not wire:
                other.answer()
        answer = await task
        assert (200, 2) == (answer.status, answer.record.attempts)
        for done in (task, *tasks):
            await (await done).body.aclose()
        await engine.aclose()

    asyncio.run(main())


def test_what_waits_for_the_loop_to_read_is_written_then(wires: list[Wire]) -> None:
    """What was there to be read was no end: TLS may have something to say to itself."""

    async def main() -> None:
        engine = new_engine()
        await warm(engine, wires, 1)
        wires[0].say(b" ")
        task = await begun(engine)
        assert wires[0].written == []
        wires[0].read()
        async with asyncio.timeout(PATIENCE):
            while not wires[0].written:
                await asyncio.sleep(0)
        wires[0].answer()
        answer = await task
        assert (200, 1) == (answer.status, answer.record.attempts)
        await answer.body.aclose()
        await engine.aclose()

    asyncio.run(main())
