"""Real servers, of five families, are understood: what they answer, how they limit, how they say good-bye."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from types import ModuleType
from typing import Any, Final, TypeAlias

import attrs
import httpx
import httpx2
import httpx_sse
import httpx_ws
import pytest
import uvloop

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.granian_server import GranianServer
from tests.support.h2o_server import H2oServer
from tests.support.hypercorn_server import HypercornServer
from tests.support.nghttpd_server import NghttpdServer
from tests.support.nginx_server import NginxServer
from tests.support.payload import PAYLOAD, SHA256
from tests.support.server import Seen, Server

Main: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]

SERVERS: Final = {"nginx": "nginx_app", "hypercorn": "h2_server", "granian": "granian", "h2o": "h2o_app"}
VERSIONS: Final = ("HTTP/1.1", "HTTP/2")
MANY: Final = 100  # requests at once
LOAD: Final = 300  # requests one after the other
ROUNDS: Final = 5
PATIENCE: Final = 10.0  # seconds; longer means that it does not happen
BODY: Final = b"to be, or not to be" * 100


@attrs.frozen
class Stack:
    """What a client runs on."""

    library: ModuleType
    run: Callable[[Coroutine[Any, Any, None]], None]


STACKS: Final = [
    pytest.param(Stack(library, run), id=f"{library.__name__}-{run.__module__.partition('.')[0]}")
    for library, run in itertools.product((httpx, httpx2), (asyncio.run, uvloop.run))
]

every_stack = pytest.mark.parametrize("stack", STACKS, indirect=True)
both_ways = pytest.mark.parametrize("stack", [STACKS[0], STACKS[3]], indirect=True)  # each of the four once
each_version = pytest.mark.parametrize("version", VERSIONS)


@attrs.frozen
class Visit:
    """Runs what is asked of one client of a fresh pool, in a loop of its own."""

    stack: Stack
    config: PoolConfig
    url: str
    version: str = "HTTP/2"

    def __call__(self, main: Main) -> None:
        """Run *main*; then no request must be counted as under way."""
        self.stack.run(self._visit(main))

    async def _visit(self, main: Main) -> None:
        async with (
            PoolManager(self.config) as manager,
            manager.client(self.stack.library.AsyncClient, base_url=self.url, timeout=PATIENCE) as client,
        ):
            await main(client)
            for pool in manager.stats().pools:
                assert (pool.in_flight, pool.waiting) == (0, 0)


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Stack:
    """Give each stack in turn, or those that a test names."""
    chosen: Stack = request.param
    return chosen


@pytest.fixture(params=itertools.product(SERVERS, VERSIONS), ids="-".join)
def peer(request: pytest.FixtureRequest) -> tuple[Server, str]:
    """Give each server, with each version it speaks, in turn."""
    name, version = request.param
    return request.getfixturevalue(SERVERS[name]), version


@pytest.fixture
def visit(peer: tuple[Server, str], stack: Stack) -> Visit:
    """Visit the peer."""
    return visiting(*peer, stack)


def visiting(server: Server, version: str, stack: Stack) -> Visit:
    """Give the way to visit a server."""
    config = PoolConfig(verify=server.client_context(), http2=version == "HTTP/2", trust_env=False)
    return Visit(stack, config, f"{server.url}/app", version)


def gate() -> str:
    """Give a gate of the app's that no other test waits at."""
    return uuid.uuid4().hex


