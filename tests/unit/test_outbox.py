"""Requests over HTTP/1.1 that go out together: what is on its way to the socket, and what never was."""

from __future__ import annotations

import asyncio
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
    """A transport that keeps what was written to it."""

    def __init__(self) -> None:
        super().__init__()
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

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


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


def test_what_is_begun_in_one_turn_is_written_in_the_next(wires: list[Wire]) -> None:
    """Two requests that are begun one after another are written one right after another."""

    async def main() -> None:
        engine = new_engine()
        await warm(engine, wires, 2)
        first, second = (asyncio.create_task(engine.open(post())) for _ in range(2))
        await asyncio.sleep(0)
        assert [[], []] == [wire.written for wire in wires]
        await asyncio.sleep(0)
        assert [1, 1] == [len(wire.written) for wire in wires]
        for wire in wires:
            wire.answer()
        for task in (first, second):
            await (await task).body.aclose()
        await engine.aclose()

    asyncio.run(main())


def test_what_was_not_written_goes_to_another_connection(wires: list[Wire]) -> None:
    """A connection that ends before a request went out has done nothing with it, even with a POST (11a)."""

    async def main() -> None:
        engine = new_engine()
        await warm(engine, wires, 1)
        task = await begun(engine)
        wires[0].end()
        while len(wires) < 2 or not wires[1].written:
            await asyncio.sleep(0)
        wires[1].answer()
        answer = await task
        assert (200, 2) == (answer.status, answer.record.attempts)
        assert wires[0].written == []
        assert len(wires[1].written) == 1
        await answer.body.aclose()
        await engine.aclose()

    asyncio.run(main())
