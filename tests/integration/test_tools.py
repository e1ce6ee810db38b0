"""Mocks, recorders and tracing find the requests of pooled clients, as they find those of plain ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias
from unittest.mock import patch

import httpx
import httpx2
import pytest
import pytest_httpx
import respx
import trio
import vcr
from groq import Groq
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pool_manager import PoolConfig, PoolManager, Retries
from tests.support.counting_server import Answer, CountingServer
from tests.support.proxy_server import ProxyServer
from tests.support.sdks import CLIENTS, HttpClient, Run, close, library_of

Make: TypeAlias = Callable[..., Any]

CANNED: Final = {"canned": True}
HTTPX: Final = CLIENTS[:2]


def named(kind: type[object]) -> str:
    """Give the name of a client class."""
    return f"{kind.__module__}.{kind.__name__}"


def by_client(manager: PoolManager, kind: type[HttpClient], **settings: Any) -> Any:
    """Make a client on the pool."""
    return manager.client(kind, **settings)


def by_install(manager: PoolManager, kind: type[HttpClient], **settings: Any) -> Any:
    """Make one while the pool is installed."""
    with manager.install():
        return kind(**settings)


def by_attach(manager: PoolManager, kind: type[HttpClient], **settings: Any) -> Any:
    """Put one on the pool that was there."""
    return manager.attach(kind(**settings), config=PoolConfig(trust_env=False))


@pytest.fixture(params=[by_client, by_install, by_attach], ids=["client", "install", "attach"])
def make(request: pytest.FixtureRequest, manager: PoolManager, run: Run) -> Iterator[Make]:
    """Give each way to a pooled client; they are closed afterwards."""
    with contextlib.ExitStack() as clients:

        def made(kind: type[HttpClient], **settings: Any) -> Any:
            client: Any = request.param(manager, kind, **settings)
            clients.callback(lambda: run(client.aclose() if hasattr(client, "aclose") else client.close()))
            return client

        yield made


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of the test's own."""
    with PoolManager(PoolConfig(trust_env=False)) as made:
        yield made


def went_by_the_pool(answer: Any) -> bool:
    """Whether a connection of the pool carried it."""
    return "pool_manager" in answer.extensions


# Mocks


def with_respx(url: str) -> AbstractContextManager[object]:
    """Have respx answer, from inside httpcore."""
    router = respx.mock()
    router.route(url=url).respond(json=CANNED)
    return router


def with_respx_above(url: str) -> AbstractContextManager[object]:
    """Have respx answer, from inside the client."""
    router = respx.mock(using="httpx")
    router.route(url=url).respond(json=CANNED)
    return router


def with_respx_for_httpx2(url: str) -> AbstractContextManager[object]:
    """Have respx answer, from inside httpcore2, as `pytest_httpx2` does."""
    router = respx.mock(using="httpcore2")
    router.route(url=url).respond(json=CANNED)
    return router


def with_patch(library: Any) -> Callable[[str], AbstractContextManager[object]]:
    """Have a mock of the standard library's answer."""

    @contextlib.contextmanager
    def patched(_: str) -> Iterator[None]:
        def answer(request: Any) -> Any:
            return library.Response(200, json=CANNED, request=request)

        with (
            patch.object(library.HTTPTransport, "handle_request", side_effect=answer),
            patch.object(library.AsyncHTTPTransport, "handle_async_request", side_effect=answer),
        ):
            yield

    return patched


MOCKS: Final = [
    *[(mock, kind) for mock in (with_respx, with_respx_above, with_patch(httpx)) for kind in HTTPX],
    *[(mock, kind) for mock in (with_respx_for_httpx2, with_patch(httpx2)) for kind in CLIENTS[2:]],
]


