"""
Programs that come to their end, each in its own way: ``python -m tests.support.ending NAME URL CA VERSION``.

What they say on stdout is what was to be; on stderr they say nothing.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

_early: Final[list[Callable[[], object]]] = []
# Registered before ours, and so called after it.
atexit.register(lambda: [job() for job in _early])

import httpx  # noqa: E402 - see above

from pool_manager import Limits, PoolConfig, PoolManager  # noqa: E402 - see above

NAME, URL, CA, VERSION = sys.argv[1:]
MANAGER = PoolManager(
    PoolConfig(verify=CA, http2=VERSION == "h2", trust_env=False),
    limits=Limits(linger=60 if NAME in {"lingering", "collected"} else 0),
)
CLIENT = MANAGER.client(base_url=URL, timeout=20)
held: list[Any] = []  # what lives as long as the module


def ask(path: str = "/") -> None:
    """Ask, and say what came of it."""
    sys.stdout.write(f"{CLIENT.get(path).status_code}\n")


def wait_until(count: int) -> None:
    """Wait for so many requests to be out."""
    while MANAGER.stats().pools[0].in_flight < count:
        threading.Event().wait(0.01)


def unclosed() -> None:
    """Close nothing: a client, a lease, and a client on it."""
    lease = MANAGER.lease()
    held.append((lease, lease.client(base_url=URL)))
    ask()
    held[0][1].get("/")


def lingering() -> None:
    """Have the pool linger: a timer runs."""
    ask()
    CLIENT.close()


def busy() -> None:
    """Have daemon threads in the middle of requests, answers and bodies."""

    def wait() -> None:
        CLIENT.get("/waiting/never")

    def read() -> None:
        with CLIENT.stream("GET", "/stream/2000/1") as answer:
            for _ in answer.iter_raw():
                pass

    def write() -> None:
        CLIENT.post("/echo", content=body())

    def body() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    for work in (wait, wait, read, write):
        threading.Thread(target=work, daemon=True).start()
    wait_until(4)
    ask()


def late() -> None:
    """Have threads begin their requests when the main thread has ended."""

    def work() -> None:
        threading.main_thread().join()
        ask("/slow/50")

    for _ in range(3):
        threading.Thread(target=work).start()


def at_exit() -> None:
    """Ask when the interpreter ends: before our own connections are closed, and after."""
    ask()
    atexit.register(ask)
    _early.append(ask)
    _early.append(CLIENT.close)


def in_thread() -> None:
    """Have a thread end by `sys.exit` while it has an answer, which is then lost."""

    def work() -> None:
        answer = CLIENT.send(CLIENT.build_request("GET", "/payload"), stream=True)
        held.append(answer)
        sys.exit(3)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ask()
    held.pop().close()


def forked() -> None:
    """Have a child ask, and end as programs do, while an answer is open; then use its connection."""
    with CLIENT.stream("GET", "/payload") as answer:
        parts = answer.iter_raw()
        size = len(next(parts))
        child = os.fork()
        if not child:
            CLIENT.get("/").raise_for_status()
            sys.exit()
        os.waitpid(child, 0)
        size += sum(map(len, parts))
    reused = CLIENT.get("/").extensions["pool_manager"].reused
    sys.stdout.write(f"{size} {reused}\n")


class Last:
    """Asks, and closes its client, when it is collected with its module."""

    def __init__(self) -> None:
        self._client, self._say, self._error = CLIENT, sys.stdout.write, httpx.TransportError

    def __del__(self) -> None:
        try:  # noqa: SIM105 - no module is there any more, `contextlib` neither
            self._client.get("/")
        except self._error:  # there is not enough left of the interpreter
            pass
        self._client.close()
        self._say("not stuck\n")


def collected() -> None:
    """Ask when modules are taken down."""
    held.append(Last())


globals()[NAME]()
