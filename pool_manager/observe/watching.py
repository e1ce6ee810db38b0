"""The command ``watch``: a running process's pools, in the terminal."""

from __future__ import annotations

import argparse
import itertools
import time
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from rich.text import Text

_PATIENCE: Final = 5.0  # seconds for the process to answer
_WIDTH: Final = 8  # of a column: ten are 80
_COLUMNS: Final = {
    "leases": "leases",
    "active": "active",
    "idle": "idle",
    "draining": "drain",
    "connecting": "dial",
    "streams": "streams",
    "waiting": "waiting",
    "requests": "asked",
    "opened": "opened",
    "reused": "reused",
}


def describe(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what may be asked for."""
    parser.description = (
        "Show the pools of a process that called manager.serve_stats(SOCKET), with their origins and lanes:"
        " connections by state, requests on them and waiting, and what was counted. Ctrl-C ends it."
    )
    add = parser.add_argument
    add("--count", type=int, metavar="N", help="end after so many looks (default: never)")
    add("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")
    add("--metrics", action="store_true", help="print what Prometheus would scrape, once")
    add("socket", metavar="SOCKET", help="the path given to serve_stats")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Look, show, wait, and again.

    Raises:
        OSError: Nobody serves there, or not to this user.
    """
    if options.metrics:
        print(_ask(options.socket, "/metrics").text, end="")  # noqa: T201 - a command
        return
    try:
        from rich.live import Live  # noqa: PLC0415 - an extra
    except ImportError:
        raise OSError("watch needs the extra cli: pip install 'pool-manager[cli]'") from None
    rounds = itertools.count() if options.count is None else range(options.count)
    with Live(auto_refresh=False) as live:
        for number in rounds:
            if number:
                time.sleep(max(options.interval, 0))
            live.update(_text(_ask(options.socket, "/stats").json()), refresh=True)


def _ask(path: str, page: str) -> httpx.Response:
    transport = httpx.HTTPTransport(uds=path)
    with httpx.Client(transport=transport, timeout=_PATIENCE, trust_env=False) as client:
        try:
            answer = client.get(f"http://localhost{page}")
        except httpx.ConnectError as error:
            raise ConnectionError(f"nobody serves at {path}: {error}") from error
        except httpx.TransportError:
            raise ConnectionError(f"{path} belongs to another user, or was just closed") from None
    if answer.is_error:
        raise OSError(f"{path}: {answer.text.strip()}")
    return answer


def _text(stats: dict[str, Any]) -> Text:
    from rich.text import Text  # noqa: PLC0415 - an extra

    text = Text(no_wrap=True)
    text.append(
        f"{stats['name']}: leases {stats['leases_taken']} taken, {stats['leases_returned']} returned,"
        f" {stats['leases_leaked']} leaked, {stats['overdue']} held for long\n"
    )
    text.append("".join(title.rjust(_WIDTH) for title in _COLUMNS.values()) + "\n", style="dim")
    for pool in stats["pools"]:
        text.append(f"{pool['number']} {pool['runtime']}{_waits(pool)}\n{_row(pool)}\n", style="bold")
        for origin in pool["origins"]:
            lane = "" if origin["lane"] == "default" else f", lane {origin['lane']}"
            where = f"{origin['scheme']}://{origin['host']}:{origin['port']}{lane}"
            text.append(f"  {where}{_waits(origin)}\n{_row(origin)}\n")
    return text


def _row(traffic: dict[str, Any]) -> str:
    return "".join(str(traffic.get(name, "")).rjust(_WIDTH) for name in _COLUMNS)  # an origin has no leases


def _waits(traffic: dict[str, Any]) -> str:
    return f", somebody waits for {traffic['oldest_wait']:.1f} s" if traffic["waiting"] else ""
