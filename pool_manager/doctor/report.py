"""What was found, put together and told: as tables, as plain text, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import attrs

from pool_manager.doctor.distributions import OURS, Distribution
from pool_manager.doctor.looking import Look
from pool_manager.doctor.surroundings import Fact

Verdict: TypeAlias = Literal["pooled", "by hand", "not pooled", "fails"]

_BY_HAND: Final = "by client(), transport(), attach() or install()"


@attrs.frozen(kw_only=True)
class Row:
    """
    One SDK.

    Attributes:
        name: The distribution's.

        version: The distribution's.

        libraries: What it makes requests by.

        verdict: "pooled" (`pooled` makes it), "by hand" (see `how`), "not pooled" (it speaks no
            httpx), or "fails" (it cannot be imported).

        adapter: The adapter that serves it, or None.

        classes: What `pooled` takes, in full.

        takes: What takes a client or a transport, where no adapter serves it.

        how: What to do, or why nothing can be done.
    """

    name: str
    version: str
    libraries: tuple[str, ...]
    verdict: Verdict
    adapter: str | None
    classes: tuple[str, ...]
    takes: tuple[str, ...]
    how: str


@attrs.frozen
class Report:
    """All that was found."""

    facts: Sequence[Fact]
    rows: Sequence[Row]

    @property
    def is_well(self) -> bool:
        """Whether nothing was found that will not work. What speaks no httpx is no fault."""
        return not any(fact.problem for fact in self.facts) and all(
            row.verdict != "fails" for row in self.rows
        )

    def as_json(self) -> str:
        """Put it into words for programs."""
        return json.dumps(
            {
                "well": self.is_well,
                "environment": [attrs.asdict(fact) for fact in self.facts],
                "sdks": [attrs.asdict(row) for row in self.rows],
            },
            indent=2,
        )

    def print(self) -> None:
        """Tell people: in tables where rich is installed."""
        facts = [(fact.name, _told(fact)) for fact in self.facts]
        rows = [
            (f"{row.name} {row.version}", " ".join(row.libraries), _verdict(row), row.how)
            for row in self.rows
        ]
        _print_table(("", "found"), facts)
        if not rows:
            print("No SDK that makes HTTP requests is installed.")  # noqa: T201 - a command's output
            return
        _print_table(("SDK", "library", "verdict", "how, or why not"), rows)


def _verdict(row: Row) -> str:
    return row.verdict if row.adapter is None else f"{row.verdict} ({row.adapter})"


def _told(fact: Fact) -> str:
    return fact.value if fact.problem is None else f"{fact.value}. PROBLEM: {fact.problem}"


def row_of(one: Distribution, seen: Look | None) -> Row:
    """Judge one distribution; *seen* is None for what was not looked at, since it speaks no httpx."""
    verdict, how = _judged(one, seen)
    adapter, classes = (None, ()) if seen is None else (seen.adapter, seen.classes)
    return Row(
        name=one.name, version=one.version, libraries=one.libraries, verdict=verdict, adapter=adapter,
        classes=classes, takes=() if seen is None else seen.takes, how=how,
    )  # fmt: skip


def _judged(one: Distribution, seen: Look | None) -> tuple[Verdict, str]:
    others = [library for library in one.libraries if library not in OURS]
    if one.through:
        return "by hand", f"through {', '.join(one.through)}: pool that"
    if seen is None:
        return "not pooled", f"it makes its requests by {' and '.join(others)}, not by httpx"
    if seen.failure is not None:
        return "fails", f"cannot be imported: {seen.failure}"
    besides = f"; what it sends by {' or '.join(others)} is not pooled" if others else ""
    if seen.adapter is None:
        return "by hand", (_given(seen.takes[0]) if seen.takes else _BY_HAND) + besides
    return "pooled", f"pooled({_best(seen.classes)}, ...){besides}"


def _given(place: str) -> str:
    """Say what to give, by the name of the argument."""
    maker = "transport()" if "transport=" in place else "client()"
    return f"{place} takes what {maker} makes"


def _best(classes: Sequence[str]) -> str:
    """Choose the class to show: the shortest name is the SDK's own one, and not a cloud's."""
    return min(classes, key=lambda name: (len(name), name))


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.table import Table  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above
    except ImportError:
        print(as_text(titles, rows))  # noqa: T201 - a command's output
        return
    table = Table()
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # nobody's words are markup
    Console().print(table)


def as_text(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay a table out in columns, without rich."""
    lines = [titles, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles) - 1)]
    return (
        "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
            for line in lines
        )
        + "\n"
    )
