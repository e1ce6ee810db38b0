"""Many clients of an SDK: the SDK's own way, and on the pool."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pool_manager import PoolManager

CLIENTS, REQUESTS = 50, 20
CONTENDERS = ("openai", "pool+openai")


@asynccontextmanager
async def opened(contender: str, base_url: str, count: int) -> AsyncIterator[tuple[Sequence[Any], float]]:
    """Make *count* clients, which trust what ``SSL_CERT_FILE`` says; give them, and the seconds it took."""
    from openai import AsyncOpenAI  # noqa: PLC0415 - a peer that may not be there

    async with AsyncExitStack() as stack:
        begun = time.perf_counter()
        if contender == "pool+openai":
            manager = await stack.enter_async_context(PoolManager())
            clients = [manager.pooled(AsyncOpenAI, api_key="x", base_url=base_url) for _ in range(count)]
        else:
            clients = [AsyncOpenAI(api_key="x", base_url=base_url) for _ in range(count)]
        made = time.perf_counter() - begun
        for client in clients:
            await stack.enter_async_context(client)
        yield clients, made


async def ask(client: Any) -> None:
    """Send one request."""
    await client.models.list()
