"""The benchmarks run: each kind of scenario, a handful of requests, and no look at the time they take."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from benchmarks import chart, measure, page, report
from benchmarks.__main__ import measured
from benchmarks.driving import Effort
from benchmarks.measure import Plan, carry_out
from benchmarks.results import Measured, Results
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


def test_a_page_has_every_number(results: Results, tmp_path: Path) -> None:
    """The page names versions and rounds, has a table for each scenario, and shows the chart."""
    page.write(tmp_path / "new", PLAN, results, draws=True)
    text = (tmp_path / "new" / "results.md").read_text()

    assert [] == [name for name in KINDS if f"## {name}: " not in text]
    assert all(f"{name} {version}" in text for name, version in report.versions())
    assert "1 of 1 rounds" in text
    assert "(chart.png)" in text
    assert {"chart.png", "results.json", "results.md"} == {file.name for file in (tmp_path / "new").iterdir()}


def test_an_interrupted_run_leaves_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured before Ctrl-C is on the page, before and after the run has noticed."""
    seen = []

    def interrupted(_: Plan, heard: measure.Heard) -> Results:
        heard("h1-c20", "pool+httpx", 0, Measured(numbers={"rate": 1234.0}))
        seen.append((tmp_path / "results.md").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "carry_out", interrupted)
    found = measured(PLAN, tmp_path)

    assert [("h1-c20", "pool+httpx")] == list(found.rows)
    assert "| pool+httpx | 1,234 |" in seen[0]
    assert "| pool+httpx | 1,234 |" in (tmp_path / "results.md").read_text()


def test_no_measurement_begins_after_its_time() -> None:
    """A plan whose time is up measures nothing more."""
    assert {} == carry_out(attrs.evolve(PLAN, minutes=0), lambda *_: None).rows


def test_a_round_goes_through_all_scenarios() -> None:
    """A run that is cut short has measured each scenario as often as any, give or take one."""
    plan = attrs.evolve(PLAN, scenarios=[SCENARIOS["h1-c20"], SCENARIOS["h2-c20"]], rounds=2)
    found = [(scenario.name, number) for scenario, number, _ in measure.turns(plan)]

    assert [("h1-c20", 0), ("h2-c20", 0), ("h1-c20", 1), ("h2-c20", 1)] == found
