"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table

from benchmarks import peers, servers
from benchmarks.measure import Plan
from benchmarks.pinning import cores
from benchmarks.results import Measured, Results, Spread
from benchmarks.scenarios import METRICS, SCENARIOS
from benchmarks.targets import TARGETS, Target

LIBRARIES = (
    *("pool-manager", "httpx", "httpx2", "httpx-aiohttp", "aiohttp"),
    *("openai", "anthropic", "groq", "runloop-api-client"),
    *("h2", "hpack", "h11", "httptools", "uvloop"),
)
MOST_RATIOS = 2  # columns
WIDTH = 190  # of the tables, where no terminal says how wide it is
DIGITS = 5  # in JSON
RATES = ("rate", "mib_s")
BUSY = 5  # percent of its time that a client was kept off its core: more, and rates are not to be believed
BUSY_WARNING = (
    f"Others kept some clients off their core for more than {BUSY}% of the time:"
    " believe processor time, and no rate. Measure again on a machine that is left alone."
)


def surroundings(plan: Plan) -> dict[str, object]:
    """Say with what, where and how it was measured."""
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_processor()}",
        "nginx": servers.version(),
        "loop": plan.loop,
        "cores": dict(zip(("server", "client"), cores(), strict=True)),
        "rounds": plan.rounds,
        "effort": attrs.asdict(plan.effort),
        "versions": dict(versions()),
        "load": os.getloadavg()[0],
    }


def _processor() -> str:
    """Say what the cores are; nothing where the system does not."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        return ""
    return f" ({found[1]})" if found else ""


def versions() -> list[tuple[str, str]]:
    """Give the libraries that take part, as they are installed."""
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return [*found, *peers.versions()]


def to_json(plan: Plan, results: Results) -> dict[str, object]:
    """Give all there is."""
    rows = [
        {
            "scenario": scenario,
            "contender": contender,
            "rounds": len(results.rows[scenario, contender]),
            "numbers": _numbers(results, scenario, contender),
            "ratios": _ratios(results, scenario, contender),
            "causes": results.causes(scenario, contender),
        }
        for scenario, contender in results.rows
    ]
    targets = [
        {
            **attrs.asdict(target),
            "found": _written(found),
            "met": target.is_met(found),
            "busy": _is_busy(results, target.scenario, target.contender, target.peer),
        }
        for target, found in judged(results)
    ]
    return {**surroundings(plan), "rows": rows, "targets": targets}


def _numbers(results: Results, scenario: str, contender: str) -> dict[str, object]:
    spreads = {name: results.spread(scenario, contender, name) for name in SCENARIOS[scenario].metrics}
    return {name: _written(spread) for name, spread in spreads.items() if spread is not None}


def _written(spread: Spread) -> dict[str, float]:
    """Write as many digits as were measured, and no more."""
    return {name: float(f"{value:.{DIGITS}g}") for name, value in attrs.asdict(spread).items()}


def _ratios(results: Results, scenario: str, contender: str) -> dict[str, dict[str, object]]:
    """Of ours, give the ratios of the first two metrics, the speed and the cost, to each of the others."""
    ratios: dict[str, dict[str, object]] = {}
    if not contender.startswith("pool+"):
        return ratios
    for metric in SCENARIOS[scenario].metrics[:2]:
        for peer in results.contenders(scenario):
            spread = results.ratio(scenario, contender, metric, peer)
            if peer != contender and spread is not None:
                ratios.setdefault(metric, {})[peer] = _written(spread)
    return ratios


def judged(results: Results) -> list[tuple[Target, Spread]]:
    """Give what came of the targets, in the order of the scenarios."""
    found = ((target, target.found(results)) for target in TARGETS)
    order = list(SCENARIOS)
    known = [(target, spread) for target, spread in found if spread is not None]
    return sorted(known, key=lambda pair: order.index(pair[0].scenario))


def print_tables(plan: Plan, results: Results) -> None:
    """Show a table for each scenario, and what of the targets is reached."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    for scenario in results.scenarios():
        console.print(_table(results, scenario))
        for contender in results.contenders(scenario):
            for cause, count in results.causes(scenario, contender).most_common(3):
                console.print(f"{contender}: {count} x {cause}", style="red", markup=False)
    console.print(_targets(results))
    console.print(_footnote(plan), markup=False)
    if is_busy(results):
        console.print(BUSY_WARNING, style="red", markup=False)


def _table(results: Results, scenario: str) -> Table:
    metrics = SCENARIOS[scenario].metrics
    pooled = [name for name in results.contenders(scenario) if name.startswith("pool+")]
    if len(pooled) > MOST_RATIOS:  # nothing can be read any more
        pooled = []
    table = Table(title=f"{scenario}: {SCENARIOS[scenario].title}", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in metrics:
        table.add_column(METRICS[name].label, justify="right")
    for ours in pooled:
        table.add_column(f"{ours}, to this", justify="right")
    for contender in results.contenders(scenario):
        cells = [shown(results.spread(scenario, contender, name), METRICS[name].digits) for name in metrics]
        for ours in pooled:
            ratio = results.ratio(scenario, ours, metrics[0], contender) if ours != contender else None
            cells.append("" if ratio is None else f"{ratio.median:.2f}x")
        table.add_row(contender, *cells, style="bold" if contender.startswith("pool+") else "")
    return table


def _targets(results: Results) -> Table:
    table = Table(title="Targets", title_justify="left")
    for name in ("scenario", "target", "found"):
        table.add_column(name)
    table.add_column("met")
    for target, found in judged(results):
        met = target.is_met(found)
        busy = target.metric in RATES and _is_busy(results, target.scenario, target.contender, target.peer)
        table.add_row(
            target.scenario,
            str(target),
            shown(found, 2),
            ("yes" if met else "NO") + (", but busy" if busy else ""),
            style="" if met else "red",
        )
    return table


def _footnote(plan: Plan) -> str:
    about = surroundings(plan)
    installed = ", ".join(f"{name} {version}" for name, version in versions())
    return (
        f"Median of up to {plan.rounds} rounds [least..most]; ratios are medians of those within a round."
        f" Python {about['python']} ({plan.loop}), nginx {about['nginx']}, {about['machine']};"
        f" {installed}."
    )


def is_busy(results: Results) -> bool:
    """Tell whether others kept any client off its core."""
    return any(_is_busy(results, *row) for row in results.rows)


def _is_busy(results: Results, scenario: str, *contenders: str | None) -> bool:
    """Tell whether others kept one of them off its core: then its rates say little."""
    spreads = (results.spread(scenario, name, "off_core") for name in contenders if name is not None)
    return any(spread is not None and spread.median > BUSY for spread in spreads)


def shown(spread: Spread | None, digits: int) -> str:
    """Write a number and its spread."""
    if spread is None:
        return "-"
    median, least, most = (f"{value:,.{digits}f}" for value in (spread.median, spread.least, spread.most))
    return median if least == most else f"{median} [{least}..{most}]"


def one_line(number: int, scenario: str, contender: str, measured: Measured) -> str:
    """Tell of one measurement, for who waits."""
    names = [name for name in SCENARIOS[scenario].metrics if name in measured.numbers]
    numbers = ", ".join(
        f"{METRICS[name].label} {measured.numbers[name]:,.{METRICS[name].digits}f}" for name in names[:3]
    )
    return f"{scenario:15} round {number + 1}  {contender:15} {numbers or _first(measured.causes)}"


def _first(causes: Mapping[str, int]) -> str:
    return next(iter(causes), "nothing")
