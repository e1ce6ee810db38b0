"""The command ``demo``: what may be asked for, and the parent of the processes that do it."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import attrs
import httpx

from pool_manager.demo import DemoError
from pool_manager.demo.children import Child, Message
from pool_manager.demo.measures import Comparison, Phase, Task

_AT_MOST = 200  # requests that a server which is not ours gets each way, unless its owner says more

# Told which way begins and how many requests it takes, gives what to call at each of them.
Progress: TypeAlias = Callable[[str, int], Callable[[], object]]


def describe(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what may be asked for."""
    parser.description = (
        "Make many SDK clients and send requests with all of them at once, first the usual way, then on"
        " one pool; show what each way cost."
    )
    add = parser.add_argument
    add("--clients", type=_count, default=50, metavar="N", help="clients (default: 50)")
    add("--requests", type=_count, default=20, metavar="N", help="requests on each (default: 20)")
    add("--url", type=_url, help="GET this with plain clients, instead of running a server for SDK clients")
    add("--at-most", type=_count, metavar="N", help=f"with --url: requests each way (default: {_AT_MOST})")
    add("--chart", type=_png, metavar="FILE.png", help="draw the result, too")
    add("--json", action="store_true", help="print JSON and nothing else")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not text.isdecimal() or not (number := int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return number


def _url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise argparse.ArgumentTypeError(f"{error}: {text!r}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise argparse.ArgumentTypeError(f"must be http://... or https://..., not {text!r}")
    return url


def _png(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"must be a file name that ends in .png, not {text!r}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot be written: {text!r}")
    return path


def run(options: argparse.Namespace) -> None:
    """
    Measure, and show what was found.

    Raises:
        DemoError: It cannot be done.
    """
    if options.at_most is not None and options.url is None:
        raise DemoError("--at-most goes with --url: the local server is ours to load")
    _need(
        "rich", *([] if options.url else ["hypercorn", "trustme"]), *(["matplotlib"] if options.chart else [])
    )
    from pool_manager.demo import report  # noqa: PLC0415 - needs an extra

    with report.progress(hidden=options.json) as progress:
        comparison = _at_url(options, progress) if options.url else _at_home(options, progress)
    (report.print_json if options.json else report.print_table)(comparison)
    if options.chart:
        from pool_manager.demo import chart  # noqa: PLC0415 - needs an extra

        chart.draw(comparison, options.chart)


def _need(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise DemoError(f"the demo needs {package}: pip install 'pool-manager[demo]'")


def _at_home(options: argparse.Namespace, progress: Progress) -> Comparison:
    """Load a server of our own, which tells what it saw."""
    with Child("pool_manager.demo.server") as server:
        address = server.hear()
        task = Task(
            url=str(address["url"]),
            ours=True,
            clients=options.clients,
            requests=options.clients * options.requests,
        )
        # Proxies are for the world, not for loopback; all else the user's programs see, the clients see.
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        env["SSL_CERT_FILE"] = str(address["trusted"])
        return _compare("A local server, TLS, HTTP/2 and HTTP/1.1", task, progress, env, server)


def _at_url(options: argparse.Namespace, progress: Progress) -> Comparison:
    """Load a server of the user's, within bounds."""
    requests = min(options.clients * options.requests, options.at_most or _AT_MOST)
    clients = min(options.clients, requests)
    task = Task(url=str(options.url), ours=False, clients=clients, requests=requests)
    return _compare(f"GET {_shown(options.url)}", task, progress)


def _shown(url: httpx.URL) -> str:
    """Write *url* without user and password."""
    return str(url.copy_with(userinfo=b""))


def _compare(
    target: str,
    task: Task,
    progress: Progress,
    env: Mapping[str, str] | None = None,
    server: Child | None = None,
) -> Comparison:
    kinds, usual = _phase(task, progress, env, server)
    _, pooled = _phase(attrs.evolve(task, pooled=True), progress, env, server)
    return Comparison(target=target, clients=kinds, usual=usual, pooled=pooled)


def _phase(
    task: Task, progress: Progress, env: Mapping[str, str] | None, server: Child | None
) -> tuple[Mapping[str, int], Phase]:
    advance = progress("pooled" if task.pooled else "usual way", task.requests)
    with Child("pool_manager.demo.load", attrs.asdict(task), env) as load:
        kinds = cast("Mapping[str, int]", load.hear()["ready"])
        before: Message = server.ask() if server else {}
        message = load.ask()
        while "done" in message:
            advance()
            message = load.hear()
        if "nothing" in message:
            raise DemoError(f"no request to {_shown(httpx.URL(task.url))} succeeded: {message['nothing']}")
        seen: Message = server.ask() if server else {}
    phase = Phase.from_json(message["phase"])
    return kinds, phase.counted(before, seen) if server else phase