async def parts_of(body: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    """Give a body part by part."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def load(
    client: Any, methods: Sequence[str], at_once: int, errands: dict[int, Callable[[], None]]
) -> None:
    """Send `LOAD` requests, some at once, an errand done before this one and that; each must be answered."""
    numbers = iter(range(LOAD))

    async def work() -> None:
        for number in numbers:
            if errand := errands.get(number):
                await asyncio.to_thread(errand)
            method = methods[number % len(methods)]
            body = BODY if method == "POST" else None
            answer = await client.request(method, f"/echo?{number}", content=body)
            assert (answer.status_code, answer.json()["query"]) == (200, str(number))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


async def until(server: Server, condition: Callable[[Seen], bool]) -> None:
    """Wait for what a server sees, while the loop runs."""
    await asyncio.to_thread(server.wait_for, condition, PATIENCE)


async def begin_and_finish(client: Any, app: Server, between: Callable[[], None]) -> None:
    """Have two requests out, one of them half answered, while something happens; both must be answered."""
    rest, whole = gate(), gate()
    async with asyncio.TaskGroup() as group, client.stream("GET", f"/held/{rest}") as answer:
        parts = answer.aiter_bytes()
        assert await anext(parts) == b"first;"
        posted = group.create_task(client.post(f"/waiting/{whole}", content=BODY))
        await until(app, came(f"/waiting/{whole}"))
        await asyncio.to_thread(between)
        for name in (rest, whole):
            assert (await client.get(f"/open/{name}")).status_code == 200
        assert (await posted).json() == {"waited": whole}
        assert b"".join([part async for part in parts]) == b"last"


def processed(server: Server, method: str) -> Counter[str]:
    """Count how often the app was asked what by a method."""
    return Counter(request.path for request in server.seen().requests if request.method == method)


def assert_processed_once(server: Server, method: str, count: int) -> None:
    """The app was asked for *count* paths by a method, and for each of them once."""
    asked = processed(server, method)
    assert (len(asked), set(asked.values())) == (count, {1})


def came(path: str) -> Callable[[Seen], bool]:
    """Tell whether a request has arrived."""
    return lambda seen: any(request.path.endswith(path) for request in seen.requests)


# Every server


@every_stack
def test_messages_of_every_kind(visit: Visit, peer: tuple[Server, str]) -> None:
    """With a body and without, known length and not, answers that have none: all on one connection."""

    async def main(client: Any) -> None:
        answers = [
            await client.get("/echo?a=1"),
            await client.head("/bytes/1000"),
            await client.post("/echo", content=BODY),
            await client.post("/echo", content=parts_of(BODY, 100)),
            await client.put("/echo", content=b""),
            await client.get("/status/204"),
            await client.get("/status/304"),
            await client.get("/status/503"),
            await client.get("/gzip"),
        ]
        got, head, posted, generated, put, *without, failed, zipped = answers
        assert {answer.http_version for answer in answers} == {visit.version}
        assert (got.json()["method"], got.json()["query"]) == ("GET", "a=1")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "1000")
        for echo in (posted.json(), generated.json()):
            assert echo["body_sha256"] == hashlib.sha256(BODY).hexdigest()
        assert (put.json()["method"], put.json()["body_length"]) == ("PUT", 0)
        assert [(answer.status_code, answer.content) for answer in without] == [(204, b""), (304, b"")]
        assert (failed.status_code, failed.json()) == (503, {"status": 503})
        assert zipped.json() == {"gzipped": True}

    visit(main)
    assert peer[0].seen().connections == 1


@both_ways
def test_an_answer_is_read_as_it_comes(visit: Visit) -> None:
    """The first part is there before the rest is made; another request is what the rest waits for."""
    rest = gate()

    async def main(client: Any) -> None:
        async with client.stream("GET", f"/held/{rest}") as answer:
            parts = answer.aiter_bytes()
            assert await anext(parts) == b"first;"
            await client.get(f"/open/{rest}")
            assert b"".join([part async for part in parts]) == b"last"

    visit(main)


@both_ways
def test_an_answer_is_closed_early(visit: Visit, peer: tuple[Server, str]) -> None:
    """Who reads the beginning of five megabytes and closes harms nobody after them."""

    async def main(client: Any) -> None:
        for _ in range(ROUNDS):
            async with client.stream("GET", "/payload") as answer:
                first = await anext(answer.aiter_bytes())
                assert PAYLOAD.startswith(first)
            assert (await client.post("/echo", content=BODY)).json()["body_length"] == len(BODY)

    visit(main)
    assert peer[0].seen().connections <= ROUNDS + 1


async def send_many(client: Any, count: int) -> None:
    """Send requests at once; each must get its own answer."""
    answers = await asyncio.gather(*[client.get(f"/echo?{number}") for number in range(count)])
    assert [answer.json()["query"] for answer in answers] == [str(number) for number in range(count)]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("stack", STACKS[:1], indirect=True)
def test_a_hundred_at_once_in_http1(name: str, stack: Stack, request: pytest.FixtureRequest) -> None:
    """Each has a connection of its own, or one after another's; none is made for one that has one."""
    server: Server = request.getfixturevalue(SERVERS[name])

    async def main(client: Any) -> None:
        await send_many(client, MANY)
        before = server.seen().connections
        assert 1 < before <= MANY
        await send_many(client, MANY // 10)
        assert server.seen().connections <= MANY  # some were dialed for the first round, and not needed then

    visiting(server, "HTTP/1.1", stack)(main)


@pytest.mark.parametrize("name", SERVERS)
@every_stack
def test_a_hundred_at_once_in_http2(name: str, stack: Stack, request: pytest.FixtureRequest) -> None:
    """All go over one connection, whose protocol nobody knew before; and none is left over."""
    server: Server = request.getfixturevalue(SERVERS[name])
    server.wait_for(lambda seen: seen.open == 0)

    async def main(client: Any) -> None:
        await send_many(client, MANY)
        await send_many(client, MANY // 10)
        assert server.seen().connections == 1
        await until(server, lambda seen: seen.open == 1)

    visiting(server, "HTTP/2", stack)(main)


@pytest.mark.parametrize("name", SERVERS)
@both_ways
def test_a_closed_stream_leaves_its_connection(
    name: str, stack: Stack, request: pytest.FixtureRequest
) -> None:
    """In HTTP/2 the others go on, and what was sent in vain is given back to the window."""
    server: Server = request.getfixturevalue(SERVERS[name])

    async def main(client: Any) -> None:
        for _ in range(ROUNDS):
            async with client.stream("GET", "/payload") as answer:
                await anext(answer.aiter_bytes())
        assert hashlib.sha256((await client.get("/payload")).content).hexdigest() == SHA256

    visiting(server, "HTTP/2", stack)(main)
    assert server.seen().connections == 1


@pytest.mark.parametrize("stack", STACKS[3:], indirect=True)
def test_five_megabytes(visit: Visit, peer: tuple[Server, str]) -> None:
    """They arrive as they were sent, both ways, with a length and without."""

    async def main(client: Any) -> None:
        assert hashlib.sha256((await client.get("/payload")).content).hexdigest() == SHA256
        for body in (PAYLOAD, parts_of(PAYLOAD)):
            assert (await client.post("/echo", content=body)).json()["body_sha256"] == SHA256

    visit(main)
    assert peer[0].seen().connections == 1


@both_ways
def test_server_sent_events(visit: Visit) -> None:
    """httpx-sse reads events through a pooled client."""

    async def main(client: Any) -> None:
        async with httpx_sse.aconnect_sse(client, "GET", "/sse") as source:
            events = [event.json() async for event in source.aiter_sse()]
        assert events == [{"number": number} for number in range(3)]

    visit(main)


@both_ways
def test_100_continue(visit: Visit) -> None:
    """A server that says 100 before its answer is understood, and one that does not."""

    async def main(client: Any) -> None:
        for _ in range(2):
            answer = await client.post("/echo", content=BODY, headers={"Expect": "100-continue"})
            assert answer.json()["body_length"] == len(BODY)

    visit(main)


@both_ways
def test_early_hints(stack: Stack, h2_server: HypercornServer) -> None:
    """What a server says before its answer (103) is not taken for the answer."""

    async def main(client: Any) -> None:
        for _ in range(2):
            answer = await client.get("/early-hints")
            assert (answer.status_code, answer.json()) == (200, {"hinted": True})

    visiting(h2_server, "HTTP/2", stack)(main)
    assert h2_server.seen().connections == 1


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("stack", STACKS[:2], indirect=True)
def test_websockets(name: str, stack: Stack, request: pytest.FixtureRequest) -> None:
    """httpx-ws speaks over a connection of the pool, which nobody else is given meanwhile or after."""
    server = request.getfixturevalue(SERVERS[name])

    async def main(client: Any) -> None:
        await client.get("/echo")
        socket: httpx_ws.AsyncWebSocketSession
        async with httpx_ws.aconnect_ws("/websocket", client) as socket:
            for text in ("hello", "x" * 50_000):
                await socket.send_text(text)
                assert await socket.receive_text() == text
            await socket.send_bytes(BODY)
            assert (await client.get("/echo")).status_code == 200
            assert await socket.receive_bytes() == BODY
        assert (await client.get("/echo")).status_code == 200

    visiting(server, "HTTP/1.1", stack)(main)
    uncounted = name == "granian"  # it counts a connection by its requests, and what switches is none there
    assert server.seen().connections == 2 - uncounted


# How nginx limits, and says good-bye


@both_ways
@each_version
def test_nginx_reloads_while_idle(
    version: str, stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """A connection that the server closed is not used again, not even for what must not be sent twice."""
    with NginxServer(certificates, backend=plain_server.url) as server:

        async def main(client: Any) -> None:
            for number in range(3):
                assert (await client.post(f"/echo?{number}", content=BODY)).status_code == 200
                await asyncio.to_thread(server.reload)
                await until(server, lambda seen: seen.open == 0)

        visiting(server, version, stack)(main)
        assert server.seen().connections == 3
    assert processed(plain_server, "POST") == {f"/app/echo?{number}": 1 for number in range(3)}


@both_ways
@each_version
def test_nginx_reloads_while_requests_are_out(
    version: str, stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """What was begun is finished, whether or not its answer had begun; what comes meanwhile is served."""
    with NginxServer(certificates, backend=plain_server.url) as server:

        async def main(client: Any) -> None:
            await begin_and_finish(client, plain_server, server.reload)
            await until(server, lambda seen: seen.open <= 1)
            assert (await client.post("/echo", content=BODY)).status_code == 200

        visiting(server, version, stack)(main)
    assert_processed_once(plain_server, "POST", 2)


@both_ways
@pytest.mark.parametrize(
    # Over HTTP/1.1 a POST may cross the good-bye of an idle connection: nobody knows whether it arrived.
    ("version", "methods"), [("HTTP/1.1", ["GET"]), ("HTTP/2", ["GET", "POST"])]
)  # fmt: skip
def test_nginx_reloads_under_load(
    version: str, methods: list[str], stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """Two reloads among three hundred requests: each is answered, and what must be is processed once."""
    with NginxServer(certificates, backend=plain_server.url) as server:
        errands = {LOAD // 3: server.reload, LOAD * 2 // 3: server.reload}
        visiting(server, version, stack)(lambda client: load(client, methods, 10, errands))
        assert server.seen().connections >= 2
    assert set(processed(plain_server, "POST").values()) <= {1}


@both_ways
@each_version
def test_nginx_closes_after_some_requests(
    version: str, stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """A connection is good for twenty requests of three hundred: each is answered, and processed once."""
    with NginxServer(certificates, backend=plain_server.url, keepalive_requests=20) as server:
        visiting(server, version, stack)(lambda client: load(client, ["GET", "POST"], 20, {}))
        assert server.seen().connections >= LOAD // 20
    for method in ("GET", "POST"):
        assert_processed_once(plain_server, method, LOAD // 2)


@every_stack
def test_nginx_allows_few_streams(
    stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """Four streams on a connection, forty requests at once: all are answered, each by being sent once."""
    with NginxServer(certificates, backend=plain_server.url, max_streams=4) as server:

        async def main(client: Any) -> None:
            answers = await asyncio.gather(*[client.post(f"/slow/20?{number}") for number in range(40)])
            assert {answer.status_code for answer in answers} == {200}

        visiting(server, "HTTP/2", stack)(main)
        assert server.seen().connections <= Limits().max_h2_connections_per_origin
    assert set(processed(plain_server, "POST").values()) == {1}


@each_version
@pytest.mark.parametrize("stack", STACKS[:1], indirect=True)
def test_nginx_closes_what_idles(
    version: str, stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """Connections that the server closed after a moment of nothing are not missed."""
    with NginxServer(certificates, backend=plain_server.url, keepalive_timeout=100) as server:

        async def main(client: Any) -> None:
            for round_ in range(2):
                posts = [client.post(f"/slow/10?{round_}-{number}", content=BODY) for number in range(10)]
                assert {answer.status_code for answer in await asyncio.gather(*posts)} == {200}
                await until(server, lambda seen: seen.open == 0)

        visiting(server, version, stack)(main)
    assert_processed_once(plain_server, "POST", 20)


# h2o


@both_ways
@each_version
def test_h2o_restarts_while_requests_are_out(
    version: str, stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """What was begun is finished by the old h2o; what comes after is served by either."""
    with H2oServer(certificates, plain_server.url, can_restart=True) as server:

        async def main(client: Any) -> None:
            await begin_and_finish(client, plain_server, server.restart)
            assert (await client.post("/echo", content=BODY)).status_code == 200

        visiting(server, version, stack)(main)
    assert_processed_once(plain_server, "POST", 2)


@both_ways
@each_version
def test_h2o_restarts_under_load(
    version: str, stack: Stack, certificates: Certificates, plain_server: HypercornServer
) -> None:
    """A restart among three hundred requests: each is answered, and processed once."""
    with H2oServer(certificates, plain_server.url, can_restart=True) as server:
        errands = {LOAD // 2: server.restart}
        visiting(server, version, stack)(lambda client: load(client, ["GET", "POST"], 10, errands))
    assert_processed_once(plain_server, "POST", LOAD // 2)


# granian


@both_ways
@each_version
def test_granian_shuts_down_while_a_request_is_out(
    version: str, stack: Stack, certificates: Certificates
) -> None:
    """Its answer comes in full; then nobody listens, and the library's own error says so."""
    with GranianServer(certificates) as server:

        async def main(client: Any) -> None:
            async with asyncio.TaskGroup() as group:
                out = group.create_task(client.post("/slow/200", content=BODY))
                await until(server, came("/slow/200"))
                await asyncio.to_thread(server.shut_down)
                assert (await out).json() == {"slept": 200}
            await until(server, lambda seen: seen.open == 0)
            with pytest.raises(stack.library.ConnectError):
                await client.get("/echo")

        visiting(server, version, stack)(main)
        assert processed(server, "POST") == {"/app/slow/200": 1}


# nghttpd


def visiting_nghttpd(server: NghttpdServer, certificates: Certificates, stack: Stack) -> Visit:
    """Give the way to visit an nghttpd: HTTP/2, in the clear as well."""
    config = PoolConfig(verify=certificates.client_context(), http1=False, trust_env=False)
    return Visit(stack, config, server.url)


@both_ways
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "clear"])
def test_nghttpd_echoes(tls: bool, stack: Stack, certificates: Certificates) -> None:
    """What is sent comes back while it is sent: by ALPN, and by prior knowledge in the clear."""
    with NghttpdServer(certificates, "--echo-upload", tls=tls) as server:

        async def main(client: Any) -> None:
            for body in (BODY, PAYLOAD, parts_of(PAYLOAD)):
                answer = await client.post("/", content=body)
                sent = BODY if body is BODY else PAYLOAD
                assert (answer.http_version, answer.content) == ("HTTP/2", sent)
            assert server.open_connections() == 1

        visiting_nghttpd(server, certificates, stack)(main)


@both_ways
def test_nghttpd_sends_trailers_and_padding(stack: Stack, certificates: Certificates) -> None:
    """Neither is taken for a part of the body; and padding, too, is given back to the window."""
    with NghttpdServer(certificates, "--trailer=x-mood: fine", "--padding=255") as server:

        async def main(client: Any) -> None:
            for _ in range(5):
                answer = await client.get("/payload")
                assert hashlib.sha256(answer.content).hexdigest() == SHA256
            assert server.open_connections() == 1

        visiting_nghttpd(server, certificates, stack)(main)


@both_ways
def test_nghttpd_has_small_windows(stack: Stack, certificates: Certificates) -> None:
    """A kilobyte in flight on a stream, and four streams: twenty uploads are sent bit by bit."""
    options = ("--echo-upload", "--window-bits=10", "--max-concurrent-streams=4")
    with NghttpdServer(certificates, *options) as server:

        async def main(client: Any) -> None:
            bodies = [PAYLOAD[start << 14 : start + 1 << 14] for start in range(20)]
            answers = await asyncio.gather(*[client.post("/", content=body) for body in bodies])
            assert [answer.content for answer in answers] == bodies
            assert server.open_connections() <= Limits().max_h2_connections_per_origin

        visiting_nghttpd(server, certificates, stack)(main)


@both_ways
def test_nghttpd_answers_early(stack: Stack, certificates: Certificates) -> None:
    """An answer that comes before the upload has ended is an answer, and the connection goes on."""
    with NghttpdServer(certificates, "--early-response") as server:

        async def main(client: Any) -> None:
            for _ in range(3):
                answer = await client.post("/missing", content=parts_of(PAYLOAD))
                assert answer.status_code == 404
            assert len((await client.get("/payload")).content) == len(PAYLOAD)

        visiting_nghttpd(server, certificates, stack)(main)
