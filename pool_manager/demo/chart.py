"""What the demo found, drawn: a small picture for each cost, usual way beside pooled."""

# pyright: reportUnknownMemberType=false
# matplotlib types its arguments in part.

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pool_manager.demo.measures import COSTS, FAILED, Comparison, Metric
from pool_manager.demo.report import titled

_USUAL, _POOLED = "#9aa5b1", "#1f6feb"
_NOTHING = 1e-9  # an axis must be longer than nothing, also where both are zero


def draw(comparison: Comparison, file: Path) -> None:
    """
    Write a PNG.

    Raises:
        OSError: The file cannot be written.
    """
    # A `Figure` by itself, unlike pyplot, needs no screen and leaves no state behind.
    spaced = ConstrainedLayoutEngine(wspace=0.08, hspace=0.08)
    figure = Figure(figsize=(12, 6.5), dpi=120, layout=spaced)
    figure.suptitle(f"{titled(comparison)}\nLower is better.", x=0.01, ha="left", fontsize=11)
    for axes, metric in zip(figure.subplots(2, 4).flat, (*COSTS, FAILED), strict=True):
        _draw_metric(axes, metric, comparison)
    figure.savefig(file, format="png")


def _draw_metric(axes: Axes, metric: Metric, comparison: Comparison) -> None:
    phases = (comparison.usual, comparison.pooled)
    heights = [metric.of(phase) or 0 for phase in phases]
    bars = axes.bar(("usual way", "pooled"), heights, width=0.6, color=(_USUAL, _POOLED))
    axes.bar_label(bars, [metric.shown(phase) for phase in phases], padding=3, fontsize=11)
    axes.set_title(metric.label, fontsize=12, fontweight="bold")
    axes.set_ylim(0, 1.15 * max(*heights, _NOTHING))  # room for the numbers above the bars
    axes.set_yticks(())
    axes.tick_params(axis="x", length=0)
    axes.spines[["left", "top", "right"]].set_visible(False)
