"""The engine of an asyncio or uvloop loop's pool."""

from __future__ import annotations

import asyncio

from pool_manager.config import Limits, PoolConfig
from pool_manager.core.lanes import Lanes
from pool_manager.events import Audience
from pool_manager.runtimes.answering import clock
from pool_manager.runtimes.dialing import Dialer
from pool_manager.runtimes.in_loops.engine import LoopEngine
from pool_manager.runtimes.in_loops.port import Transport
from pool_manager.runtimes.on_asyncio.letting_go import sever
from pool_manager.runtimes.tls import ContextCache


class AsyncioEngine(LoopEngine):
    """Requests of one event loop on connections of our own."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: PoolConfig,
        limits: Limits,
        lanes: Lanes,
        contexts: ContextCache,
        *,
        audience: Audience,
    ) -> None:
        super().__init__(loop, Dialer(config, contexts), config, limits, lanes, audience=audience)

    def now(self) -> float:
        """Tell the scheduler's time: while the loop stands still it does, too."""
        return clock() - self.timers.stood_still

    def sever(self, transport: Transport) -> None:
        """Close a socket, also where the loop was closed before it."""
        sever(transport)
