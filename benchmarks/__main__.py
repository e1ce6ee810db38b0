"""The command: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from benchmarks import chart, measure, page, profiling, report
from benchmarks.driving import Effort
from benchmarks.results import Measured, Results
from benchmarks.scenarios import SCENARIOS, Scenario

ROUNDS, SECONDS = 3, 1.0
QUICK_ROUNDS, QUICK_SECONDS = 1, 0.5


def main() -> None:
    """Measure what is asked for, and show it."""
    parser = _parser()
    options = parser.parse_args()
    if options.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:15} {scenario.title}: {', '.join(scenario.contenders)}")
        return
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    effort = Effort(seconds=seconds, warm=seconds / 4)
    if options.profile:
        scenario, contender = options.profile
        if scenario not in SCENARIOS or contender not in SCENARIOS[scenario].contenders:
            parser.error(f"--profile: see --list for scenarios and contenders, not {scenario} {contender}")
        profiling.profile(scenario, contender, effort, options.loop)
        return
    plan = measure.Plan(
        scenarios=_chosen(parser, options.only),
        contenders=options.contender,
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        effort=effort,
        loop=options.loop,
        minutes=options.minutes,
    )
    results = measured(plan, options.page)
    report.print_tables(plan, results)
    if options.json:
        options.json.write_text(json.dumps(report.to_json(plan, results), indent=1) + "\n")
    if options.chart:
        chart.draw(results, chart.everything(results), options.chart, columns=3)


def measured(plan: measure.Plan, folder: Path | None) -> Results:
    """Carry the plan out, or what Ctrl-C leaves of it; keep the page in *folder*, if any, up to date."""
    rows: dict[tuple[str, str], list[Measured]] = {}

    def heard(scenario: str, contender: str, number: int, found: Measured) -> None:
        _tell(scenario, contender, number, found)
        rows.setdefault((scenario, contender), []).append(found)
        if folder is not None:
            page.write(folder, plan, Results(rows))

    try:
        measure.carry_out(plan, heard)
    except KeyboardInterrupt:
        print("interrupted: this is what was measured until then", file=sys.stderr)
    results = Results(rows)
    if folder is not None:
        page.write(folder, plan, results, draws=True)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed of requests on the pool, beside its peers, in one run.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round: to see that it works, not to believe")
    add("--only", action="append", metavar="SCENARIO", help="this one, or those that begin so (h1, polls-h2)")
    add("--contender", action="append", choices=_contenders(), metavar="NAME", help="these alone")
    add("--rounds", type=int, metavar="N", help=f"measure each so often, at most (default: {ROUNDS})")
    add("--seconds", type=float, metavar="S", help=f"length of a measurement (default: {SECONDS:g})")
    add("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="event loop (default: asyncio)")
    add("--minutes", type=float, default=math.inf, metavar="M", help="begin no measurement later than this")
    add("--page", type=Path, metavar="FOLDER", help="write results.md, results.json and chart.png there")
    add("--json", type=Path, metavar="PATH", help="write all numbers there")
    add("--chart", type=Path, metavar="PATH", help="draw them there, as PNG")
    add("--profile", nargs=2, metavar=("SCENARIO", "CONTENDER"), help="show where its time goes, instead")
    add("--list", action="store_true", help="list the scenarios and their contenders")
    return parser


def _contenders() -> list[str]:
    return list(dict.fromkeys(name for scenario in SCENARIOS.values() for name in scenario.contenders))


def _chosen(parser: argparse.ArgumentParser, only: list[str] | None) -> list[Scenario]:
    if only is None:
        return list(SCENARIOS.values())
    for name in only:
        if not any(matches(scenario, name) for scenario in SCENARIOS):
            parser.error(
                f"--only: no scenario is called {name}, or begins so; there are {', '.join(SCENARIOS)}"
            )
    return [scenario for name, scenario in SCENARIOS.items() if any(matches(name, asked) for asked in only)]


def matches(name: str, asked: str) -> bool:
    """h1 is h1-c1 and h1-c20 and h1-c200; h1-c20 is not h1-c200."""
    return name == asked or name.startswith(f"{asked}-")


def _tell(scenario: str, contender: str, number: int, measured: Measured) -> None:
    print(report.one_line(number, scenario, contender, measured), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
