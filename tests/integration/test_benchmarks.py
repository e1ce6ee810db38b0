"""The benchmarks run: each kind of scenario, a handful of requests, and no look at the time they take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import chart, report
from benchmarks.driving import Effort
from benchmarks.measure import Plan, carry_out
from benchmarks.results import Results
from benchmarks.scenarios import SCENARIOS

OURS = ("pool+httpx", "pool+openai")
KINDS = (
    "h1-c20",
    "h2-c20",
    "threads-h1-20",
    "threads-h2-20",
    "down-h1",
    "up-h2",
    "burst-h2",
    "polls-h1",
    "lanes-h1",
    "lanes-line-h2",
    "sdk",
    "idle",
    "waiters",
)
PLAN = Plan(
    scenarios=[SCENARIOS[name] for name in KINDS],
    contenders=OURS,
    rounds=1,
    effort=Effort(seconds=5, warm=0, answers=5),
)


@pytest.fixture(scope="module")
def results() -> Results:
    """Run them, once."""
    return carry_out(PLAN, lambda *_: None)


@pytest.mark.parametrize("scenario", KINDS)
def test_a_scenario_gives_its_numbers(scenario: str, results: Results) -> None:
    """Each metric of a scenario is measured, and no request fails."""
    (contender,) = results.contenders(scenario)
    numbers = results.rows[scenario, contender][0].numbers

    assert {} == results.causes(scenario, contender)
    # Nobody counts here how often a process was kept off its core.
    assert {"off_core"} >= set(SCENARIOS[scenario].metrics) - set(numbers)
    assert 0 == numbers["failed"]


def test_a_run_can_be_written_down_and_drawn(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON has a row for each scenario, tables name them all, and the chart is a picture."""
    written = json.loads(json.dumps(report.to_json(PLAN, results), allow_nan=False))
    report.print_tables(PLAN, results)
    shown = capsys.readouterr().out
    chart.draw(results, tmp_path / "chart.png")

    assert sorted(KINDS) == sorted(row["scenario"] for row in written["rows"])
    assert [] == [name for name in KINDS if f"{name}: " not in shown]
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
