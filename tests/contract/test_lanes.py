"""LANES: three hundred long polls hold up none of two hundred short calls, nor one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import httpx
import httpx2
import pytest
import uvloop

from pool_manager import Lane, Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer

POLLS, SHORT = 300, 200
STREAMS = 128

Run = Callable[[Coroutine[Any, Any, None]], None]

pytestmark = [
    pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"]),
    pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"]),
]


def test_lanes(library: Any, run: Run, certificates: Certificates, h2_server: HypercornServer) -> None:
    """Over HTTP/2 every short call is answered while every poll is out, and on few connections."""
    gate = gate_of(library, run)
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    limits = Limits(max_streams_per_connection=STREAMS)

    async def main() -> None:
        async with (
            PoolManager(config, limits=limits, lanes=[Lane("polls", paths=(gate,))]) as manager,
            manager.client(library.AsyncClient, base_url=h2_server.url, timeout=60) as client,
        ):
            await short_calls_beside_polls(client, gate)
            (pool,) = manager.stats().pools
            assert (pool.in_flight, pool.waiting) == (0, 0)
            assert pool.opened <= limits.max_h2_connections_per_origin

    run(main())


def test_lanes_over_http1(
    library: Any, run: Run, certificates: Certificates, h1_server: HypercornServer
) -> None:
    """Over HTTP/1.1, too: polls fill their lane and wait for it, and no short call waits with them."""
    gate = gate_of(library, run)
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    lane = Lane("polls", paths=(gate,))

    async def main() -> None:
        async with (
            PoolManager(config, lanes=[lane]) as manager,
            manager.client(library.AsyncClient, base_url=h1_server.url, timeout=60) as client,
        ):
            calls, polls = map(connections_of, await short_calls_beside_polls(client, gate))
            assert not calls & polls
            assert len(polls) <= lane.max_connections_per_origin < POLLS
            (pool,) = manager.stats().pools
            assert (pool.in_flight, pool.waiting) == (0, 0)

    run(main())


def gate_of(library: Any, run: Run) -> str:
    """Give a path that is answered when the gate at its end is opened, in no other test."""
    return f"/waiting/{library.__name__}-{run.__module__}"


async def short_calls_beside_polls(client: Any, gate: str) -> tuple[Sequence[Any], Sequence[Any]]:
    """Give the answers to short calls, all there before the first poll's, and to the polls."""
    polls = [asyncio.create_task(client.get(gate)) for _ in range(POLLS)]
    calls = await asyncio.gather(*[client.get("/") for _ in range(SHORT)])
    assert [answer.status_code for answer in calls] == [200] * SHORT
    assert not any(poll.done() for poll in polls)
    (await client.get(gate.replace("waiting", "open"))).raise_for_status()
    answers = [await poll for poll in polls]
    assert [answer.status_code for answer in answers] == [200] * POLLS
    return calls, answers


def connections_of(answers: Sequence[Any]) -> set[int]:
    """Name the connections that carried them."""
    return {answer.extensions["pool_manager"].connection_id for answer in answers}
