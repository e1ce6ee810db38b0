"""What threads that share an HTTP/2 connection owe one another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hyperframe.frame import RstStreamFrame

from pool_manager import Limits, PoolConfig, PoolManager
from pool_manager.runtimes.on_threads import sending
from pool_manager.runtimes.on_threads.http2 import Http2Carrier
from pool_manager.runtimes.on_threads.waiting import Waiter
from pool_manager.runtimes.on_threads.wires import TlsWire
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.inside import only_carrier
from tests.support.scripted import Gate
from tests.support.scripted_http1 import Http1Peer, ScriptedHttp1
from tests.support.scripted_http2 import Http2Peer, ScriptedHttp2
from tests.support.worlds import config_for

PATIENCE = 20.0  # seconds; longer means that it hangs


def test_an_upload_waits_for_no_window_where_another_thread_was_sending(
    h2_server: HypercornServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds another's bytes on their way, which are gone when it comes to wait, goes on at once."""
    is_sending, may_send, has_sent = threading.Event(), threading.Event(), threading.Event()
    send_now, wait_to_send, pull = TlsWire.send_now, Http2Carrier.wait_to_send, Http2Carrier.pull

    def send_slowly(wire: TlsWire, data: bytes) -> int:
        if threading.current_thread() is neighbour and not is_sending.is_set():
            is_sending.set()
            assert may_send.wait(PATIENCE)
        return send_now(wire, data)

    def wait_until_it_is_gone(carrier: Http2Carrier, *args: Any) -> bool:
        may_send.set()
        assert has_sent.wait(PATIENCE)
        return wait_to_send(carrier, *args)

    def note_that_it_is_gone(carrier: Http2Carrier, *args: Any) -> bool:
        if threading.current_thread() is neighbour:
            has_sent.set()
        return pull(carrier, *args)

    def body() -> Iterator[bytes]:
        yield b"hello"

    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with PoolManager(config) as manager, manager.client(base_url=h2_server.url, timeout=10) as client:
        client.get("/")
        neighbour = threading.Thread(target=client.get, args=["/"])
        monkeypatch.setattr(TlsWire, "send_now", send_slowly)
        monkeypatch.setattr(Http2Carrier, "wait_to_send", wait_until_it_is_gone)
        monkeypatch.setattr(Http2Carrier, "pull", note_that_it_is_gone)
        neighbour.start()
        assert is_sending.wait(PATIENCE)
        assert client.post("/echo", content=body()).json()["body_length"] == len(b"hello")
        assert has_sent.is_set()
        neighbour.join()
    assert h2_server.seen().connections == 1


