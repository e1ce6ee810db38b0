"""Signals that come while a thread has a request out: those that do nothing, and those that end it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias

import httpx
import pytest

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.payload import PAYLOAD, SHA256
from tests.support.scripted import Gate, ScriptedServer
from tests.support.scripted_http1 import ScriptedHttp1
from tests.support.scripted_http2 import Http2Peer, ScriptedHttp2
from tests.support.worlds import config_for

OFTEN = 0.02  # seconds between two signals
ENOUGH = 500  # of them; whoever still waits after so many hangs
WAIT = 0.2  # seconds; several signals come meanwhile
BIG = 10_000_000  # bytes; more than sockets and windows take

Handler: TypeAlias = Callable[[], object]


@contextlib.contextmanager
def handled(number: int, handler: Handler) -> Iterator[None]:
    """Have *handler* called when a signal comes."""

    def handle(_: int, __: FrameType | None) -> None:
        handler()

    before = signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextlib.contextmanager
def ticking() -> Iterator[list[None]]:
    """Have a signal come again and again, and do nothing; give one item for each."""
    ticks: list[None] = []

    def tick() -> None:
        ticks.append(None)
        assert len(ticks) < ENOUGH, "it hangs"

    with handled(signal.SIGALRM, tick):
        signal.setitimer(signal.ITIMER_REAL, OFTEN, OFTEN)
        try:
            yield ticks
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture(params=["h1", "h2"])
def server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer[Any]]:
    """Give a server that never answers /never, and whose first connection takes no long body."""
    with ScriptedHttp1(_hold) if request.param == "h1" else ScriptedHttp2(_hold) as server:
        yield server


def _hold(peer: Any) -> None:
    if isinstance(peer, Http2Peer):
        peer.gives_credit = False
    while True:
        request = peer.read_head()
        if request.method == "POST":
            peer.wait(Gate())
        elif request.target != "/never":
            peer.answer(request) if isinstance(peer, Http2Peer) else peer.answer()


@pytest.mark.parametrize("phase", ["connect", "read", "write", "pool"])
def test_a_timeout_is_kept_though_signals_come(phase: str, server: ScriptedServer[Any]) -> None:
    """What is left of a timeout is waited for after a signal, and not all of it again (PEP 475)."""
    limits = Limits(max_connections=1, max_streams_per_connection=1)
    timeout = httpx.Timeout(20, **{phase: WAIT})
    begun, end = threading.Event(), threading.Event()

    def hold_the_connection() -> None:
        with contextlib.suppress(httpx.ReadError), client.stream("POST", "/", content=body()):
            pass

    def body() -> Iterator[bytes]:
        yield b"x"
        begun.set()
        end.wait(20)

    with (
        PoolManager(config_for(server), limits=limits) as manager,
        manager.client(base_url=server.url, timeout=timeout) as client,
        contextlib.ExitStack() as stack,
    ):
        url, content = "/never", None
        if phase == "connect":
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        elif phase == "pool":
            thread = threading.Thread(target=hold_the_connection)
            thread.start()
            stack.callback(thread.join)
            stack.callback(manager.close)
            stack.callback(end.set)
            assert begun.wait(20)
        elif phase == "write":
            content = bytes(BIG)
        ticks = stack.enter_context(ticking())
        with pytest.raises(httpx.TimeoutException) as caught:
            client.request("GET" if content is None else "POST", url, content=content)
        assert type(caught.value).__name__.lower() == f"{phase}timeout"
        assert len(ticks) > 2


@pytest.fixture(params=["h1", "h2"])
def real_server(request: pytest.FixtureRequest) -> HypercornServer:
    """Give a real server of either version."""
    server: HypercornServer = request.getfixturevalue(f"{request.param}_server")
    return server


@contextlib.contextmanager
def clients(
    server: HypercornServer, certificates: Certificates
) -> Iterator[tuple[PoolManager, httpx.Client]]:
    """Give a client that has asked before, and its manager."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with PoolManager(config) as manager, manager.client(base_url=server.url, timeout=20) as client:
        client.get("/")
        yield manager, client


def when_seen(server: HypercornServer, path: str, count: int, deed: Callable[[], object]) -> None:
    """Do something once the server has so many requests for *path*."""
    while [request.path for request in server.seen().requests].count(path) < count:
        threading.Event().wait(0.01)
    deed()


def test_answers_arrive_though_signals_come(real_server: HypercornServer, certificates: Certificates) -> None:
    """Slow, long up and long down, while signals come all the time: all is whole."""
    with clients(real_server, certificates) as (_, client), ticking() as ticks:
        assert client.get("/slow/200").status_code == 200
        answer = client.post("/echo", content=iter([PAYLOAD[:1_000_000], PAYLOAD[1_000_000:]])).json()
        assert answer["body_sha256"] == SHA256
        assert client.get("/payload").content == PAYLOAD
        assert len(ticks) > 5
    assert real_server.seen().connections == 1


@pytest.mark.parametrize("leads", [True, False], ids=["reads-for-all", "sleeps"])
def test_ctrl_c_where_the_main_thread_waits(
    leads: bool, real_server: HypercornServer, certificates: Certificates
) -> None:
    """It ends at once; those who share its connection are answered, and the next is served."""
    gate = f"/ctrl-c-{leads}-{real_server.port}"
    with (
        clients(real_server, certificates) as (manager, client),
        concurrent.futures.ThreadPoolExecutor(4) as threads,
    ):
        neighbours: list[concurrent.futures.Future[httpx.Response]] = []

        def begin() -> None:
            neighbours.extend(threads.submit(client.get, f"/waiting{gate}") for _ in range(3))

        def interrupt() -> None:
            if leads:
                begin()
            when_seen(real_server, f"/waiting{gate}", 3, lambda: os.kill(os.getpid(), signal.SIGINT))

        if not leads:
            begin()
            when_seen(real_server, f"/waiting{gate}", 3, lambda: None)
        threads.submit(when_seen, real_server, "/waiting/never", 1, interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.get("/waiting/never")
        assert manager.stats().pools[0].in_flight == 3
        assert client.get(f"/open{gate}").status_code == 200
        assert [200] * 3 == [neighbour.result().status_code for neighbour in neighbours]
        assert manager.stats().pools[0].in_flight == 0
        if client.get("/").http_version == "HTTP/2":
            assert real_server.seen().connections == 1


@pytest.mark.parametrize("deed", ["exit", "close"])
def test_a_handler_that_ends_it_all(
    deed: str, real_server: HypercornServer, certificates: Certificates
) -> None:
    """A program that is told to end raises, or closes its manager, in the handler: nothing hangs."""
    error = SystemExit if deed == "exit" else httpx.TransportError
    with clients(real_server, certificates) as (manager, client):
        teller = threading.Thread(
            target=when_seen,
            args=[real_server, "/waiting/never", 1, lambda: os.kill(os.getpid(), signal.SIGTERM)],
        )
        teller.start()
        with (
            handled(signal.SIGTERM, manager.close if deed == "close" else lambda: sys.exit(7)),
            pytest.raises(error),
        ):
            client.get("/waiting/never")
        teller.join()
        assert [pool.in_flight for pool in manager.stats().pools] == [0] * (deed == "exit")
