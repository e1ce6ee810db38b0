"""Pools for Prometheus. Needs the extra `prometheus`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pool_manager import PoolManager
from pool_manager.observe.readings import OF_MANAGERS, OF_POOLS, Reading

__all__ = ["PoolCollector", "metrics_text"]


class PoolCollector(Collector):
    """
    Shows the pools of some managers: ``REGISTRY.register(PoolCollector(default_manager()))``.

    Each scrape takes one snapshot of each manager, so that its numbers belong together, and may come on
    any thread. Series are labelled with the manager's name and with the pool's number and runtime; they
    end with their pool, and what a pool did after the last scrape is seen by none.

    Args:
        managers: What to show. Their names must differ, or their series would be the same.

    Raises:
        ValueError: Two managers have one name.
    """

    def __init__(self, *managers: PoolManager) -> None:
        names = [manager.name for manager in managers]
        if len(set(names)) < len(names):
            raise ValueError(f"managers: each needs a name of its own, not {', '.join(names)}")
        self._managers = managers

    def collect(self) -> Iterator[Metric]:
        """Give every number there is now."""
        seen = [manager.stats() for manager in self._managers]
        for reading in OF_POOLS:
            family = _family(reading, ["manager", "pool", "runtime"])
            for stats in seen:
                for pool in stats.pools:
                    family.add_metric([stats.name, str(pool.number), pool.runtime], reading.of(pool))
            yield family
        for reading in OF_MANAGERS:
            family = _family(reading, ["manager"])
            for stats in seen:
                family.add_metric([stats.name], reading.of(stats))
            yield family

    def describe(self) -> Iterator[Metric]:
        """Name them, for a registry that looks for names used twice; without a snapshot."""
        for reading in (*OF_POOLS, *OF_MANAGERS):
            yield _family(reading, [])


def metrics_text(*managers: PoolManager) -> bytes:
    """
    Give what a ``GET /metrics`` answers, in Prometheus' text format 0.0.4.

    Raises:
        ValueError: Two managers have one name.
    """
    registry = CollectorRegistry()
    registry.register(PoolCollector(*managers))
    return generate_latest(registry)


def _family(reading: Reading, labels: list[str]) -> CounterMetricFamily | GaugeMetricFamily:
    made = CounterMetricFamily if reading.grows else GaugeMetricFamily
    return made(reading.prometheus, reading.about, labels=labels)
