"""What a type checker is to know of the public names. Checked, never run."""

from __future__ import annotations

from typing import assert_type

import httpx
import httpx2
import openai

import pool_manager
from pool_manager import (
    Lane,
    Lease,
    Limits,
    ManagerStats,
    PollingConfig,
    PoolConfig,
    PoolManager,
    async_wait_for_status,
    wait_for_status,
)


class MyClient(httpx.AsyncClient):
    """A subclass of a user's."""


manager = PoolManager(PoolConfig(http2=False), limits=Limits(linger=1), lanes=[Lane("uploads")], name="mine")

assert_type(manager.client(), httpx.Client)
assert_type(manager.client(base_url="http://localhost"), httpx.Client)
assert_type(manager.client(httpx.AsyncClient, timeout=3), httpx.AsyncClient)
assert_type(manager.client(httpx2.Client), httpx2.Client)
assert_type(manager.client(MyClient, name="mine", lane="uploads", shared=False), MyClient)
assert_type(manager.pooled(openai.AsyncOpenAI, api_key="x"), openai.AsyncOpenAI)
assert_type(manager.attach(httpx2.AsyncClient()), httpx2.AsyncClient)
assert_type(pool_manager.stats(), ManagerStats)

httpx.Client(transport=manager.transport())
httpx.AsyncClient(transport=manager.transport(httpx))
httpx2.Client(transport=manager.transport(httpx2))
httpx2.AsyncClient(transport=manager.transport(httpx2, lane="uploads"))
httpx.Client(transport=manager.transport(httpx2))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

with manager.lease(name="billing") as lease:
    assert_type(lease, Lease)
    assert_type(lease.client(), httpx.Client)
    assert_type(lease.client(httpx2.AsyncClient), httpx2.AsyncClient)
    httpx2.AsyncClient(transport=lease.transport(httpx2))


async def on_a_loop() -> None:
    """Use what a loop uses."""
    async with manager, manager.lease() as lease:
        assert_type(lease.closed, bool)
    await manager.aclose(grace=1)
    assert_type(await async_wait_for_status(ask_in_loop, is_terminal=bool, placeholder=int), int)


def ask(hold: float, timeout: float) -> int:
    """Ask for a number."""
    return int(hold + timeout)


async def ask_in_loop(hold: float, timeout: float) -> int:  # noqa: ASYNC109 - the request's own
    """Ask for a number."""
    return ask(hold, timeout)


assert_type(
    wait_for_status(ask, is_terminal=bool, placeholder=int, config=PollingConfig(timeout=3), lane=None), int
)
assert_type(
    wait_for_status(
        manager.client(), "/wait", statuses=["done"], is_terminal=bool, placeholder=dict[str, str]
    ),
    dict[str, str],
)
assert_type(Lane.long_poll(), Lane)
assert_type(Lane.transfer("files", paths=["/files"], max_in_flight=8), Lane)


with pool_manager.install() as installed, manager.install(config=PoolConfig()):
    assert_type(installed.active, bool)
    installed.uninstall()
