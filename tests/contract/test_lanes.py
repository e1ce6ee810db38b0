"""LANES over HTTP/2: three hundred long polls hold up none of two hundred short calls, nor one another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
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


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_lanes(
    library: Any,
    run: Callable[[Coroutine[Any, Any, None]], None],
    certificates: Certificates,
    h2_server: HypercornServer,
) -> None:
    """Every short call is answered while polls wait for streams and while all are out; on few connections."""
    gate = f"{library.__name__}-{run.__module__}"
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    limits = Limits(max_streams_per_connection=STREAMS)
    lanes = [Lane("polls", paths=(f"/waiting/{gate}",))]

    async def main() -> None:
        async with (
            PoolManager(config, limits=limits, lanes=lanes) as manager,
            manager.client(library.AsyncClient, base_url=h2_server.url, timeout=60) as client,
        ):
            polls = [asyncio.create_task(client.get(f"/waiting/{gate}")) for _ in range(POLLS)]
            for _ in range(2):
                answers = await asyncio.gather(*[client.get("/") for _ in range(SHORT)])
                assert [answer.status_code for answer in answers] == [200] * SHORT
                assert not any(poll.done() for poll in polls)
                while manager.stats().pools[0].waiting:
                    await asyncio.sleep(0.01)
            (await client.get(f"/open/{gate}")).raise_for_status()
            assert [(await poll).status_code for poll in polls] == [200] * POLLS
            (pool,) = manager.stats().pools
            assert (pool.in_flight, pool.waiting) == (0, 0)
            assert pool.opened <= limits.max_h2_connections_per_origin

    run(main())
