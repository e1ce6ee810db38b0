"""The benchmarks run: each scenario, a handful of requests, and no look at the time they take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from benchmarks import measure, page, report
from benchmarks.__main__ import measured
from benchmarks.driving import Effort
from benchmarks.measure import Plan, turns
from benchmarks.pinning import cores
from benchmarks.results import Measured, Results
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import Server, running

PLAN = Plan(
    scenarios=list(SCENARIOS.values()),
    contenders=("pool+httpx", "pool+openai", "pool+sdks"),
    rounds=1,
    effort=Effort(seconds=5, warm=0, answers=5),
)
OURS = {scenario.name: contender for scenario, _, contender in turns(PLAN)}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Run the benchmarks' server, once."""
    with running(cores()[0]) as server:
        yield server


@pytest.fixture
def results() -> Results:
    """Give a number for all that can be measured."""
    return Results(
        {
            (scenario.name, contender): [Measured(numbers=dict.fromkeys(scenario.metrics, 2.5))]
            for scenario in SCENARIOS.values()
            for contender in scenario.contenders
        }
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_gives_its_numbers(scenario: str, server: Server) -> None:
    """Each metric of a scenario is measured, and no request fails."""
    found = measure.measure(PLAN, scenario, OURS[scenario], server)

    assert {} == found.causes
    # Nobody counts here how often a process was kept off its core.
    assert {"off_core"} >= set(SCENARIOS[scenario].metrics) - set(found.numbers)
    assert 0 == found.numbers.get("failed", 0)


@pytest.mark.parametrize("scenario", ["h1-c1", "threads-h1-1"])
@pytest.mark.parametrize("contender", ["httpx", "httpx2", "pool+httpx2", "floor+httpx2"])
def test_a_contender_answers(scenario: str, contender: str, server: Server) -> None:
    """Each way to make a client gives one that can be measured."""
    assert {} == measure.measure(PLAN, scenario, contender, server).causes


def test_a_run_can_be_written_down(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has a row for each scenario and contender, and tables name them all."""
    written = json.loads(json.dumps(report.to_json(PLAN, results), allow_nan=False))
    report.print_tables(PLAN, results)
    shown = capsys.readouterr().out

    assert list(results.rows) == [(row["scenario"], row["contender"]) for row in written["rows"]]
    assert [] == [name for name in SCENARIOS if f"{name}: " not in shown]


def test_a_page_has_every_number(results: Results, tmp_path: Path) -> None:
    """The page names versions and rounds, and has a table for each scenario."""
    page.write(tmp_path / "new", PLAN, results)
    text = (tmp_path / "new" / "results.md").read_text()

    assert [] == [name for name in SCENARIOS if f"## {name}: " not in text]
    assert all(f"{name} {version}" in text for name, version in report.versions())
    assert "1 of 1 rounds" in text
    assert "## Targets: " in text
    assert {"results.json", "results.md"} == {file.name for file in (tmp_path / "new").iterdir()}


def test_a_page_shows_what_was_drawn(results: Results, tmp_path: Path) -> None:
    """The charts are pictures, of what was measured alone, and the page shows each of them."""
    few = Results({row: measured for row, measured in results.rows.items() if row[0] == "h1-c20"})
    page.write(tmp_path, PLAN, few, draws=True)
    charts = {file.name: file.read_bytes() for file in tmp_path.glob("*.png")}

    assert {"speed.png", "everything.png"} == set(charts)
    assert all(content.startswith(b"\x89PNG") for content in charts.values())
    assert all(f"({name})" in (tmp_path / "results.md").read_text() for name in charts)


def test_a_page_says_why_requests_failed(tmp_path: Path) -> None:
    """A cause stands below the table of its scenario."""
    failed = Measured(numbers={}, causes={"ReadError: reset": 3})
    page.write(tmp_path, PLAN, Results({("h1-c1", "httpx"): [failed]}))

    assert "httpx: 3 x `ReadError: reset`" in (tmp_path / "results.md").read_text()


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
    assert {} == measure.carry_out(attrs.evolve(PLAN, minutes=0), lambda *_: None).rows


def test_a_round_goes_through_all_scenarios() -> None:
    """A run that is cut short has measured each scenario; those of many rounds go on before others do."""
    plan = attrs.evolve(PLAN, scenarios=[SCENARIOS[name] for name in ("h1-c20", "up-h1", "h2-c20")], rounds=3)
    found = [(scenario.name, number) for scenario, number, _ in turns(plan)]

    first = [("h1-c20", 0), ("up-h1", 0), ("h2-c20", 0)]
    many = [("h1-c20", 1), ("h2-c20", 1), ("h1-c20", 2), ("h2-c20", 2)]
    assert [*first, *many, ("up-h1", 1)] == found


@pytest.mark.parametrize("where", ["threads", "asyncio"])
def test_steps_are_counted(where: str) -> None:
    """What a request takes is told by module, and adds up; a Python that cannot count says so."""
    command = [sys.executable, "-m", "benchmarks.steps", where, "pool+httpx2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not hasattr(sys, "monitoring"):
        assert (done.returncode, done.stderr.splitlines()[-1].rpartition(": ")[2]) == (
            2,
            "Python 3.12 or newer is needed",
        )
        return
    assert (done.returncode, done.stderr) == (0, "")
    *modules, total = done.stdout.splitlines()
    steps = [int(line[:6].replace(",", "")) for line in (*modules, total)]
    assert sum(steps[:-1]) == steps[-1] > 0
    assert any("pool_manager/core/scheduler.py" in line for line in modules)
