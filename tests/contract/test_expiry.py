"""Idle connections end in time and by themselves, on every runtime: nobody has to ask for anything."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pool_manager import Limits, PoolManager
from tests.support.scripted import ScriptedServer, until
from tests.support.scripted_http1 import Http1Peer, ScriptedHttp1
from tests.support.scripted_http2 import ScriptedHttp2
from tests.support.worlds import PATIENCE, World, config_for

SOON = Limits(keepalive_expiry=0.1)


def idle(
    world: World, server: ScriptedServer[Any], limits: Limits | None, look: Callable[[Any], object] = id
) -> None:
    """Have a request answered, *look* at the answer, and wait until its connection is closed."""

    async def main() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            PoolManager(config_for(server), limits=limits) as manager,
            world.client(manager, base_url=server.url) as client,
        ):
            look(await client.get("/"))
            await until(lambda: [peer.ended for peer in server.peers] == ["FIN"])
            assert [origin.idle for pool in manager.stats().pools for origin in pool.origins] in ([], [0])

    world.tell(main())


@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2])
def test_an_idle_connection_expires(world: World, kind: Callable[[], ScriptedServer[Any]]) -> None:
    """After `keepalive_expiry` it is closed; in threads nobody is left who would keep time."""
    with kind() as server:
        idle(world, server, SOON)
    assert "pool_manager: keeps time" not in {thread.name for thread in threading.enumerate()}


def test_a_server_that_says_how_long_it_waits(world: World) -> None:
    """`Keep-Alive: timeout=1` has it closed before that second is over, and not after a minute."""

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer(b"ok", b"keep-alive: timeout=1")

    with ScriptedHttp1(story) as server:
        idle(world, server, None)


def test_connections_are_probed(world: World) -> None:
    """By default the kernel asks after 45 s whether anybody is there, then every 30 s, and gives up."""

    def look(answer: Any) -> None:
        sock = answer.extensions["network_stream"].get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        numbers = [getattr(socket, name) for name in names if hasattr(socket, name)]
        assert [45, 30, 4][: len(numbers)] == [
            sock.getsockopt(socket.IPPROTO_TCP, number) for number in numbers
        ]

    with ScriptedHttp1() as server:
        idle(world, server, SOON, look)
