"""Polls and transfers on lanes of their own: short calls share no connection with them, and wait for none."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import httpx2
import pytest

from pool_manager import Lane, Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.payload import PAYLOAD

POLLS, TRANSFERS, SHORT = 300, 8, 100
PATIENCE = 120


@pytest.fixture(params=["h2_server", "h1_server"])
def server(request: pytest.FixtureRequest) -> HypercornServer:
    """Give a server of HTTP/2, and one of HTTP/1.1."""
    given: HypercornServer = request.getfixturevalue(request.param)
    return given


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_short_calls_share_no_connection_with_polls_and_transfers(
    library: Any, certificates: Certificates, server: HypercornServer
) -> None:
    """
    While three hundred polls are held and eight transfers are begun and not read, short calls are answered.

    That none of their connections ever carried a poll or a transfer says that none can stand behind one.
    """
    gate = f"apart-{library.__name__}-{server.port}"
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    limits = Limits(max_connections_per_origin=POLLS)
    lanes = [Lane.long_poll(paths=(f"/waiting/{gate}",)), Lane.transfer(paths=("/payload",))]
    taken: dict[str, set[int]] = {}

    async def note(response: Any) -> None:
        record = response.extensions["pool_manager"]
        taken.setdefault(record.lane, set()).add(record.connection_id)

    async def main() -> None:
        hooks = {"response": [note]}
        async with (
            asyncio.timeout(PATIENCE),
            PoolManager(config, limits=limits, lanes=lanes) as manager,
            manager.client(
                library.AsyncClient, base_url=server.url, timeout=PATIENCE, event_hooks=hooks
            ) as client,
        ):
            polls = [asyncio.create_task(client.get(f"/waiting/{gate}")) for _ in range(POLLS)]
            requests = [client.build_request("GET", "/payload") for _ in range(TRANSFERS)]
            transfers = [await client.send(request, stream=True) for request in requests]
            answers = await asyncio.gather(*[client.get("/") for _ in range(SHORT)])
            assert [answer.status_code for answer in answers] == [200] * SHORT
            assert not any(poll.done() for poll in polls)
            assert not any(transfer.is_stream_consumed for transfer in transfers)
            assert [await transfer.aread() for transfer in transfers] == [PAYLOAD] * TRANSFERS
            (await client.get(f"/open/{gate}")).raise_for_status()
            assert [(await poll).status_code for poll in polls] == [200] * POLLS

    asyncio.run(main())
    short, transfer, poll = taken["default"], taken["transfer"], taken["polling"]
    assert not short & transfer
    assert not short & poll
    assert not transfer & poll
