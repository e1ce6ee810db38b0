"""Prometheus and OpenTelemetry are told what `stats` says, and nothing of a manager that is gone."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint, Sum
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from pool_manager import PoolConfig, PoolManager
from pool_manager.observe.otel import instrument
from pool_manager.observe.prometheus import PoolCollector, metrics_text
from tests.support.server import Server

Samples = dict[tuple[str, str | None], float]


def samples(text: str) -> Samples:
    """Parse what Prometheus would: the value of each name and pool's runtime."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, sample.labels.get("runtime")): sample.value
        for one in families
        for sample in one.samples
    }


@pytest.fixture
def scraped(manager: PoolManager) -> Iterator[str]:
    """Serve the manager's metrics as Prometheus' own client does; give the URL."""
    registry = CollectorRegistry()
    registry.register(PoolCollector(manager))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


def test_prometheus_scrapes_what_stats_says(manager: PoolManager, scraped: str, h2_server: Server) -> None:
    """A real scrape, on a thread of the server's, has the gauges and counters of a pool in use."""
    with manager.client(httpx.Client, base_url=h2_server.url) as client:
        client.get("/echo")
        with client.stream("GET", "/echo"):
            found = samples(httpx.get(scraped, trust_env=False).text)

    pool = "threads"
    assert 1 == found["pool_manager_connections_open", pool]
    assert 1 == found["pool_manager_requests_active", pool]
    assert 0 == found["pool_manager_requests_waiting", pool]
    assert 1 == found["pool_manager_leases_held", pool]
    assert 2 == found["pool_manager_requests_total", pool]
    assert 1 == found["pool_manager_requests_reused_total", pool]
    assert 1 == found["pool_manager_connections_opened_total", pool]
    assert 0 == found["pool_manager_requests_failed_total", pool]
    assert 1 == found["pool_manager_leases_taken_total", None]
    assert 0 == found["pool_manager_leases_returned_total", None]


def test_no_series_is_there_twice(config: PoolConfig, h2_server: Server) -> None:
    """Two pools of one manager, alike in all that labels say but their number, are two series."""
    with PoolManager(config) as manager:
        with manager.client(shared=False) as one, manager.client(shared=False) as two:
            for client in (one, two):
                client.get(f"{h2_server.url}/echo")
            lines = [line.rpartition(" ")[0] for line in metrics_text(manager).decode().splitlines()]
        assert 2 == sum(line.startswith("pool_manager_requests_total{") for line in lines)
        series = [line for line in lines if not line.startswith("#")]
        assert len(set(series)) == len(series)


def test_managers_of_one_name_are_refused() -> None:
    """Their series could not be told apart."""
    with PoolManager(name="a") as one, PoolManager(name="a") as two, pytest.raises(ValueError, match="name"):
        PoolCollector(one, two)


def observed(reader: InMemoryMetricReader) -> dict[str, NumberDataPoint]:
    """Give the one point of each metric, and check that only what grows is called monotonic."""
    data = reader.get_metrics_data()
    found = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                assert isinstance(metric.data, Sum)
                gauge = metric.name.endswith((".active", ".waiting", ".held", "_connections", "_requests"))
                assert metric.data.is_monotonic is not gauge, metric.name
                (found[metric.name],) = metric.data.data_points
    return found


def test_otel_observes_what_stats_says(config: PoolConfig, h2_server: Server) -> None:
    """The SDK's reader finds the conventions' names and ours, and nothing of a manager that was collected."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    manager = PoolManager(config, name="billing")
    instrument(manager, meter_provider=provider)
    with manager.client(httpx.Client, base_url=h2_server.url) as client, client.stream("GET", "/echo"):
        found = observed(reader)
    manager.close()

    assert 1 == found["http.client.open_connections"].value
    assert 1 == found["http.client.active_requests"].value
    assert 1 == found["pool_manager.requests"].value
    assert 1 == found["pool_manager.leases.taken"].value
    attributes = found["http.client.open_connections"].attributes
    assert attributes is not None
    assert ("billing", "threads") == (attributes["pool_manager.name"], attributes["pool_manager.runtime"])

    del manager, client
    gc.collect()
    assert {} == observed(reader)
    provider.shutdown()
