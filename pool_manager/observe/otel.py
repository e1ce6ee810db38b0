"""Pools as OpenTelemetry metrics. Needs the extra `otel`."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, TypeAlias

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter

from pool_manager.events import ConnectionEvent, Listener, RequestEvent
from pool_manager.histograms import BOUNDS
from pool_manager.observe.readings import OF_MANAGERS, OF_ORIGINS, OF_RUNTIMES, Observed, Reading, origins_of
from pool_manager.records import RequestRecord
from pool_manager.stats import ManagerStats

__all__ = ["instrument", "name_connection", "name_connection_async"]

Attributes: TypeAlias = dict[str, str | int]

_MOMENT: Final = 0.1  # seconds in which one snapshot serves all instruments, which are read one after another


def instrument(
    manager: Observed, *, meter_provider: MeterProvider | None = None, durations: bool = True
) -> None:
    """
    Observe the pools of *manager* from now on, until it is collected.

    What the semantic conventions for HTTP clients name bears that name (`http.client.open_connections`,
    `http.client.active_requests`, `http.client.connection.duration`, `http.client.request.duration`), and has
    the attributes that they want; the rest begins with `pool_manager`. Instruments cannot be taken back: call
    it once for each manager.

    Args:
        manager: Held weakly.

        meter_provider: Where to; None for the global one.

        durations: Record how long things take, at each request. Else requests pay nothing, and there are only
            gauges and counters: an instrumentation of httpx may measure requests anyway.
    """
    meter = get_meter("pool_manager", meter_provider=meter_provider)
    snapshots = _Snapshots(manager)
    for reading in OF_ORIGINS:
        _observe(meter, reading, snapshots, _of_origins)
    for reading in OF_RUNTIMES:
        _observe(meter, reading, snapshots, _of_runtimes)
    for reading in OF_MANAGERS:
        _observe(meter, reading, snapshots, _of_manager)
    if durations:
        manager.listen(_Durations(meter, manager.name))


class _Snapshots:
    """One snapshot for all that is read in one moment."""

    def __init__(self, manager: Observed) -> None:
        self._manager = weakref.ref(manager)
        self._taken = float("-inf")
        self._stats: ManagerStats | None = None

    def take(self) -> ManagerStats | None:
        manager = self._manager()
        if manager is None:
            self._stats = None
        elif time.monotonic() - self._taken > _MOMENT:
            self._stats, self._taken = manager.stats(), time.monotonic()
        return self._stats


def _observe(
    meter: Meter,
    reading: Reading,
    snapshots: _Snapshots,
    read: Callable[[ManagerStats], Iterable[tuple[object, Attributes]]],
) -> None:
    by = {"state": "http.connection.state", "cause": "pool_manager.cause"}.get(reading.by, "")

    def observed(_: CallbackOptions) -> Iterator[Observation]:
        stats = snapshots.take()
        for part, about in () if stats is None else read(stats):
            for value, number in reading.read(part).items():
                yield Observation(number, {**about, by: value} if by else about)

    unit = "s" if reading.unit == "s" else f"{{{reading.unit}}}"
    make = meter.create_observable_counter if reading.grows else meter.create_observable_up_down_counter
    make(reading.otel, callbacks=[observed], unit=unit, description=reading.about)


def _of_origins(stats: ManagerStats) -> Iterator[tuple[object, Attributes]]:
    for runtime in stats.runtimes:
        for origin, traffic in origins_of(runtime):
            about: Attributes = {"pool_manager.name": stats.name, "pool_manager.runtime": runtime.runtime}
            if origin is not None:
                about |= _server(origin.scheme, origin.host, origin.port, origin.lane)
            yield traffic, about


def _of_runtimes(stats: ManagerStats) -> Iterator[tuple[object, Attributes]]:
    for runtime in stats.runtimes:
        yield runtime, {"pool_manager.name": stats.name, "pool_manager.runtime": runtime.runtime}


def _of_manager(stats: ManagerStats) -> Iterator[tuple[object, Attributes]]:
    yield stats, {"pool_manager.name": stats.name}


def _server(scheme: str, host: str, port: int, lane: str) -> Attributes:
    return {"server.address": host, "server.port": port, "url.scheme": scheme, "pool_manager.lane": lane}


class _Durations(Listener):
    """Records how long things take, as they end."""

    def __init__(self, meter: Meter, name: str) -> None:
        self._name = name

        def histogram(name: str, about: str) -> Any:  # noqa: ANN401 - of the provider's
            return meter.create_histogram(
                name, unit="s", description=about, explicit_bucket_boundaries_advisory=BOUNDS
            )

        self._requests = histogram("http.client.request.duration", "Duration of requests.")
        self._ages = histogram("http.client.connection.duration", "Duration of connections.")
        self._dials = histogram("pool_manager.connect_time", "To open a connection, TLS included.")
        self._waits = histogram("pool_manager.queue_time", "Until a request had a connection.")

    def _about(self, event: ConnectionEvent | RequestEvent) -> Attributes:
        about = _server(event.scheme, event.host, event.port, event.lane)
        about["pool_manager.name"] = self._name
        return about

    def on_connect(self, event: ConnectionEvent) -> None:
        self._dials.record(event.seconds, self._about(event))

    def on_close(self, event: ConnectionEvent) -> None:
        about = self._about(event)
        about["network.protocol.version"] = event.http_version.removeprefix("HTTP/").removesuffix(".0")
        self._ages.record(event.seconds, about)

    def on_acquired(self, event: RequestEvent) -> None:
        self._waits.record(event.seconds, self._about(event))

    def on_released(self, event: RequestEvent) -> None:
        about = self._about(event)
        about["http.request.method"] = event.method
        if event.status:
            about["http.response.status_code"] = event.status
        if not event.status or event.status >= 400:  # noqa: PLR2004 - as the conventions have it
            about["error.type"] = str(event.status) if event.status else "_OTHER"
        self._requests.record(event.seconds, about)


class _Span(Protocol):
    def set_attribute(self, key: str, value: str | int) -> object: ...


def name_connection(span: _Span, request: object, response: Any) -> None:  # noqa: ANN401, ARG001 - theirs
    """
    Write into an instrumentor's span which connection answered: its `response_hook`.

    ``HTTPXClientInstrumentor().instrument(response_hook=name_connection,
    async_response_hook=name_connection_async)``. Spans then have `pool_manager.connection_id`,
    `pool_manager.connection_reused`, `pool_manager.lane` and `pool_manager.lease`.

    Args:
        span: The request's.

        request: What the instrumentor tells of the request.

        response: What it tells of the answer; its extensions have the record.
    """
    extensions: dict[str, Any] = response.extensions or {}
    record: RequestRecord | None = extensions.get("pool_manager")
    if record is not None:
        span.set_attribute("pool_manager.connection_id", record.connection_id)
        span.set_attribute("pool_manager.connection_reused", record.reused)
        span.set_attribute("pool_manager.lane", record.lane)
        span.set_attribute("pool_manager.lease", record.lease)


async def name_connection_async(span: _Span, request: object, response: Any) -> None:  # noqa: ANN401
    """Do as `name_connection` does: its `async_response_hook`."""
    name_connection(span, request, response)
