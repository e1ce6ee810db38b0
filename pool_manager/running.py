"""The command ``run``: somebody's program, with every client of it on the pool."""

from __future__ import annotations

import argparse
import atexit
import runpy
import sys
from pathlib import Path

from pool_manager.config import Limits, PoolConfig
from pool_manager.manager import PoolManager


def describe(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what may be asked for."""
    parser.description = (
        "Run a Python program with every httpx and httpx2 client of it pooled, without a change to it."
        " With POOL_MANAGER_DISABLED=1 in the environment it runs as it would without us."
    )
    add = parser.add_argument
    add("--http2", action="store_true", help="allow HTTP/2 also where a client does not ask for it")
    add("--linger", type=_seconds, default=0.0, metavar="SECONDS",
        help="keep connections for so long after their last client is closed (default: 0)")  # fmt: skip
    add("-m", dest="is_module", action="store_true", help="PROGRAM is the name of a module")
    add("program", metavar="PROGRAM", help="a file of Python, or with -m a module")
    add("arguments", nargs=argparse.REMAINDER, metavar="...", help="what PROGRAM gets as its arguments")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        return Limits(linger=float(text)).linger
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be seconds, 0 or more, not {text!r}") from None


def run(options: argparse.Namespace) -> int:
    """Run the program as ``__main__``. What it raises is its own, `SystemExit` included."""
    program: str = options.program
    if not options.is_module and not Path(program).exists():
        sys.stderr.write(f"error: there is no file {program!r}\n")
        return 2
    manager = PoolManager(limits=Limits(linger=options.linger), name="run")
    manager.install(config=PoolConfig() if options.http2 else None)
    atexit.register(manager.close)
    sys.argv = [program, *options.arguments]
    if options.is_module:
        sys.path[0] = str(Path.cwd())
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(program).resolve().parent)
        runpy.run_path(program, run_name="__main__")
    return 0