@pytest.mark.parametrize(
    ("mock", "kind"), MOCKS, ids=[f"{mock.__name__}-{named(kind)}" for mock, kind in MOCKS]
)
def test_a_mock_is_met(
    mock: Callable[[str], AbstractContextManager[object]],
    kind: type[HttpClient],
    make: Make,
    run: Run,
    counting_server: CountingServer,
) -> None:
    """Before, during and after a mock: the network, the mock and nothing else, the network."""
    client = make(kind)
    url = f"{counting_server.url}/it"
    answers: list[Any] = [run(client.get(url))]
    with mock(url):
        answers += [run(client.get(url)), run(client.post(url, content=b"body"))]
    answers += [run(client.get(url))]
    assert [went_by_the_pool(answer) for answer in answers] == [True, False, False, True]
    assert [answer.json() for answer in answers[1:3]] == [CANNED] * 2
    assert (len(counting_server.requests), counting_server.connections) == (2, 1)


@pytest.mark.parametrize("kind", HTTPX, ids=named)
def test_a_mock_is_met_by_who_was_made_under_it(kind: type[HttpClient], make: Make, run: Run) -> None:
    """A client that is made while a mock is active meets it, and reads what it is sent."""
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(201, headers={"x-a": "b"}, text="line one\nline two")

    def parts() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    async def later() -> AsyncIterator[bytes]:
        for part in parts():
            yield part

    with respx.mock(base_url="https://api.example.com") as router:
        router.post("/things", name="things").mock(side_effect=answer)
        client = make(kind, base_url="https://api.example.com")
        for content in (b"whole", later() if hasattr(client, "aclose") else parts()):
            response: Any = run(client.post("/things", content=content))
            assert (response.status_code, response.headers["x-a"]) == (201, "b")
            assert [*response.iter_lines()] == ["line one", "line two"]
            assert response.request.url == "https://api.example.com/things"
        assert router["things"].call_count == 2
    assert bodies == [b"whole", b"one two"]


@pytest.mark.parametrize("kind", HTTPX, ids=named)
def test_what_a_mock_does_not_know(
    kind: type[HttpClient], make: Make, run: Run, counting_server: CountingServer
) -> None:
    """A mock refuses what it was not told of, and raises what it was told to; nothing reaches the server."""
    client = make(kind)
    with respx.mock(assert_all_called=False) as router:
        router.get("https://api.example.com/down").mock(side_effect=httpx.ConnectError("no route"))
        with pytest.raises(respx.models.AllMockedAssertionError):
            run(client.get(counting_server.url))
        with pytest.raises(httpx.ConnectError, match="no route"):
            run(client.get("https://api.example.com/down"))
    assert counting_server.connections == 0


@pytest.mark.parametrize(
    ("using", "kind"), [(f"httpcore{library_of(kind).__name__[5:]}", kind) for kind in CLIENTS]
)
def test_what_a_mock_lets_through_is_pooled(  # noqa: PLR0917 - parameters and fixtures
    using: str,
    kind: type[HttpClient],
    make: Make,
    run: Run,
    manager: PoolManager,
    counting_server: CountingServer,
) -> None:
    """What respx lets through goes by the pool, whole, over one connection; and so does its stream."""
    client = make(kind)
    target = b"/raw%7e?a%20b"
    with respx.mock(using=using) as router:
        router.route(host="127.0.0.1").pass_through()
        whole: Any = run(client.put(counting_server.url, content=b"body", headers={"X-Case": "Kept"}))
        run(client.request("OPTIONS", f"{counting_server.url}/x", extensions={"target": target}))
        opened: Any = run(client.send(client.build_request("GET", counting_server.url), stream=True))
        assert manager.stats().pools[0].in_flight == 1
        run(opened.aread() if hasattr(client, "aclose") else opened.read())
    assert went_by_the_pool(whole)
    assert manager.stats().pools[0].in_flight == 0
    put, options, _ = counting_server.requests
    assert (put.body, dict(put.headers)["x-case"]) == (b"body", "Kept")
    assert options.path.encode() == target
    assert counting_server.connections == 1


