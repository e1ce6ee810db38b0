"""Pools for Prometheus. Needs the extra `prometheus`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pool_manager.histograms import BOUNDS, Histogram
from pool_manager.observe.readings import (
    OF_MANAGERS,
    OF_ORIGINS,
    OF_RUNTIMES,
    TIMES,
    Observed,
    Reading,
    Times,
    origins_of,
)
from pool_manager.stats import ManagerStats, Traffic

__all__ = ["PoolCollector", "metrics_text"]

_BOUNDS: Final = [*map(str, BOUNDS), "+Inf"]


class PoolCollector(Collector):
    """
    Shows the pools of some managers: ``REGISTRY.register(PoolCollector(default_manager()))``.

    Each scrape takes one snapshot of each manager, so that its numbers belong together, and may come on any
    thread; requests pay nothing for it. Series are labelled with the manager's name and the runtime, and with
    the origin and the lane where these are known. They go on when a pool is closed, and counters never fall.

    Args:
        managers: What to show. Their names must differ, or their series would be the same.

    Raises:
        ValueError: Two managers have one name.
    """

    def __init__(self, *managers: Observed) -> None:
        names = [manager.name for manager in managers]
        if len(set(names)) < len(names):
            raise ValueError(f"managers: each needs a name of its own, not {', '.join(names)}")
        self._managers = managers

    def collect(self) -> Iterator[Metric]:
        """Give every number there is now."""
        seen = [manager.stats() for manager in self._managers]
        origins = [*_origins(seen)]
        yield from (_read(reading, origins) for reading in OF_ORIGINS)
        yield from (_measured(times, origins) for times in TIMES)
        runtimes = [
            ({"manager": stats.name, "runtime": runtime.runtime}, runtime)
            for stats in seen
            for runtime in stats.runtimes
        ]
        yield from (_read(reading, runtimes) for reading in OF_RUNTIMES)
        managers = [({"manager": stats.name}, stats) for stats in seen]
        yield from (_read(reading, managers) for reading in OF_MANAGERS)

    def describe(self) -> Iterator[Metric]:
        """Name them, for a registry that looks for names used twice; without a snapshot."""
        yield from (_read(reading, []) for reading in (*OF_ORIGINS, *OF_RUNTIMES, *OF_MANAGERS))
        yield from (_measured(times, []) for times in TIMES)


def metrics_text(*managers: Observed) -> bytes:
    """
    Give what a ``GET /metrics`` answers, in Prometheus' text format 0.0.4.

    Raises:
        ValueError: Two managers have one name.
    """
    registry = CollectorRegistry()
    registry.register(PoolCollector(*managers))
    return generate_latest(registry)


def _origins(seen: list[ManagerStats]) -> Iterator[tuple[dict[str, str], Traffic]]:
    for stats in seen:
        for runtime in stats.runtimes:
            for origin, traffic in origins_of(runtime):
                where = {"origin": origin.url if origin else "", "lane": origin.lane if origin else ""}
                yield {"manager": stats.name, "runtime": runtime.runtime, **where}, traffic


def _read(reading: Reading, parts: Sequence[tuple[dict[str, str], object]]) -> Metric:
    made = CounterMetricFamily if reading.grows else GaugeMetricFamily
    labels = [*parts[0][0]] if parts else []
    family = made(reading.prometheus, reading.about, labels=[*labels, reading.by] if reading.by else labels)
    for named, part in parts:
        for value, number in reading.read(part).items():
            family.add_metric([*named.values(), value] if reading.by else [*named.values()], number)
    return family


def _measured(times: Times, parts: Sequence[tuple[dict[str, str], Traffic]]) -> Metric:
    labels = [*parts[0][0]] if parts else []
    family = HistogramMetricFamily(f"pool_manager_{times.name}_seconds", times.about, labels=labels)
    for named, part in parts:
        histogram: Histogram = getattr(part, times.field)
        buckets = [*zip(_BOUNDS, accumulate(histogram.counts), strict=True)]
        family.add_metric([*named.values()], buckets, histogram.sum)
    return family