def test_an_upload_sleeps_while_another_thread_sends(
    h2_server: HypercornServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody asks a socket for room on which another is sending: it says yes, and all would ask again.

    Who sleeps is woken when that one is done.
    """
    is_sending, has_chosen, polled = threading.Event(), threading.Event(), threading.Event()
    send_now, wait, sleep = TlsWire.send_now, TlsWire.wait, Waiter.sleep
    woken: list[bool] = []

    def send_slowly(wire: TlsWire, data: bytes) -> int:
        if threading.current_thread() is neighbour and not is_sending.is_set():
            is_sending.set()
            assert has_chosen.wait(PATIENCE)
        return send_now(wire, data)

    def note_a_look(wire: TlsWire, *args: Any) -> int:
        if threading.current_thread() is not neighbour and not has_chosen.is_set():
            polled.set()
            has_chosen.set()
        return wait(wire, *args)

    def note_a_sleep(waiter: Waiter, seconds: float | None) -> bool:
        if threading.current_thread() is neighbour or has_chosen.is_set():
            return sleep(waiter, seconds)
        has_chosen.set()
        woken.append(sleep(waiter, seconds))
        return woken[0]

    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with PoolManager(config) as manager, manager.client(base_url=h2_server.url, timeout=10) as client:
        client.get("/")
        neighbour = threading.Thread(target=client.get, args=["/"])
        monkeypatch.setattr(TlsWire, "send_now", send_slowly)
        monkeypatch.setattr(TlsWire, "wait", note_a_look)
        monkeypatch.setattr(Waiter, "sleep", note_a_sleep)
        monkeypatch.setattr(sending, "GLANCE", PATIENCE)  # it looks by itself no sooner
        neighbour.start()
        assert is_sending.wait(PATIENCE)
        assert client.post("/echo", content=iter([b"hello"])).json()["body_length"] == len(b"hello")
        neighbour.join()
    assert (polled.is_set(), woken) == (False, [True])
    assert h2_server.seen().connections == 1


def test_an_upload_on_a_connection_that_breaks_fails_by_that(
    h2_server: HypercornServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the socket takes no more, the error is the connection's, and not that the body is too short."""
    send_now = TlsWire.send_now

    def break_off(wire: TlsWire, data: bytes) -> int:
        if len(data) < 10_000:
            return send_now(wire, data)
        wire.sock.shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with PoolManager(config) as manager, manager.client(base_url=h2_server.url, timeout=10) as client:
        monkeypatch.setattr(TlsWire, "send_now", break_off)
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            client.post("/echo", content=bytes(100_000))
        assert client.get("/").status_code == 200


def has_seen(server: ScriptedHttp2, requests: int) -> None:
    """Return when *server* has seen so many requests."""
    while len(server.requests) < requests:
        threading.Event().wait(0.005)


@pytest.mark.parametrize("phase", ["read", "write", "pool"])
def test_a_timeout_while_another_thread_reads(phase: str) -> None:
    """Who sleeps while another reads for all, or waits for a place beside it, gives up in time."""
    answers = Gate()

    def story(peer: Http2Peer) -> None:
        peer.gives_credit = False
        held = peer.read_request()
        peer.wait(answers)
        peer.answer(held)

    limits = Limits(max_connections=1, max_streams_per_connection=1 if phase == "pool" else 100)
    with (
        ScriptedHttp2(story) as server,
        PoolManager(config_for(server), limits=limits) as manager,
        manager.client(base_url=server.url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        held = threads.submit(client.get, "/held")
        has_seen(server, 1)
        timeout = httpx.Timeout(PATIENCE, **{phase: 0.1})
        with pytest.raises(getattr(httpx, f"{phase.capitalize()}Timeout")):
            client.post("/", content=bytes(1_000_000 if phase == "write" else 0), timeout=timeout)
        answers.open()
        assert held.result().status_code == 200
        assert server.connections == 1


def test_who_reads_for_all_runs_out_of_time() -> None:
    """Another reads from then on, and gets its answer."""

    def story(peer: Http2Peer) -> None:
        impatient, patient = peer.read_requests(2)
        peer.want(RstStreamFrame, stream=impatient.stream)
        peer.answer(patient)

    with (
        ScriptedHttp2(story) as server,
        PoolManager(config_for(server)) as manager,
        manager.client(base_url=server.url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        impatient = threads.submit(client.get, "/", timeout=httpx.Timeout(PATIENCE, read=0.3))
        has_seen(server, 1)
        assert client.get("/").status_code == 200
        assert isinstance(impatient.exception(), httpx.ReadTimeout)
        assert server.connections == 1


@pytest.mark.parametrize("leads", [True, False], ids=["leads", "sleeps"])
def test_an_answer_that_another_thread_closes(leads: bool) -> None:
    """Who reads it learns that, be it that it reads for all or sleeps; one thread reads for all as before."""
    goes_on = Gate()

    def story(peer: Http2Peer) -> None:
        first = peer.read_request()
        if leads:
            peer.head(first)
        second = peer.read_request()
        if not leads:
            peer.head(second)
        peer.wait(goes_on)
        peer.answer(second if leads else first, b"whole")

    def read(answer: httpx.Response) -> str:
        with pytest.raises(httpx.ReadError) as caught:
            answer.read()
        return str(caught.value)

    with (
        ScriptedHttp2(story) as server,
        PoolManager(config_for(server)) as manager,
        manager.client(base_url=server.url, timeout=None) as client,
        ThreadPoolExecutor(2) as threads,
    ):
        if not leads:
            neighbour = threads.submit(client.get, "/")
            has_seen(server, 1)
        answer = client.send(client.build_request("GET", "/closed"), stream=True)
        carrier = only_carrier(manager)
        assert isinstance(carrier, Http2Carrier)
        readers = carrier.readers
        reader = threads.submit(read, answer)
        holds(lambda: readers.leader is not None and len(readers._sleepers) == (not leads))  # noqa: SLF001
        if leads:
            neighbour = threads.submit(client.get, "/")
            holds(lambda: len(readers._sleepers) == 1)  # noqa: SLF001 - as above
        thread = readers.leader_thread
        answer.close()
        assert readers.leader_thread == thread
        if not leads:
            assert reader.result(PATIENCE) == "the answer was closed"
        goes_on.open()
        assert neighbour.result(PATIENCE).content == b"whole"
        assert reader.result(PATIENCE) == "the answer was closed"
        assert server.connections == 1


def holds(condition: Callable[[], bool]) -> None:
    """Return when it does."""
    while not condition():
        threading.Event().wait(0.005)


def test_a_write_on_an_upgraded_connection_waits_for_another_no_longer_than_it_may() -> None:
    """A timeout holds while another thread writes, too."""
    over = Gate()

    def story(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
        peer.wait(over)

    headers = {"upgrade": "echo", "connection": "upgrade"}
    with (
        ScriptedHttp1(story) as server,
        PoolManager(config_for(server)) as manager,
        manager.client(base_url=server.url, timeout=PATIENCE) as client,
        ThreadPoolExecutor(1) as threads,
        client.stream("GET", "/", headers=headers) as answer,
    ):
        stream = answer.extensions["network_stream"]
        long = threads.submit(stream.write, bytes(50_000_000))
        holds(stream._writing.locked)  # noqa: SLF001 - it writes
        with pytest.raises(httpx.WriteTimeout):
            stream.write(b"short", timeout=0.05)
        stream.close()
        assert isinstance(long.exception(PATIENCE), httpx.WriteError)
        over.open()
