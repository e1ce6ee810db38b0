"""
What a test left behind: sockets, threads, asyncio tasks.

Only what is new counts. `Standing.now()` before the test and `left_since` after
it; what a fixture made before the first look, or closed before the second, is
nobody's leak.

Sockets and threads can be asked for; tasks have to be looked for among all that
the collector knows. `set_aside` before the first look makes that, and every
collection, as quick as the test was small.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.support.server import POLL

PATIENCE = 2.0  # seconds for what is being closed just now
OWN_FDS = Path("/proc/self/fd")  # Linux; elsewhere sockets are not looked for

Task = asyncio.Task[object]

_OLD_TASKS = weakref.WeakSet[Task]()  # that were pending when they were set aside


def set_aside() -> None:
    """Take what there is from the collector: it sees, and goes through, only what comes from now on."""
    gc.collect()
    _OLD_TASKS.update(pending_tasks())
    gc.freeze()


@attrs.frozen
class Standing:
    """What there was at one instant."""

    sockets: frozenset[str]
    threads: frozenset[threading.Thread]
    tasks: weakref.WeakSet[Task]

    @classmethod
    def now(cls) -> Standing:
        """Look around."""
        return cls(frozenset(open_sockets()), frozenset(threading.enumerate()), pending_tasks())

    def left_since(self) -> list[str]:
        """Describe all that is new and stays; empty is good."""
        gc.collect()
        deadline = time.monotonic() + PATIENCE
        while (left := self._new()) and time.monotonic() < deadline:
            time.sleep(POLL)
            gc.collect()
        if left:
            gc.unfreeze()  # what was set aside may be garbage by now, and hold on to it
            gc.collect()
            left = self._new()
        return left

    def _new(self) -> list[str]:
        sockets = [describe(fd) for inode, fd in open_sockets().items() if inode not in self.sockets]
        threads = [
            f"thread {thread}"
            for thread in threading.enumerate()
            # Trio keeps its idle workers for ten seconds, for the next run.
            if thread not in self.threads and not thread.name.startswith("Trio thread ")
        ]
        old_tasks = self.tasks | _OLD_TASKS
        tasks = [f"pending task {task!r}" for task in pending_tasks() if task not in old_tasks]
        return sockets + threads + tasks


def open_sockets() -> dict[str, int]:
    """Give this process's sockets: "socket:[inode]" and one file descriptor."""
    return {name: fd for fd, name in _descriptors() if name.startswith("socket:")}


def _descriptors() -> Iterator[tuple[int, str]]:
    if not OWN_FDS.is_dir():
        return
    for entry in OWN_FDS.iterdir():
        try:
            yield int(entry.name), str(entry.readlink())
        except FileNotFoundError:  # the descriptor of this very listing, or one just closed
            continue


def describe(fd: int) -> str:
    """Say what a socket is connected to."""
    try:
        copy = socket.socket(fileno=os.dup(fd))
    except OSError:
        return f"socket fd={fd}, closed just now"
    with copy:
        return (
            f"socket fd={fd} {copy.family.name} {_name(copy, 'getsockname')} -> {_name(copy, 'getpeername')}"
        )


def _name(connection: socket.socket, which: str) -> str:
    try:
        return str(getattr(connection, which)())
    except OSError:
        return "nobody"


def pending_tasks() -> weakref.WeakSet[Task]:
    """Find tasks that are not done, of any loop, running or not; those that were set aside are not seen."""
    # `asyncio.all_tasks` would need the loops, and a loop nobody holds is what we are after.
    # `type(...)`, since `isinstance` runs code of mocks and lazy modules.
    objects = (thing for thing in gc.get_objects() if issubclass(type(thing), asyncio.Task))
    return weakref.WeakSet(task for task in objects if not task.done())
