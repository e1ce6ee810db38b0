"""What the demo found, as a table for people and as JSON for programs."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Generator

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from pool_manager.demo.measures import COSTS, FAILED, REQUESTS, Comparison


@contextlib.contextmanager
def progress(*, hidden: bool) -> Generator[Callable[[str, int], Callable[[], object]]]:
    """Draw a bar for each way on stderr while it runs; if that is a screen, and not *hidden*."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=hidden or not console.is_terminal
    ) as bars:

        def begin(way: str, requests: int) -> Callable[[], object]:
            return functools.partial(bars.advance, bars.add_task(way, total=requests))

        yield begin


def print_table(comparison: Comparison) -> None:
    """Show both ways side by side; where requests failed, say why."""
    console = Console(highlight=False)
    console.print(titled(comparison), markup=False)
    console.print(_table(comparison))
    for way, phase in (("usual way", comparison.usual), ("pooled", comparison.pooled)):
        for cause, count in phase.causes.items():
            console.print(f"{count} failed the {way}: {cause}", style="red", markup=False)


def _table(comparison: Comparison) -> Table:
    table = Table()
    table.add_column("")
    table.add_column("usual way", justify="right")
    table.add_column("pooled", justify="right", style="bold")
    table.add_column("usual : pooled", justify="right")
    for metric in (REQUESTS, FAILED, *COSTS):
        usual, pooled = metric.shown(comparison.usual), metric.shown(comparison.pooled)
        ratio = "" if metric in (REQUESTS, FAILED) else metric.ratio(comparison)
        table.add_row(metric.label, usual, pooled, ratio)
    return table


def titled(comparison: Comparison) -> str:
    """Say what was measured."""
    clients = ", ".join(f"{count} {name}" for name, count in comparison.clients.items())
    total = sum(comparison.clients.values())
    return f"{comparison.target}\n{total} clients, all at once: {clients}"


def print_json(comparison: Comparison) -> None:
    """Write all there is, with the versions it was measured with."""
    versions = {
        "pool_manager": importlib.metadata.version("pool-manager"),
        "python": platform.python_version(),
    }
    json.dump({**versions, **attrs.asdict(comparison)}, sys.stdout, indent=2)
    print(flush=True)  # noqa: T201 - the command's output
