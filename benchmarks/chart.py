"""What was measured, drawn: a bar for each contender, a line from its least to its most."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.results import Results
from benchmarks.scenarios import METRICS, SCENARIOS

COLUMNS = 3
COLOURS = {
    "httpx": "#9aa5b1",
    "httpx2": "#66727f",
    "httpx-aiohttp": "#e6b980",
    "httpx2-aiohttp": "#d49a4c",
    "aiohttp": "#b5651d",
    "urllib3": "#8fb996",
    "requests": "#6a9c78",
    "niquests": "#4a7c59",
    "openai": "#9aa5b1",
    "pool+httpx": "#6ea8fe",
    "pool+httpx2": "#1f6feb",
    "pool+openai": "#1f6feb",
    "floor+httpx": "#e3e7eb",
    "floor+httpx2": "#d0d6dc",
}
FAR_APART = 30  # times as much: on a logarithmic axis both can be seen
LOWER_IS_BETTER = ("cpu_us", "wall_s", "short_p99_ms", "cpu_ratio")


@attrs.frozen
class Panel:
    """One small picture: a metric of a scenario."""

    scenario: str
    metric: str


def draw(results: Results, file: Path) -> None:
    """
    Write a PNG.

    Raises:
        OSError: The file cannot be written.
    """
    panels = _panels(results)
    rows = math.ceil(len(panels) / COLUMNS) or 1
    # A `Figure` by itself, unlike pyplot, needs no screen and leaves no state behind.
    spaced = ConstrainedLayoutEngine(wspace=0.06, hspace=0.06)
    figure = Figure(figsize=(5.4 * COLUMNS, 2.9 * rows), dpi=110, layout=spaced)
    grid = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, results)
    for axes in grid[len(panels) :]:
        axes.remove()
    figure.savefig(file, format="png")


def _panels(results: Results) -> list[Panel]:
    """Give each scenario's headline; for small answers what they cost, too, in a row below."""
    ran = [SCENARIOS[name] for name in results.scenarios()]
    small = [scenario for scenario in ran if scenario.metrics[0] == "rate"]
    panels = [
        Panel(scenario.name, metric)
        for http2 in (False, True)
        for metric in ("rate", "cpu_us")
        for scenario in small
        if scenario.http2 == http2
    ]
    return panels + [Panel(scenario.name, scenario.metrics[0]) for scenario in ran if scenario not in small]


def _draw_panel(axes: Axes, panel: Panel, results: Results) -> None:
    metric = METRICS[panel.metric]
    spreads = {
        contender: spread
        for contender in results.contenders(panel.scenario)
        if not (
            panel.metric == "rate" and contender.startswith("floor+")
        )  # it is about cost, and off the scale
        and (spread := results.spread(panel.scenario, contender, panel.metric)) is not None
    }
    medians = [spread.median for spread in spreads.values()]
    errors = [
        [spread.median - spread.least for spread in spreads.values()],
        [spread.most - spread.median for spread in spreads.values()],
    ]
    bars = axes.barh(
        list(spreads),
        medians,
        xerr=errors,
        color=[COLOURS[name] for name in spreads],
        ecolor="#444",
        capsize=2,
    )
    axes.bar_label(bars, [f" {median:,.{metric.digits}f} {metric.unit}" for median in medians], fontsize=8)
    better = "lower" if panel.metric in LOWER_IS_BETTER else "higher"
    axes.set_title(
        f"{SCENARIOS[panel.scenario].title}\n{metric.label} ({better} is better)", fontsize=9, loc="left"
    )
    if medians and min(medians) > 0 and max(medians) > FAR_APART * min(medians):
        axes.set_xscale("log")
    axes.margins(x=0.22)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
