"""
What a request takes in bytecode instructions, by module: ``python -m benchmarks.steps threads pool+httpx2``.

Times differ with the machine and with whoever else is on it; these numbers are the same each time, so they
tell what a change costs where no time can. They are not the time: an instruction may be a call of C's.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType
from typing import Any

from benchmarks import threads
from benchmarks.contenders import CONTENDERS
from benchmarks.driving import Effort
from benchmarks.scenarios import Arena
from benchmarks.servers import Address, running

WARM = 300  # requests before the one that is counted: the interpreter adapts to what it does often
ROOT = Path(__file__).parents[1]


class Steps:
    """
    Counts what the thread that enters this does.

    Attributes:
        taken: Instructions, by module.
    """

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self._monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]  # from Python 3.12 on

    def __enter__(self) -> Counter[str]:
        monitoring, here = self._monitoring, threading.get_ident()

        def note(code: CodeType, _: int) -> None:
            if threading.get_ident() == here:
                self.taken[_module(code)] += 1

        monitoring.use_tool_id(monitoring.PROFILER_ID, "steps")
        monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, note)
        monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION)
        return self.taken

    def __exit__(self, *_: object) -> None:
        self._monitoring.set_events(self._monitoring.PROFILER_ID, 0)
        self._monitoring.free_tool_id(self._monitoring.PROFILER_ID)


def _module(code: CodeType) -> str:
    path = Path(code.co_filename)
    if path.is_relative_to(ROOT / "pool_manager"):
        return str(path.relative_to(ROOT))
    parts = path.parts
    folder = next((name for name in ("site-packages", "asyncio") if name in parts), None)
    return parts[parts.index(folder) + 1] if folder == "site-packages" else folder or "others"


def in_thread(contender: str, address: Address) -> Counter[str]:
    """Count a GET over HTTP/1.1 in a thread; not the main one, which has signals to think of."""
    arena, found = _arena(contender, address), Steps()

    def ask() -> None:
        with threads.CONTENDERS[contender].open(arena.terms()) as get:
            for _ in range(WARM):
                get(arena.url())
            with found:
                get(arena.url())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found.taken


async def in_loop(contender: str, address: Address) -> Counter[str]:
    """Count a GET over HTTP/1.1 on asyncio, with what the loop does for it."""
    arena = _arena(contender, address)
    async with arena.open() as http:
        for _ in range(WARM):
            await http.get(arena.url())
        with Steps() as taken:
            await http.get(arena.url())
    return taken


def _arena(contender: str, address: Address) -> Arena:
    return Arena(contender=contender, address=address, effort=Effort(), http2=False, tls=False)


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("where", choices=("threads", "asyncio"))
    parser.add_argument("contender", help="for example pool+httpx2, httpx2, floor+httpx2")
    asked = parser.parse_args()
    known = threads.CONTENDERS if asked.where == "threads" else CONTENDERS
    if asked.contender not in known:
        parser.error(f"contender must be one of {', '.join(known)}, not {asked.contender}")
    if not hasattr(sys, "monitoring"):
        parser.error("Python 3.12 or newer is needed")
    with running(None) as server:
        if asked.where == "threads":
            taken = in_thread(asked.contender, server.address)
        else:
            taken = asyncio.run(in_loop(asked.contender, server.address))
    for module, steps in taken.most_common():
        print(f"{steps:6,} {module}")
    print(f"{taken.total():6,} in all")


if __name__ == "__main__":
    main()