def test_a_mock_lets_through_on_trio(counting_server: CountingServer) -> None:
    """Likewise on trio."""

    async def main() -> None:
        async with (
            PoolManager(PoolConfig(trust_env=False)) as manager,
            manager.client(httpx.AsyncClient) as client,
        ):
            with respx.mock() as router:
                router.route(host="127.0.0.1").pass_through()
                router.get("https://api.example.com").respond(204)
                assert (await client.get("https://api.example.com")).status_code == 204
                assert went_by_the_pool(await client.get(counting_server.url))

    trio.run(main)


@pytest.mark.parametrize("kind", HTTPX, ids=named)
def test_pytest_httpx(
    kind: type[HttpClient],
    make: Make,
    run: Run,
    httpx_mock: pytest_httpx.HTTPXMock,
    counting_server: CountingServer,
) -> None:
    """pytest-httpx answers in turn, raises, matches bodies and keeps the requests."""
    client = make(kind)
    httpx_mock.add_response(json=[1])
    httpx_mock.add_response(json=[2], match_content=b"two")
    httpx_mock.add_exception(httpx.ReadTimeout("too long"))
    assert run(client.get(counting_server.url)).json() == [1]  # type: ignore[attr-defined]
    assert run(client.post(counting_server.url, content=b"two")).json() == [2]  # type: ignore[attr-defined]
    with pytest.raises(httpx.ReadTimeout, match="too long"):
        run(client.get(counting_server.url))
    assert [request.method for request in httpx_mock.get_requests()] == ["GET", "POST", "GET"]
    assert counting_server.connections == 0


@pytest.mark.httpx_mock(should_mock=lambda request: request.url.host != "127.0.0.1")
@pytest.mark.parametrize("kind", HTTPX, ids=named)
def test_pytest_httpx_lets_through(
    kind: type[HttpClient],
    make: Make,
    run: Run,
    httpx_mock: pytest_httpx.HTTPXMock,
    counting_server: CountingServer,
) -> None:
    """What `should_mock` declines goes by the pool."""
    httpx_mock.add_response(json=[1])
    client = make(kind)
    assert run(client.get("https://api.example.com")).json() == [1]  # type: ignore[attr-defined]
    assert all(went_by_the_pool(run(client.get(counting_server.url))) for _ in range(2))
    assert counting_server.connections == 1


def test_pytest_httpx_is_told_the_proxy(manager: PoolManager, httpx_mock: pytest_httpx.HTTPXMock) -> None:
    """A mock that asks by which proxy a request would go is told."""
    httpx_mock.add_response(json=[1], proxy_url="http://ann:word@proxy.example:3128/")
    with manager.client(proxy="http://ann:word@proxy.example:3128") as client:
        assert client.get("https://api.example.com").json() == [1]


def test_httpx2_mock(manager: PoolManager, httpx2_mock: respx.Router) -> None:
    """The fixture of pytest-httpx2 answers a client of httpx2."""
    httpx2_mock.get("https://api.example.com/a").respond(json=CANNED)
    with manager.client(httpx2.Client) as client:
        assert client.get("https://api.example.com/a").json() == CANNED


def test_an_sdk_meets_the_mock(manager: PoolManager, respx_mock: respx.Router) -> None:
    """An SDK on the pool is answered by the mock, its retries too."""
    models = respx_mock.get("https://api.groq.com/openai/v1/models")
    models.side_effect = [
        httpx.Response(500, headers={"retry-after-ms": "1"}),
        httpx.Response(200, json={"object": "list", "data": []}),
    ]
    groq = manager.pooled(Groq, api_key="key")
    assert groq.models.list().data == []
    assert models.call_count == 2
    groq.close()


@pytest.mark.parametrize("kind", HTTPX, ids=named)
def test_retries_meet_the_mock(
    kind: type[HttpClient], manager: PoolManager, run: Run, respx_mock: respx.Router
) -> None:
    """Each attempt of ours is a request to the mock."""
    route = respx_mock.get("https://api.example.com/").mock(
        side_effect=[httpx.ConnectError("no"), httpx.Response(503), httpx.Response(200)]
    )
    client: Any = manager.client(kind, retries=Retries(attempts=3, initial=0.001))
    assert run(client.get("https://api.example.com/")).status_code == 200  # type: ignore[attr-defined]
    assert route.call_count == 3
    run(client.aclose() if hasattr(client, "aclose") else client.close())


