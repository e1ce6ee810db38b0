"""Prometheus and OpenTelemetry are told what `stats` says, and nothing of a manager that is gone."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from pool_manager import PoolConfig, PoolManager, Retries
from pool_manager.observe.otel import instrument, name_connection, name_connection_async
from pool_manager.observe.prometheus import PoolCollector, metrics_text
from tests.support.counting_server import Answer, CountingServer
from tests.support.server import Server

PLAIN = PoolConfig(http2=False, trust_env=False)


def samples(text: str, name: str, **labels: str) -> float:
    """Parse what Prometheus would, and give the sum of the samples of that name that have these labels."""
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, f"no {name} with {labels}"
    return sum(found)


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
    """A real scrape, on a thread of the server's, has the numbers of each origin, runtime and manager."""
    with manager.client(httpx.Client, base_url=h2_server.url) as client:
        client.get("/echo")
        with client.stream("GET", "/payload"):
            text = httpx.get(scraped, trust_env=False).text
            (origin,) = manager.stats().pools[0].origins
    here = {"manager": "default", "runtime": "threads", "origin": origin.url, "lane": "default"}
    assert 1 == samples(text, "pool_manager_connections_open", **here, state="active")
    assert 0 == samples(text, "pool_manager_connections_open", **here, state="idle")
    assert 1 == samples(text, "pool_manager_requests_active", **here)
    assert 0 == samples(text, "pool_manager_requests_waiting", **here)
    assert 2 == samples(text, "pool_manager_requests_total", **here)
    assert 1 == samples(text, "pool_manager_requests_reused_total", **here)
    assert 1 == samples(text, "pool_manager_connections_opened_total", **here)
    assert 1 == samples(text, "pool_manager_request_time_seconds_count", **here)
    assert 1 == samples(text, "pool_manager_request_time_seconds_bucket", **here, le="+Inf")
    assert 0 < samples(text, "pool_manager_connect_time_seconds_sum", **here) < 60
    runtime = {"manager": "default", "runtime": "threads"}
    assert 1 == samples(text, "pool_manager_leases_held", **runtime)
    assert 1 == samples(text, "pool_manager_requests_in_flight", **runtime)
    assert 0 == samples(text, "pool_manager_requests_failed_total", **runtime)
    assert 1 == samples(text, "pool_manager_leases_taken_total", manager="default")
    assert 0 == samples(text, "pool_manager_leases_returned_total", manager="default")


def test_buckets_hold_what_was_no_longer(counting_server: CountingServer) -> None:
    """Buckets are cumulative, as Prometheus has them, and agree with the snapshot's histogram."""
    with PoolManager(PLAIN) as manager:
        with manager.client(httpx.Client) as client:
            for _ in range(5):
                client.get(counting_server.url)
        text = metrics_text(manager).decode()
        told = manager.stats().runtimes[0].request_time
    name = "pool_manager_request_time_seconds_bucket"
    for position, bound in enumerate(told.bounds):
        assert samples(text, name, le=str(float(bound))) == sum(told.counts[: position + 1])
    assert samples(text, name, le="+Inf") == told.count == 5


def test_many_runs_are_one_series_that_never_falls(counting_server: CountingServer) -> None:
    """A pool for each `asyncio.run`, and closed pools of threads: their series go on, and are few."""
    with PoolManager(PLAIN) as manager:

        async def ask() -> None:
            async with manager.client(httpx.AsyncClient) as client:
                await client.get(counting_server.url)

        for number in range(1, 6):
            asyncio.run(ask())
            text = metrics_text(manager).decode()
            assert number == samples(text, "pool_manager_requests_total", runtime="asyncio")
            assert number == samples(text, "pool_manager_connections_closed_total", cause="closed")
        lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
        assert len(set(lines)) == len(lines)
        assert 1 == sum(line.startswith("pool_manager_requests_total{") for line in lines)


def test_no_series_is_there_twice(config: PoolConfig, h2_server: Server) -> None:
    """Two pools of one manager are one series."""
    with (
        PoolManager(config) as manager,
        manager.client(shared=False) as one,
        manager.client(shared=False) as two,
    ):
        for client in (one, two):
            client.get(f"{h2_server.url}/echo")
        text = metrics_text(manager).decode()
    assert 2 == samples(text, "pool_manager_requests_total")
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(set(series)) == len(series)


def test_managers_of_one_name_are_refused() -> None:
    """Their series could not be told apart."""
    with PoolManager(name="a") as one, PoolManager(name="a") as two, pytest.raises(ValueError, match="name"):
        PoolCollector(one, two)


