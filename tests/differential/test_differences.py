"""
Pooled clients see what plain clients see, or what `improvements.toml` says.

The same servers, byte for byte, are asked by plain httpx, by plain httpx2, and by pooled clients of both,
in threads, on asyncio and on trio.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.differential import http1, http2
from tests.differential.playing import STACKS, Scenario, Seen
from tests.support.certificates import Certificates

TESTS: Final = Path(__file__).parents[1]
IMPROVEMENTS: Final[list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parent / "improvements.toml").read_text()
)["improvement"]
DIFFERENCES: Final[dict[str, list[str]]] = {
    name: seen for entry in IMPROVEMENTS for name, seen in entry.get("scenarios", {}).items()
}
SCENARIOS: Final[dict[str, Scenario]] = {
    f"{protocol} {name}": scenario
    for protocol, module in {"HTTP/1.1": http1, "HTTP/2": http2}.items()
    for name, scenario in module.SCENARIOS.items()
}


def complaint(name: str, plain: Seen, pooled: Seen) -> object:
    """Give what is neither the same nor listed; None if all is well."""
    if name not in DIFFERENCES:
        return None if plain == pooled else (plain, pooled)
    told = [str(plain), str(pooled)]
    return None if told == DIFFERENCES[name] else told


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_is_seen(name: str, certificates: Certificates) -> None:
    """Status, reason, version, headers, body, error and number of requests are the same, or listed."""
    scenario = SCENARIOS[name]
    for stack in STACKS:
        for moment in scenario.moments:
            seen = (stack.play(scenario, certificates, moment, pooled=which) for which in (False, True))
            found = complaint(name, *seen)
            if found is None:
                break
        assert found is None, stack


def test_the_list_is_of_differences() -> None:
    """Each entry is of a scenario or a test that there is, once, and says one thing of each client."""
    assert DIFFERENCES.keys() <= SCENARIOS.keys()
    assert [name for name, (plain, pooled) in DIFFERENCES.items() if plain == pooled] == []
    listed = Counter(name for entry in IMPROVEMENTS for name in entry.get("scenarios", {}))
    assert [name for name, times in listed.items() if times > 1] == []


@pytest.mark.parametrize("entry", IMPROVEMENTS, ids=lambda entry: entry["name"])
def test_an_improvement_is_explained(entry: dict[str, Any]) -> None:
    """Each has a reason, a source, and something that holds it."""
    assert entry["reason"].strip()
    assert entry["source"].strip()
    assert entry.get("scenarios") or entry["tests"]
    for test in entry.get("tests", ()):
        file, _, function = test.partition("::")
        tree = ast.parse((TESTS / file).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function in names or not function, test


def test_every_reported_case_is_on_the_list() -> None:
    """Cases A to N of users, and defects a to h of the pools they have."""
    sources = " ".join(entry["source"] for entry in IMPROVEMENTS if "tests" in entry)
    assert [case for case in "ABCDEFGHIJKLMN" if f"field-report {case}" not in sources] == []
    assert [defect for defect in "abcdefgh" if f"defect {defect}" not in sources] == []