def test_a_wrapper_may_send_something_else(manager: PoolManager, counting_server: CountingServer) -> None:
    """What comes out of a wrapper is what is sent, be it another request than went in."""
    real = httpx.HTTPTransport.handle_request

    def changed(transport: httpx.HTTPTransport, _: httpx.Request) -> httpx.Response:
        other = httpx.Request("POST", counting_server.url + "/other", content=b"else", headers={"x-a": "b"})
        return real(transport, other)

    with (
        patch.object(httpx.HTTPTransport, "handle_request", changed),
        manager.client() as client,
    ):
        assert went_by_the_pool(client.get("https://api.example.com"))
    (arrived,) = counting_server.requests
    assert (arrived.method, arrived.path, arrived.body) == ("POST", "/other", b"else")


def test_a_wrapper_has_the_pools_errors(manager: PoolManager, proxy: ProxyServer) -> None:
    """Errors of the pool reach who wraps the transport as the library's, and go on to the caller."""
    seen: list[Exception] = []
    real = httpx.HTTPTransport.handle_request

    def watch(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        try:
            return real(transport, request)
        except httpx.TransportError as error:
            seen.append(error)
            raise

    with (
        patch.object(httpx.HTTPTransport, "handle_request", watch),
        manager.client(proxy=proxy.url) as client,
        pytest.raises(httpx.ProxyError) as caught,
    ):
        client.get("https://127.0.0.1:1")
    assert seen == [caught.value]
    assert caught.value.request.url == "https://127.0.0.1:1"


# Recorders


@pytest.mark.parametrize("kind", CLIENTS, ids=named)
def test_vcr(kind: type[HttpClient], make: Make, run: Run, tmp_path: Path) -> None:
    """A recorder keeps what went over the wire, and it is played when there is no server."""
    cassette = str(tmp_path / "cassette.yaml")

    def ask(url: str) -> list[object]:
        client = make(kind, base_url=url)
        answers: list[Any] = [run(client.get("/one")), run(client.post("/two", content=b"body"))]
        return [(it.status_code, it.json(), it.headers["x-seen"]) for it in answers]

    with CountingServer() as server:
        server.respond = lambda request: Answer(
            body=json.dumps([request.method, request.body.decode()]).encode(),
            headers=(("x-seen", request.path),),
        )
        url = server.url
        with vcr.use_cassette(cassette):
            recorded = ask(url)
        assert (len(server.requests), server.connections) == (2, 1)
    with vcr.use_cassette(cassette, record_mode="none") as tape:
        assert ask(url) == recorded
        assert tape.play_count == 2
        with pytest.raises(vcr.errors.CannotOverwriteExistingCassetteException):
            run(make(kind).get(url + "/three"))


# Tracing

INSTRUMENTORS: Final[dict[Any, Any]] = {httpx: HTTPXClientInstrumentor, httpx2: HTTPX2ClientInstrumentor}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """Give what OpenTelemetry notes."""
    return InMemorySpanExporter()


@pytest.fixture
def tracers(spans: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """Give where it notes it."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider
    provider.shutdown()


@pytest.mark.parametrize("every", [True, False], ids=["instrument", "instrument_client"])
@pytest.mark.parametrize("kind", CLIENTS, ids=named)
def test_opentelemetry(  # noqa: PLR0917 - parameters and fixtures
    kind: type[HttpClient],
    every: bool,
    make: Make,
    run: Run,
    spans: InMemorySpanExporter,
    tracers: TracerProvider,
    counting_server: CountingServer,
) -> None:
    """Each request is a span, its context goes to the server, and the pool carries it."""
    instrumentor: Any = INSTRUMENTORS[library_of(kind)]
    client = make(kind)
    if every:
        instrumentor().instrument(tracer_provider=tracers)
    else:
        instrumentor.instrument_client(client, tracer_provider=tracers)
    try:
        answers: list[Any] = [run(client.get(f"{counting_server.url}/{number}")) for number in range(2)]
        with pytest.raises(library_of(kind).ConnectError):
            run(client.get("http://127.0.0.1:1"))
    finally:
        if every:
            instrumentor().uninstrument()
    assert [answer.extensions["pool_manager"].reused for answer in answers] == [False, True]
    first, second, failed = spans.get_finished_spans()
    assert {span.kind for span in (first, second, failed)} == {SpanKind.CLIENT}
    assert [span.attributes["http.response.status_code"] for span in (first, second)] == [200, 200]
    assert second.attributes["network.protocol.version"] == "1.1"
    assert (failed.status.status_code, failed.attributes["error.type"]) == (StatusCode.ERROR, "ConnectError")
    parents = [dict(request.headers)["traceparent"].split("-")[1:3] for request in counting_server.requests]
    assert parents == [
        [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"] for span in (first, second)
    ]


@pytest.mark.parametrize("kind", CLIENTS, ids=named)
def test_opentelemetry_was_there_first(  # noqa: PLR0917 - parameters and fixtures
    kind: type[HttpClient],
    manager: PoolManager,
    run: Run,
    spans: InMemorySpanExporter,
    tracers: TracerProvider,
    counting_server: CountingServer,
) -> None:
    """A client that was instrumented before it is attached makes spans on the pool, and after it."""
    client: Any = kind()
    INSTRUMENTORS[library_of(kind)].instrument_client(client, tracer_provider=tracers)
    manager.attach(client, config=PoolConfig(trust_env=False))
    pooled: Any = run(client.get(counting_server.url))
    manager.detach(client)
    plain: Any = run(client.get(counting_server.url))
    assert ["pool_manager" in answer.extensions for answer in (pooled, plain)] == [True, False]
    assert [span.kind for span in spans.get_finished_spans()] == [SpanKind.CLIENT] * 2
    run(close(client))


@pytest.mark.parametrize("kind", HTTPX, ids=named)
def test_a_mock_below_a_wrapped_method(
    kind: type[HttpClient], manager: PoolManager, run: Run, tracers: TracerProvider
) -> None:
    """A mock in httpcore meets the request of an attached client whose transport was instrumented, once."""
    client: Any = kind()
    HTTPXClientInstrumentor.instrument_client(client, tracer_provider=tracers)
    manager.attach(client, config=PoolConfig(trust_env=False))
    with respx.mock(using="httpcore") as mock:
        route = mock.get("https://api.example.com/").respond(json=CANNED)
        answer: Any = run(client.get("https://api.example.com/"))
    assert (answer.json(), route.call_count) == (CANNED, 1)
    run(close(client))


def test_opentelemetry_is_taken_off(
    manager: PoolManager,
    spans: InMemorySpanExporter,
    tracers: TracerProvider,
    counting_server: CountingServer,
) -> None:
    """A client that is no longer instrumented makes no spans."""
    with manager.client() as client:
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=tracers)
        HTTPXClientInstrumentor.uninstrument_client(client)
        client.get(counting_server.url)
    assert spans.get_finished_spans() == ()


def test_what_is_streamed_past_a_tool(
    manager: PoolManager, tracers: TracerProvider, counting_server: CountingServer
) -> None:
    """With tracing on, bodies still come and go in parts, and closing an answer gives its connection back."""
    counting_server.respond = lambda _: Answer(body=bytes(3_000_000))

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(1000)

    async def main() -> None:
        async with manager.client(httpx.AsyncClient) as client:
            async with client.stream("POST", counting_server.url, content=parts()) as answer:
                assert sum([len(part) async for part in answer.aiter_raw()]) == 3_000_000
            async with client.stream("GET", counting_server.url) as answer:
                await anext(answer.aiter_raw())
                assert manager.stats().pools[0].in_flight == 1
            assert manager.stats().pools[0].in_flight == 0

    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=tracers)
    try:
        asyncio.run(main())
    finally:
        instrumentor.uninstrument()
    assert len(counting_server.requests[0].body) == 10_000
