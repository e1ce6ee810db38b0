"""Pools as OpenTelemetry metrics. Needs the extra `otel`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter

from pool_manager import ManagerStats, PoolManager
from pool_manager.observe.readings import OF_MANAGERS, OF_POOLS, Reading

__all__ = ["instrument"]


def instrument(manager: PoolManager, *, meter_provider: MeterProvider | None = None) -> None:
    """
    Observe the pools of *manager* from now on, until it is collected.

    What the semantic conventions for HTTP clients name bears that name (`http.client.open_connections`,
    `http.client.active_requests`); the rest begins with `pool_manager`. Attributes are the manager's name
    and the pool's number and runtime: a snapshot knows no server, method or connection state, which the
    conventions would like. Instruments cannot be taken back: call it once for each manager.

    Args:
        manager: Held weakly.

        meter_provider: Where to; None for the global one.
    """
    meter = get_meter("pool_manager", meter_provider=meter_provider)
    watched = weakref.ref(manager)
    for reading in OF_POOLS:
        _observe(meter, reading, watched, _of_pools)
    for reading in OF_MANAGERS:
        _observe(meter, reading, watched, _of_manager)


def _observe(
    meter: Meter,
    reading: Reading,
    watched: weakref.ref[PoolManager],
    read: Callable[[Reading, ManagerStats], Iterable[Observation]],
) -> None:
    def observed(_: CallbackOptions) -> Iterable[Observation]:
        manager = watched()
        return () if manager is None else read(reading, manager.stats())

    make = meter.create_observable_counter if reading.grows else meter.create_observable_up_down_counter
    make(reading.otel, callbacks=[observed], unit=f"{{{reading.unit}}}", description=reading.about)


def _of_pools(reading: Reading, stats: ManagerStats) -> Iterator[Observation]:
    for pool in stats.pools:
        about: dict[str, str | int] = {
            "pool_manager.name": stats.name,
            "pool_manager.pool": pool.number,
            "pool_manager.runtime": pool.runtime,
        }
        yield Observation(reading.of(pool), about)


def _of_manager(reading: Reading, stats: ManagerStats) -> Iterator[Observation]:
    yield Observation(reading.of(stats), {"pool_manager.name": stats.name})
