"""
The tables of SDKs: what the tests of this folder verify, and with which versions.

``python -m tests.sdks.table`` writes them into README.md and docs/sdks.md. A test fails where
a page holds anything else, so that they say what the tests do and nothing more.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

from tests.sdks.describing import Case, Colour, HeldBy
from tests.sdks.families import CASES

ROOT: Final = Path(__file__).parents[2]
MARK: Final = "<!-- SDKs: written by `python -m tests.sdks.table` -->"
END: Final = "<!-- end of SDKs -->"

Holds: TypeAlias = Callable[[Case, Colour], bool]

# The tests of the contract, as `test_contract.each` calls them, and for which SDKs and faces each is run.
CHECKS: Final[Mapping[str, Holds]] = {
    "shared": lambda case, colour: colour in case.colours,
    "loops": lambda _, colour: colour == "async",
    "settings": lambda case, _: case.pooled,
    "closed": lambda case, colour: colour in case.colours,
    "copies": lambda case, _: bool(case.copies),
    "streams": lambda case, colour: case.stream_of(colour) is not None,
}

# What of ours each family is put on the pool by.
WAYS: Final[Mapping[str, str]] = {
    "Stainless": "`pooled`",
    "Speakeasy": "`pooled`",
    "Fern": "`pooled`",
    "Takes a client": "`client`",
    "Forwards arguments to httpx": "`transport`, `client`",
    "Around another SDK": "`pooled`, `client`",
    "No way in": "`attach`",
}

HOLDERS: Final[Mapping[HeldBy, str]] = {
    "close": "its `close`",
    "with": "its `with`, then being lost",
    "collector": "being lost",
    "lease": "a lease around it",
}


def pins(group: str) -> dict[str, str]:
    """Give the versions that a dependency group pins, by name."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found = (one.partition("==") for one in groups[group])
    return {re.sub(r"\[.*\]", "", name): version for name, _, version in found if version}


def families() -> str:
    """Write the table for the README: a row for each family."""
    rows = []
    for family, grouped in groupby(CASES, key=lambda case: case.family):
        cases = sorted(grouped, key=lambda case: (case.name, _version(case)))
        verified = [
            check for check, holds in CHECKS.items() if any(holds(one, one.colours[-1]) for one in cases)
        ]
        by_library = [
            ", ".join(f"{one.name} {_version(one)}" for one in cases if one.library == library)
            for library in ("httpx", "httpx2")
        ]
        rows.append((family, WAYS[family], ", ".join(verified), *by_library))
    return _table(("SDKs", "by", "verified", "on httpx", "on httpx2"), rows)


def everything() -> str:
    """Write the table for docs/sdks.md: a row for each SDK."""
    head = ("SDK", "version", "library", "how", *CHECKS, "given back by")
    return _table(head, [_row(case) for case in sorted(CASES, key=lambda case: (case.name, _version(case)))])


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / "README.md": families,
    ROOT / "docs" / "sdks.md": everything,
}


def _version(case: Case) -> str:
    return pins(case.group)[case.name]


def _row(case: Case) -> Sequence[str]:
    marks = (
        " ".join(colour for colour in case.colours if holds(case, colour)) or "-" for holds in CHECKS.values()
    )
    return (case.name, _version(case), case.library, case.how, *marks, HOLDERS[case.held_by])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def updated(page: str, table: str) -> str:
    """Give *page* with *table* between its marks."""
    before, mark, rest = page.partition(MARK)
    _, end, after = rest.partition(END)
    assert mark, f"the page has no {MARK}"
    assert end, f"the page has no {END}"
    return f"{before}{mark}\n\n{table}\n\n{end}{after}"


def main() -> None:
    """Write the tables."""
    for path, table in PAGES.items():
        path.write_text(updated(path.read_text(), table()))


if __name__ == "__main__":
    main()
