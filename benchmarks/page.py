"""A page of Markdown: on what, with what and how it was measured, and every median with its spread."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import chart, report
from benchmarks.measure import Plan
from benchmarks.results import Results
from benchmarks.scenarios import METRICS, SCENARIOS

METHOD = """\
The server has one core and the client the other. Each measurement is a process of its own. A round measures
every contender once, one after another, so that a machine that slows down slows them all. A number is the
median over the rounds, [least..most] beside it where they differ; a dash is what could not be measured.
"""


def write(folder: Path, plan: Plan, results: Results, *, draws: bool = False) -> None:
    """
    Write results.md and results.json and, if it *draws*, chart.png; what is there is written over.

    Raises:
        OSError: They cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if draws:
        chart.draw(results, folder / "chart.png")
    (folder / "results.json").write_text(json.dumps(report.to_json(plan, results), indent=1) + "\n")
    (folder / "results.md").write_text("\n".join(_lines(plan, results, with_chart=draws)) + "\n")


def _lines(plan: Plan, results: Results, *, with_chart: bool) -> Iterator[str]:
    about = report.surroundings(plan)
    rounds = max((len(measured) for measured in results.rows.values()), default=0)
    yield "# Benchmarks"
    yield f"\n{about['machine']}; Python {about['python']}, {plan.loop}; nginx {about['nginx']}."
    yield f"Measured {about['when']}."
    yield f"\n{', '.join(f'{name} {version}' for name, version in report.versions())}."
    yield f"\n{METHOD}"
    yield f"{rounds} of {plan.rounds} rounds, {plan.effort.seconds:g} s for each measurement of speed."
    if not results.rows:
        yield "\nNothing was measured."
    if with_chart:
        yield "\n![Bars for each scenario](chart.png)"
    for scenario in results.scenarios():
        yield from _table(results, scenario)


def _table(results: Results, scenario: str) -> Iterator[str]:
    metrics = SCENARIOS[scenario].metrics
    yield f"\n## {scenario}: {SCENARIOS[scenario].title}\n"
    yield "| | " + " | ".join(METRICS[name].label for name in metrics) + " | rounds |"
    yield "|---" * (len(metrics) + 2) + "|"
    for contender in results.contenders(scenario):
        spreads = (results.spread(scenario, contender, name) for name in metrics)
        cells = [
            report.shown(spread, METRICS[name].digits) for spread, name in zip(spreads, metrics, strict=True)
        ]
        yield f"| {contender} | {' | '.join(cells)} | {len(results.rows[scenario, contender])} |"
