"""
One way of making clients under load, alone in a process: ``python -m pool_manager.demo.load``.

Alone, so that memory and time are this way's own. It says "ready" after warming
up, waits to be told to go on, says "done" at each request and at last "phase".
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import itertools
import math
import os
import socket
import ssl
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio.lowlevel
import attrs

from pool_manager.demo import children
from pool_manager.demo.clients import Kind, plain, sdks
from pool_manager.demo.measures import Phase, Task
from pool_manager.manager import PoolManager

_MIB = 1024 * 1024


class NothingAnsweredError(Exception):
    """Each client has tried, and none got an answer."""


class Load:
    """
    Clients at work, each sending its requests one after another, all at once.

    Attributes:
        kinds: The kind of each client.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._addresses: set[str] = set()  # as many as connections, where the server does not count them
        kinds = (sdks(task.url) if task.ours else []) or plain(task.url, self._addresses)
        self.kinds = list(itertools.islice(itertools.cycle(kinds), task.clients))
        self._seconds: list[float] = []
        self._causes: Counter[str] = Counter()

    async def warm_up(self) -> None:
        """Import what is imported at the first request: it shall count for neither way."""
        for name in ("httpcore", "httpcore2", "h2.connection"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        await anyio.lowlevel.checkpoint()
        # A server of the user's gets the requests that were agreed on, and no more.
        for kind in dict.fromkeys(self.kinds) if self._task.ours else ():
            async with kind.make(None) as client:
                with contextlib.suppress(Exception):  # if this matters, the load itself will find out
                    await kind.ask(client)
        gc.collect()

    async def run(self) -> Phase:
        """
        Make the clients, send the requests.

        Raises:
            NothingAnsweredError: The server cannot be used.
        """
        manager = PoolManager() if self._task.pooled else None
        memory, begun = _peak_memory(), time.perf_counter()
        clients = [kind.make(manager) for kind in self.kinds]
        made = time.perf_counter()
        async with contextlib.AsyncExitStack() as stack:
            for client in clients:
                await stack.enter_async_context(client)
            await self._send_all(clients)
            ended, grown = time.perf_counter(), _peak_memory() - memory
        return self._phase(ended - begun, (made - begun) / len(clients), grown)

    async def _send_all(self, clients: Sequence[object]) -> None:
        least, more = divmod(self._task.requests, len(clients))
        async with asyncio.TaskGroup() as group:
            for number, (kind, client) in enumerate(zip(self.kinds, clients, strict=True)):
                group.create_task(self._send(kind, client, least + (number < more)))

    async def _send(self, kind: Kind, client: object, count: int) -> None:
        for _ in range(count):
            begun = time.perf_counter()
            try:
                await kind.ask(client)
            except Exception as error:  # noqa: BLE001 - each SDK has errors of its own; all are counted and shown
                self._failed(error)
            else:
                self._seconds.append(time.perf_counter() - begun)
            children.say(done=1)

    def _failed(self, error: Exception) -> None:
        cause = explained(error)
        self._causes[cause] += 1
        if not self._seconds and self._causes.total() == self._task.clients:
            raise NothingAnsweredError(cause)

    def _phase(self, wall: float, each: float, grown: float) -> Phase:
        connections = len(self._addresses)
        return Phase(
            requests=self._task.requests,
            failed=self._causes.total(),
            causes=self._causes,
            connections=connections,
            handshakes=connections if self._task.url.startswith("https:") else 0,
            wall_seconds=wall,
            p50_ms=1000 * statistics.median(self._seconds),
            p99_ms=1000 * sorted(self._seconds)[math.ceil(0.99 * len(self._seconds)) - 1],
            memory_mib=None if math.isnan(grown) else grown / _MIB,
            client_ms=1000 * each,
        )


def explained(error: BaseException) -> str:
    """Say in one line what went wrong, as near to the root of it as anybody put it in words."""
    said, below = str(error), error.__cause__ or error.__context__
    while below is not None:
        if isinstance(below, socket.gaierror | ssl.SSLError):
            said = below.strerror or said
        elif isinstance(below, OSError) and below.errno:
            said = os.strerror(below.errno)  # asyncio's own words hide "connection refused"
        below = below.__cause__ or below.__context__
    return " ".join(f"{type(error).__name__}: {said}".split()).removesuffix(":")


def _peak_memory() -> float:
    """Bytes this process has taken at most; not a number where the system does not say."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()  # of Linux, where `ru_maxrss` counts the parent's too
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmHWM"].removesuffix("kB")) * 1024
    try:
        import resource  # noqa: PLC0415 - Unix only
    except ImportError:
        return math.nan
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return taken if sys.platform == "darwin" else taken * 1024


async def main(task: Task) -> None:
    """Warm up, wait, run, tell."""
    told = threading.Event()
    children.follow_parent(answer=told.set)
    load = Load(task)
    await load.warm_up()
    children.say(ready=Counter(kind.name for kind in load.kinds))
    told.wait()
    try:
        children.say(phase=attrs.asdict(await load.run()))
    except* NothingAnsweredError as group:
        children.say(nothing=str(group.exceptions[0]))


if __name__ == "__main__":
    asyncio.run(main(Task.from_json(children.task())))
