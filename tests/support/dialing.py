"""What tests of dialing share: loops to dial on, a protocol that takes notes, names and dead addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias, cast

import pytest
import uvloop

from pool_manager import PoolConfig
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes import dialing, tls
from pool_manager.runtimes.addresses import Address
from pool_manager.runtimes.dialing import Dialer
from tests.support.certificates import Certificates
from tests.support.listener import GREETING, PATIENCE

Main: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]
Run: TypeAlias = Callable[[Main], Any]


def runs_on(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    """Give what runs a function on a loop, in time; it fails on what the loop complains about."""

    def run(main: Main) -> Any:
        complaints: list[object] = []

        async def in_time() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await main()

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
            result = runner.run(in_time())
        assert complaints == []
        return result

    return run


ON_BOTH_LOOPS = pytest.mark.parametrize(
    "run", [runs_on(asyncio.new_event_loop), runs_on(uvloop.new_event_loop)], ids=["asyncio", "uvloop"]
)


class Wire(asyncio.Protocol):
    """Notes what a protocol is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.handshaken: str | None = None
        self.received = b""
        self.heard = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport, and whether TLS is done."""
        assert self.transport is None
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none, by their class
        encrypted = transport.get_extra_info("ssl_object")
        self.handshaken = encrypted and encrypted.version()

    def data_received(self, data: bytes) -> None:
        """Note what came, never before the connection was made."""
        assert self.transport is not None
        self.received += data
        self.heard.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Note the end."""
        self.lost.set()

    async def abort(self) -> None:
        """Hang up, and wait until that is done."""
        assert self.transport is not None
        self.transport.abort()
        await self.lost.wait()


def dialer(certificates: Certificates | None = None, **settings: Any) -> Dialer:
    """Make a dialer that trusts *certificates*."""
    if certificates is not None:
        settings["verify"] = certificates.client_context()
    return Dialer(PoolConfig(**settings), tls.ContextCache())


async def greeted(dialer: Dialer, address: Address) -> Wire:
    """Dial, be greeted, and hang up."""
    wire = await dialer.dial(address, Wire)
    await wire.heard.wait()
    assert wire.received == GREETING
    await wire.abort()
    return wire


def found(*addresses: tuple[str, int]) -> list[Any]:
    """What a look-up gives."""
    return [
        info
        for host, port in addresses
        for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    ]


def known_names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the names there are from now on: addresses for each, or the error that its look-up ends in."""
    known: dict[str, Any] = {}

    async def look_up(host: str, _: int) -> list[Any]:
        await asyncio.sleep(0)
        answer = known[host]
        if isinstance(answer, Exception):
            raise answer
        return [*answer]

    monkeypatch.setattr(dialing, "look_up", look_up)
    return known


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Give a port whose queue is full: it answers no SYN, and never refuses."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        there = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(there)
        yield there[1]


@contextlib.contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[int]:
    """Give a port that is taken, and refuses connections."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        bound.bind((host, 0))
        yield bound.getsockname()[1]


def failure(run: Run, dialer: Dialer, address: Address) -> TransportFailure:
    """Dial in vain; give the error, which is a ConnectError."""

    async def main() -> TransportFailure:
        with pytest.raises(TransportFailure) as caught:
            await dialer.dial(address, Wire)
        return caught.value

    error: TransportFailure = run(main)
    assert error.kind == "ConnectError"
    return error
