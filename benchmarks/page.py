"""A page of Markdown: on what, with what and how it was measured, and every median with its spread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
NAMES = """\
Who is on the pool is called pool+ and the library or SDK whose clients these are; floor+ is the library over
a transport that answers at once: nobody can be faster through its API."""
CAUSES = 3  # of failures that are shown


def write(folder: Path, plan: Plan, results: Results, *, draws: bool = False) -> None:
    """
    Write results.md and results.json and, if it *draws*, the charts; what is there is written over.

    Raises:
        OSError: They cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = list(chart.draw_all(results, folder)) if draws else []
    (folder / "results.json").write_text(json.dumps(report.to_json(plan, results), indent=1) + "\n")
    (folder / "results.md").write_text("\n".join(_lines(plan, results, drawn)) + "\n")


def _lines(plan: Plan, results: Results, charts: Sequence[str]) -> Iterator[str]:
    about = report.surroundings(plan)
    rounds = max((len(measured) for measured in results.rows.values()), default=0)
    yield "# Benchmarks"
    yield f"\n{about['machine']}; Python {about['python']}, {plan.loop}; nginx {about['nginx']}."
    yield f"Measured {about['when']}."
    yield f"\n{', '.join(f'{name} {version}' for name, version in report.versions())}."
    yield f"\n{METHOD}"
    yield f"{rounds} of {plan.rounds} rounds, {plan.effort.seconds:g} s for each measurement of speed."
    yield NAMES
    if report.is_busy(results):
        yield f"\n**{report.BUSY_WARNING}**"
    if not results.rows:
        yield "\nNothing was measured."
    yield from (f"\n![Bars for each contender]({name})" for name in charts)
    yield from _targets(results)
    for scenario in results.scenarios():
        yield from _table(results, scenario)
        yield from _causes(results, scenario)


def _targets(results: Results) -> Iterator[str]:
    judged = report.judged(results)
    if not judged:
        return
    yield f"\n## Targets: {sum(target.is_met(found) for target, found in judged)} of {len(judged)} reached\n"
    yield "| | target | found | reached |"
    yield "|---|---|---|---|"
    for target, found in judged:
        reached = "yes" if target.is_met(found) else "**no**"
        yield f"| {target.scenario} | {target} | {report.shown(found, 2)} | {reached} |"


def _table(results: Results, scenario: str) -> Iterator[str]:
    metrics = SCENARIOS[scenario].metrics
    yield f"\n## {scenario}: {SCENARIOS[scenario].title}\n"
    yield "| | " + " | ".join(METRICS[name].heading for name in metrics) + " | rounds |"
    yield "|---" * (len(metrics) + 2) + "|"
    for contender in results.contenders(scenario):
        spreads = (results.spread(scenario, contender, name) for name in metrics)
        cells = [
            report.shown(spread, METRICS[name].digits) for spread, name in zip(spreads, metrics, strict=True)
        ]
        yield f"| {contender} | {' | '.join(cells)} | {len(results.rows[scenario, contender])} |"


def _causes(results: Results, scenario: str) -> Iterator[str]:
    """Say why requests failed."""
    for contender in results.contenders(scenario):
        for cause, count in results.causes(scenario, contender).most_common(CAUSES):
            yield f"\n{contender}: {count} x `{cause}`"
