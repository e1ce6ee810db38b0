"""The command ``watch``: a running process's pools, in the terminal."""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table

_PATIENCE: Final = 5.0  # seconds for the process to answer
_COLUMNS: Final = {  # short enough for 80 columns
    "number": "pool",
    "runtime": "runtime",
    "leases": "leases",
    "connections": "open",
    "in_flight": "active",
    "waiting": "waiting",
    "requests": "requests",
    "failed": "failed",
    "opened": "opened",
    "reused": "reused",
}


def describe(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what may be asked for."""
    parser.description = (
        "Show the pools of a process that called manager.serve_stats(SOCKET). Ctrl-C ends it."
    )
    add = parser.add_argument
    add("--count", type=int, metavar="N", help="end after so many looks (default: never)")
    add("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")
    add("socket", metavar="SOCKET", help="the path given to serve_stats")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Look, show, wait, and again.

    Raises:
        OSError: Nobody serves there, or not to this user.
    """
    try:
        from rich.live import Live  # noqa: PLC0415 - an extra
    except ImportError:
        raise OSError("watch needs the extra cli: pip install 'pool-manager[cli]'") from None
    rounds = itertools.count() if options.count is None else range(options.count)
    with Live(auto_refresh=False) as live:
        for number in rounds:
            if number:
                time.sleep(max(options.interval, 0))
            live.update(_table(_ask(options.socket)), refresh=True)


def _ask(path: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_PATIENCE)
        asked.connect(path)
        with asked.makefile("rb") as answer:
            line = answer.readline()
    if not line:
        raise ConnectionError(f"{path} belongs to another user, or was just closed")
    found: dict[str, Any] = json.loads(line)
    return found


def _table(stats: dict[str, Any]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - an extra
    from rich.text import Text  # noqa: PLC0415 - an extra

    leases = (
        f"{stats['leases_taken']} taken, {stats['leases_returned']} returned, {stats['leases_leaked']} leaked"
    )
    table = Table(
        title=Text(f"{stats['name']}: leases {leases}"), title_justify="left", box=None, pad_edge=False
    )
    for title in _COLUMNS.values():
        table.add_column(title, no_wrap=True, justify="left" if title == "runtime" else "right")
    for pool in stats["pools"]:
        pool["connections"] = pool["active"] + pool["idle"] + pool["draining"]
        table.add_row(*(str(pool[name]) for name in _COLUMNS))
    return table
