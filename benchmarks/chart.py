"""What was measured, drawn: a bar for each contender, a line from its least to its most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import attrs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from benchmarks.results import Results
from benchmarks.scenarios import METRICS, SCENARIOS

COLOURS = 64  # more make a file larger, and a picture of bars no better
FAR_APART = 30  # times as much: on a logarithmic axis both can be seen


@attrs.frozen
class Panel:
    """One small picture: a metric of a scenario."""

    scenario: str
    metric: str


# What is looked at first, each a file of its own.
SPEED = (
    *(Panel("h1-c20", "rate"), Panel("h2-c20", "rate")),
    *(Panel("threads-h1-20", "rate"), Panel("threads-h2-20", "rate")),
)
SHARING = (
    *(Panel("sdks", "wall_s"), Panel("sdks", "connections")),
    *(Panel("make", "make_us"), Panel("polls-h2", "short_p99_ms")),
)


def draw_all(results: Results, folder: Path) -> Iterator[str]:
    """
    Write a chart of what is looked at first, and one of everything that ran; give the names of the files.

    Raises:
        OSError: They cannot be written.
    """
    ran = results.scenarios()
    for name, panels, columns in (
        ("speed.png", SPEED, 2),
        ("sharing.png", SHARING, 2),
        ("everything.png", everything(results), 3),
    ):
        there = [panel for panel in panels if panel.scenario in ran]
        if there:
            draw(results, there, folder / name, columns=columns)
            yield name


def everything(results: Results) -> Sequence[Panel]:
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


def draw(results: Results, panels: Sequence[Panel], file: Path, *, columns: int = 2) -> None:
    """
    Write a PNG.

    Raises:
        OSError: The file cannot be written.
    """
    rows = math.ceil(len(panels) / columns) or 1
    # A `Figure` by itself, unlike pyplot, needs no screen and leaves no state behind.
    spaced = ConstrainedLayoutEngine(wspace=0.06, hspace=0.06)
    figure = Figure(figsize=(5.4 * columns, 2.9 * rows), dpi=90, layout=spaced)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, results)
    for axes in grid[len(panels) :]:
        axes.remove()
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).quantize(COLOURS).save(file, format="png", optimize=True)


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
    colours = [_colour(contender) for contender in spreads]
    bars = axes.barh(list(spreads), medians, xerr=errors, color=colours, ecolor="#444", capsize=2)
    axes.bar_label(bars, [f" {median:,.{metric.digits}f} {metric.unit}" for median in medians], fontsize=8)
    axes.set_title(
        f"{SCENARIOS[panel.scenario].title}\n{metric.label} ({metric.better} is better)",
        fontsize=9,
        loc="left",
        wrap=True,
    )
    if medians and min(medians) > 0 and max(medians) > FAR_APART * min(medians):
        axes.set_xscale("log")
    axes.margins(x=0.22)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(contender: str) -> str:
    """Ours are blue, peers grey, and what no transport can go below is pale."""
    if contender.startswith("pool+"):
        return "#6ea8fe" if contender == "pool+httpx" else "#1f6feb"
    if contender.startswith("no-lanes+"):
        return "#b6d4fe"
    return "#e3e7eb" if contender.startswith("floor+") else "#9aa5b1"