def observed(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Give the points of each metric, and check that only what grows is called monotonic."""
    data = reader.get_metrics_data()
    found = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if isinstance(metric.data, Sum):
                    gauge = metric.name.endswith(
                        (
                            *(".active", ".waiting", ".held", "_connections", "_requests"),
                            *(".pools", ".connecting", ".in_flight", "oldest_wait"),
                        )
                    )
                    assert metric.data.is_monotonic is not gauge, metric.name
                else:
                    assert isinstance(metric.data, Histogram)
                    assert metric.unit == "s"
                found[metric.name] = [*metric.data.data_points]
    return found


def value(points: list[Any], **attributes: object) -> float:
    """Give the value of the one point that has these attributes, their dots written as underscores."""
    (point,) = [
        point
        for point in points
        if attributes.items() <= {name.replace(".", "_"): it for name, it in point.attributes.items()}.items()
    ]
    number: float = point.value if hasattr(point, "value") else point.count
    return number


def test_otel_observes_what_stats_says(config: PoolConfig, h2_server: Server) -> None:
    """The SDK's reader finds the conventions' names and attributes, and nothing of a manager that is gone."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    manager = PoolManager(config, name="billing")
    instrument(manager, meter_provider=provider)
    with manager.client(httpx.Client, base_url=h2_server.url) as client:
        client.get("/echo")
        with client.stream("GET", "/payload"):
            found = observed(reader)
    url = httpx.URL(h2_server.url)
    server = {"server_address": url.host, "server_port": url.port, "url_scheme": "https"}
    assert 1 == value(found["http.client.open_connections"], **server, http_connection_state="active")
    assert 0 == value(found["http.client.open_connections"], **server, http_connection_state="idle")
    assert 1 == value(found["http.client.active_requests"], **server)
    assert 2 == value(found["pool_manager.requests"], **server, pool_manager_name="billing")
    assert 1 == value(found["pool_manager.leases.taken"], pool_manager_name="billing")
    assert 1 == value(found["pool_manager.requests.in_flight"], pool_manager_runtime="threads")
    assert 2 == value(found["pool_manager.queue_time"], **server)
    assert 1 == value(found["pool_manager.connect_time"], **server)
    done = {"http_request_method": "GET", "http_response_status_code": 200}
    assert 1 == value(found["http.client.request.duration"], **server, **done)
    assert "http.client.connection.duration" not in found

    manager.close()
    found = observed(reader)
    assert 1 == value(
        found["http.client.connection.duration"],
        **server,
        network_protocol_version="2",
        pool_manager_lane="default",
    )
    assert 2 == value(found["http.client.request.duration"], **server, **done)
    del manager, client
    gc.collect()
    assert {} == {name: points for name, points in observed(reader).items() if hasattr(points[0], "value")}
    provider.shutdown()


def test_otel_tells_failures_from_answers(counting_server: CountingServer) -> None:
    """An answer that is an error has its status as `error.type`; a request without an answer, _OTHER."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    counting_server.respond = lambda _: Answer(status=503)
    with PoolManager(PLAIN) as manager:
        instrument(manager, meter_provider=provider)
        with manager.client(httpx.Client, retries=Retries(attempts=2, initial=0)) as client:
            assert 503 == client.get(counting_server.url).status_code
            with pytest.raises(httpx.ConnectError):
                client.get("http://127.0.0.1:1", extensions={})
        found = observed(reader)
    durations = found["http.client.request.duration"]
    assert 2 == value(durations, error_type="503", http_response_status_code=503)
    assert 2 == value(durations, error_type="_OTHER", server_port=1)
    assert 1 == value(found["pool_manager.requests.retried"], pool_manager_cause="503")
    provider.shutdown()


def test_durations_are_left_out_if_nobody_wants_them(counting_server: CountingServer) -> None:
    """Then nothing is done at a request, and the rest is there."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with PoolManager(PLAIN) as manager:
        instrument(manager, meter_provider=provider, durations=False)
        with manager.client(httpx.Client) as client:
            client.get(counting_server.url)
        found = observed(reader)
    assert not [name for name in found if name.endswith(("duration", "_time"))]
    assert 1 == value(found["pool_manager.requests"], server_address="127.0.0.1")
    provider.shutdown()


@pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
def test_a_span_names_its_connection(kind: type, counting_server: CountingServer) -> None:
    """An instrumentor's spans have the number of the connection that the record of the answer has."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    instrumented = functools.partial(HTTPXClientInstrumentor.instrument_client, tracer_provider=provider)

    async def in_loop(manager: PoolManager) -> list[httpx.Response]:
        async with manager.client(httpx.AsyncClient, name="mine") as client:
            instrumented(client, response_hook=name_connection_async)
            return [await client.get(counting_server.url) for _ in range(2)]

    def in_thread(manager: PoolManager) -> list[httpx.Response]:
        with manager.client(httpx.Client, name="mine") as client:
            instrumented(client, response_hook=name_connection)
            return [client.get(counting_server.url) for _ in range(2)]

    with PoolManager(PLAIN) as manager:
        answers = in_thread(manager) if kind is httpx.Client else asyncio.run(in_loop(manager))
    provider.shutdown()
    records = [answer.extensions["pool_manager"] for answer in answers]
    told = [dict(span.attributes or {}) for span in spans.get_finished_spans()]
    assert [one["pool_manager.connection_id"] for one in told] == [one.connection_id for one in records]
    assert [one["pool_manager.connection_reused"] for one in told] == [False, True]
    assert [(one["pool_manager.lane"], one["pool_manager.lease"]) for one in told] == [
        ("default", "mine")
    ] * 2
