"""Bodies go part by part both ways, and what a request asks for reaches the wire as from a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias, cast

import attrs
import httpx
import httpx2
import pytest
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.counting_server import CountingServer
from tests.support.hypercorn_server import HypercornServer
from tests.support.proxy_server import ProxyServer
from tests.support.sdks import StepServer, events_at

Pair: TypeAlias = "Callable[..., list[httpx.Client]]"

LIBRARIES: Final = (httpx, httpx2)
PROTOCOLS: Final = ("HTTP/1.1", "HTTP/2")
PARTS: Final = (b"first;", b"second;", b"x" * 100_000, b";last")
WHOLE: Final = b"".join(PARTS)
SSE: Final = "/v1/messages"
EVENTS: Final = events_at(SSE)
assert len(EVENTS) > 3, "a download of one part would prove nothing"
PATIENCE: Final = 5.0  # seconds; longer means that something was held back


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> ModuleType:
    """Give each library in turn."""
    return cast(ModuleType, request.param)


@pytest.fixture(params=["plain_server", "h2_server"])
def server(request: pytest.FixtureRequest) -> HypercornServer:
    """Give a server for each protocol in turn."""
    return cast(HypercornServer, request.getfixturevalue(request.param))


@pytest.fixture
def manager(config: PoolConfig) -> Iterator[PoolManager]:
    """Give a manager with one connection for each origin."""
    with PoolManager(config, limits=Limits(max_connections_per_origin=1)) as manager:
        yield manager


@pytest.fixture
def pair(library: ModuleType, manager: PoolManager, certificates: Certificates) -> Iterator[Pair]:
    """Give a maker of a plain client and a pooled one of the same settings."""
    verify = certificates.client_context()
    with contextlib.ExitStack() as clients:

        def make(**kwargs: Any) -> list[httpx.Client]:
            plain = library.Client(verify=verify, http2=True, trust_env=False, **kwargs)
            pooled = manager.client(library.Client, **kwargs)
            return [clients.enter_context(client) for client in (plain, pooled)]

        yield make


# Uploads


class UploadServer(StepServer):
    """Tells how much of a request body has arrived, while it arrives."""

    def __init__(self, certificates: Certificates | None) -> None:
        self.body = b""
        self.headers: dict[bytes, bytes] = {}
        self._arrived = threading.Condition()
        super().__init__(certificates)

    def wait_for(self, count: int) -> None:
        """Return when so many bytes are there; TimeoutError if they never are."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.body) >= count, PATIENCE):
                raise TimeoutError(f"only {len(self.body)} bytes of {count} were sent")

    async def _app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        self.headers = dict(scope["headers"])
        more = True
        while more:
            event = await receive()
            assert event["type"] == "http.request"
            with self._arrived:
                self.body += event["body"]
                self._arrived.notify_all()
            more = event["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"thanks", "more_body": False})


@pytest.fixture(params=PROTOCOLS)
def uploads(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[UploadServer]:
    """Give a server for uploads, for each protocol in turn."""
    with UploadServer(certificates if request.param == "HTTP/2" else None) as server:
        yield server


def parts_of(server: UploadServer) -> Iterator[bytes]:
    """Give each part when all before it have arrived."""
    sent = 0
    for part in PARTS:
        server.wait_for(sent)
        yield part
        sent += len(part)


async def async_parts_of(server: UploadServer) -> AsyncIterator[bytes]:
    """Do the same in a loop."""
    parts = parts_of(server)
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part


class ShyFile(io.BytesIO):
    """A file that is read on when what was read has arrived."""

    def __init__(self, server: UploadServer) -> None:
        super().__init__(WHOLE)
        self._server = server

    def read(self, size: int = -1, /) -> bytes:  # type: ignore[override]
        """Wait, then read."""
        assert size > 0, "the whole file would be in memory"
        self._server.wait_for(self.tell())
        return super().read(size)


@pytest.mark.parametrize("body", [parts_of, ShyFile], ids=["generator", "file"])
def test_uploads_go_as_they_are_made(
    library: ModuleType, body: Callable[[UploadServer], Any], manager: PoolManager, uploads: UploadServer
) -> None:
    """Each part of a body is on the wire before the next is asked for."""
    with manager.client(library.Client) as client:
        assert client.post(uploads.url, content=body(uploads)).text == "thanks"
    assert uploads.body == WHOLE
    assert uploads.headers.get(b"content-length") == (b"%d" % len(WHOLE) if body is ShyFile else None)


def test_async_uploads_go_too(library: ModuleType, manager: PoolManager, uploads: UploadServer) -> None:
    """Each part of an async body is on the wire before the next is asked for."""

    async def upload() -> str:
        async with manager.client(library.AsyncClient) as client:
            return cast(str, (await client.post(uploads.url, content=async_parts_of(uploads))).text)

    assert asyncio.run(upload()) == "thanks"
    assert uploads.body == WHOLE


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_stream_of_two_faces_goes_by_its_clients(
    library: ModuleType, kind: str, manager: PoolManager, counting_server: CountingServer
) -> None:
    """A body of both kinds of stream, one of them a stub as caching transports have it, goes by the other."""
    both: tuple[type, ...] = (library.SyncByteStream, library.AsyncByteStream)  # their own methods raise

    class Sync(*both):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            yield from PARTS

    class Async(*both):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for part in PARTS:
                yield part

    body = Sync() if kind == "Client" else Async()
    head = {"host": "localhost", "content-length": str(len(WHOLE))}
    asked = library.Request("POST", counting_server.url, stream=body, headers=head)
    client: Any = manager.client(getattr(library, kind))

    async def send() -> None:
        async with client:
            await client.send(asked)

    if kind == "AsyncClient":
        asyncio.run(send())
    else:
        with client:
            client.send(asked)
    assert [request.body for request in counting_server.requests] == [WHOLE]


@pytest.mark.parametrize("kind", ["bytes", "file", "form", "multipart"])
def test_bodies_arrive_whole(kind: str, pair: Pair, server: HypercornServer, tmp_path: Path) -> None:
    """Large bodies of every kind arrive byte for byte as a plain client sends them."""
    blob = hashlib.shake_256(b"seed").digest(1_500_000)
    (tmp_path / "blob").write_bytes(blob)
    typed = {"content-type": "multipart/form-data; boundary=b"}
    answers = []
    for client in pair():
        with (tmp_path / "blob").open("rb") as file:
            body: Any = {
                "bytes": {"content": blob},
                "file": {"content": file},
                "form": {"data": {"a": "1", "b": ["2", "ü"]}},
                "multipart": {"files": {"f": ("name", file)}, "headers": typed},
            }[kind]
            answer = client.post(f"{server.url}/echo", **body).json()
        answers.append({key: answer[key] for key in ("body_length", "body_sha256", "headers")})
    assert answers[0] == answers[1]
    if kind in {"bytes", "file"}:
        assert answers[1]["body_sha256"] == hashlib.sha256(blob).hexdigest()


class BodyFailed(Exception):
    """Raised by the bodies below."""


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_body_that_fails(
    library: ModuleType, kind: str, after: int, manager: PoolManager, server: HypercornServer
) -> None:
    """What a body raises is raised as it is, and the pool serves the next request."""

    def failing() -> Iterator[bytes]:
        yield from [b"part"] * after
        raise BodyFailed

    async def async_failing() -> AsyncIterator[bytes]:
        for part in failing():
            yield part

    async def in_loop() -> int:
        async with manager.client(library.AsyncClient) as client:
            with pytest.raises(BodyFailed):
                await client.post(f"{server.url}/echo", content=async_failing())
            return cast(int, (await client.get(server.url)).status_code)

    if kind == "AsyncClient":
        assert asyncio.run(in_loop()) == 200
        return
    with manager.client(library.Client) as client:
        with pytest.raises(BodyFailed):
            client.post(f"{server.url}/echo", content=failing())
        assert client.get(server.url).status_code == 200
        (pool,) = manager.stats().pools
        assert (pool.in_flight, pool.waiting, pool.failed) == (0, 0, 1)


# Downloads


@pytest.fixture(params=PROTOCOLS)
def steps(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[StepServer]:
    """Give a server whose answers come step by step, for each protocol in turn."""
    with StepServer(certificates if request.param == "HTTP/2" else None) as server:
        yield server


def test_downloads_come_as_they_are_sent(
    library: ModuleType, manager: PoolManager, steps: StepServer
) -> None:
    """The head, and then each part of an answer, is there before the next is sent."""
    with manager.client(library.Client) as client, client.stream("GET", steps.url + SSE) as response:
        parts, got = response.iter_raw(), b""
        for end in itertools.accumulate(map(len, EVENTS)):
            steps.step()
            while len(got) < end:
                got += next(parts)
            assert len(got) == end
        assert [got, *parts] == [b"".join(EVENTS)]


def test_async_downloads_come_as_they_are_sent(
    library: ModuleType, manager: PoolManager, steps: StepServer
) -> None:
    """The head, and then each part of an answer, is there before the next is sent, in a loop too."""

    async def download() -> None:
        async with (
            manager.client(library.AsyncClient) as client,
            client.stream("GET", steps.url + SSE) as sse,
        ):
            parts, got = sse.aiter_raw(), b""
            for end in itertools.accumulate(map(len, EVENTS)):
                steps.step()
                while len(got) < end:
                    got += await anext(parts)
                assert len(got) == end
            assert [got, *[part async for part in parts]] == [b"".join(EVENTS)]

    asyncio.run(download())


@pytest.mark.parametrize("read", [0, 1, 3])
def test_a_response_closed_early(
    library: ModuleType, read: int, manager: PoolManager, server: HypercornServer
) -> None:
    """A response that is closed before its end takes no place, and spoils no later answer."""
    with manager.client(library.Client, timeout=PATIENCE) as client:
        for number in range(3):
            with client.stream("GET", f"{server.url}/stream/10000/1") as response:
                lines = response.iter_lines()
                assert [next(lines) for _ in range(read)] == [f"chunk {index}" for index in range(read)]
            assert client.get(f"{server.url}/echo?{number}").json()["query"] == str(number)
        (pool,) = manager.stats().pools
        assert (pool.in_flight, pool.waiting, pool.failed) == (0, 0, 0)


# As from a plain client

PLAIN_ANSWERS: Final = [
    ("GET", "/gzip"), ("GET", "/bytes/100000"), ("GET", "/stream/3/1"), ("HEAD", "/"), ("HEAD", "/bytes/5"),
    ("GET", "/status/204"), ("GET", "/status/304"), ("POST", "/status/500"), ("GET", "/missing"),
    ("DELETE", "/status/418"), ("OPTIONS", "/"), ("GET", "/cookies/set/a/1"), ("GET", "/redirect/2"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PLAIN_ANSWERS)
def test_answers_are_those_of_a_plain_client(
    method: str, path: str, pair: Pair, server: HypercornServer
) -> None:
    """Status, headers, decoded body, size on the wire and extensions are as in a plain client."""
    seen = []
    plain, pooled = pair()
    for client in (plain, pooled):
        response = client.request(method, server.url + path)
        assert response.elapsed.total_seconds() > 0
        seen.append([
            response.status_code, response.reason_phrase, response.http_version, response.is_closed,
            [header for header in response.headers.raw if header[0].lower() != b"date"],
            response.content, response.num_bytes_downloaded, response.extensions["http_version"],
            response.extensions.keys() - {"pool_manager"}, response.extensions.get("reason_phrase"),
            response.extensions.get("stream_id"),
        ])  # fmt: skip
    assert seen[0] == seen[1]
    assert pooled.get(server.url).extensions["pool_manager"].reused


TARGETS: Final = [
    "", "/", "?", "/?", "/a?", "/a?b", "/a?b=", "/a?=b", "/a?b=c&b=d&", "/a;b;c?d;e", "//a//b/", "/a/../b/c",
    "/%7Euser/~", "/a%2Fb", "/a%2fb%2F", "/a%20b+c", "/a b", "/ä/ü?ö=ß", "/a?q=%C3%A4", "/%", "/a?q=a+b%20c",
    "/a?b=%", "/a[1]{2}|3", "/a?b[]=1&c[d]=2", "/a:b@c!$&'()*+,=", '/"<>^`', "/a?\"<>^`'", "/a?b=http://c/d?e",
    "/a#frag", "/a?b#frag", "/\\a", "/a?b=\\", "/a?%2B=+", "/🙂?🙂", "/a?b=1%262", "/a%252Fb", "/%zz", "/%00",
]  # fmt: skip


@pytest.mark.parametrize("over", ["HTTP/1.1", "HTTP/2", "a proxy"])
def test_targets_go_byte_for_byte(
    over: str, pair: Pair, request: pytest.FixtureRequest, proxy: ProxyServer
) -> None:
    """Paths and queries reach the server exactly as a plain client sends them, whatever is in them."""
    server: Any = request.getfixturevalue("h2_server" if over == "HTTP/2" else "counting_server")
    targets = TARGETS[::4] if over == "HTTP/2" else TARGETS  # hypercorn takes 40 ms for each
    for client in pair(**({"proxy": proxy.url} if over == "a proxy" else {})):
        for target in targets:
            client.get(server.url + target)
        client.get(server.url, params={"a b": "c&d", "e": ["f/g", "ü+"]})
    arrived = [request.path for request in (server.seen() if over == "HTTP/2" else server).requests]
    half = len(targets) + 1
    assert len(arrived) == 2 * half
    assert arrived[half:] == arrived[:half]
    assert bool(proxy.seen()) is (over == "a proxy")


def test_heads_go_as_a_plain_client_sends_them(pair: Pair, counting_server: CountingServer) -> None:
    """Method, headers, their order and the body's framing are those of a plain client."""
    headers = [("X-B", "1"), ("x-a", "2"), ("X-B", "3"), ("Connection", "keep-alive"), ("Cookie", "c=d")]
    for client in pair():
        client.request("PURGE", counting_server.url, headers=headers)
        client.post(counting_server.url, json={"a": 1}, auth=("ann", "word"))
        client.put(counting_server.url, content=iter([b"a", b"b"]))
    requests = [attrs.evolve(request, connection=0) for request in counting_server.requests]
    assert len(requests) == 6
    assert requests[:3] == requests[3:]


# What a request asks for beside


def test_target_is_honoured(
    library: ModuleType, manager: PoolManager, counting_server: CountingServer
) -> None:
    """The `target` extension is what goes into the request line."""
    with manager.client(library.Client) as client:
        for target in (b"*", b"/raw%7e?a%20b", b"http://elsewhere.example/x"):
            client.request("OPTIONS", f"{counting_server.url}/ignored", extensions={"target": target})
            assert counting_server.requests[-1].path.encode() == target


def test_unknown_extensions_are_ignored(
    library: ModuleType, manager: PoolManager, server: HypercornServer
) -> None:
    """Extensions that nobody knows of change nothing."""
    with manager.client(library.Client) as client:
        assert client.get(server.url, extensions={"unheard": object(), "of": [1]}).status_code == 200


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_trace_tells_the_caller(
    library: ModuleType, kind: str, manager: PoolManager, server: HypercornServer
) -> None:
    """A `trace` function of the caller's hears of the connection, by its number, and of the request."""
    events: list[str] = []
    numbers: list[object] = []

    def note(event: str, info: dict[str, object]) -> None:
        events.append(event + "!" * (not isinstance(info, dict)))
        if "connect_tcp.started" not in event:
            numbers.append(info["connection_id"])

    async def async_note(event: str, info: dict[str, object]) -> None:
        note(event, info)

    async def in_loop() -> None:
        async with manager.client(library.AsyncClient) as client:
            answer = await client.get(server.url, extensions={"trace": async_note})
            numbers.append(answer.extensions["pool_manager"].connection_id)

    if kind == "AsyncClient":
        asyncio.run(in_loop())
    else:
        with manager.client(library.Client) as client:
            answer = client.get(server.url, extensions={"trace": note})
            numbers.append(answer.extensions["pool_manager"].connection_id)
    assert len(set(numbers)) == 1
    heard = [event.partition(".")[2] for event in events]
    moments = ["connect_tcp.complete", "send_request_headers.started", "receive_response_headers.complete"]
    assert [moment for moment in heard if moment in moments] == moments
