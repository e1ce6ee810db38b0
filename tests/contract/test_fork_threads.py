"""Promise 5, where it is hardest: a fork while threads hold locks, read and dial; workers of every kind."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
import threading
import warnings
from typing import Any

import httpx
import pytest

from pool_manager import PoolConfig, PoolManager
from pool_manager.runtimes.forks import COMPUTING
from pool_manager.runtimes.on_threads.wires import TlsWire
from tests.contract.test_fork import in_child
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer

FORKS = 8


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_case_j_a_fork_under_load(
    version: str, certificates: Certificates, request: pytest.FixtureRequest
) -> None:
    """Children of a parent whose threads are at work are served at once, and the parent notices nothing."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(verify=certificates.client_context(), http2=version == "h2", trust_env=False)
    with (
        PoolManager(config) as manager,
        manager.client(base_url=server.url, timeout=20) as client,
        concurrent.futures.ThreadPoolExecutor(8) as threads,
    ):
        done = threading.Event()

        def load() -> set[int]:
            seen = set[int]()
            while not done.is_set():
                seen.add(client.get("/bytes/1000").status_code)
            return seen

        def work() -> bool:
            with concurrent.futures.ThreadPoolExecutor(2) as own:
                lengths = own.map(lambda size: len(client.get(f"/bytes/{size}").content), range(10))
                return list(lengths) == list(range(10))

        try:
            loads = [threads.submit(load) for _ in range(8)]
            assert [True] * FORKS == [in_child(work) for _ in range(FORKS)]
        finally:
            done.set()
        assert [{200}] * 8 == [each.result() for each in loads]


def test_a_fork_waits_for_a_handshake_to_come_to_the_end_of_its_step() -> None:
    """No child is born while a thread computes within OpenSSL: it would inherit locks for ever."""
    inside, may_leave = threading.Event(), threading.Event()
    ended: list[bool] = []

    def compute() -> None:
        with COMPUTING:
            inside.set()
            assert may_leave.wait(20)
            ended.append(True)

    thread = threading.Thread(target=compute)
    thread.start()
    assert inside.wait(20)
    later = threading.Timer(0.05, may_leave.set)  # when the fork has begun: too early is harmless
    later.start()
    assert in_child(lambda: ended == [True])
    thread.join()
    later.join()


def test_an_answer_that_is_read_across_a_fork(h2_server: HypercornServer, certificates: Certificates) -> None:
    """An answer that was open at the fork is closed in the child unheard, and read on in the parent."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with PoolManager(config) as manager, manager.client(base_url=h2_server.url) as client:
        with client.stream("GET", "/payload") as answer:
            parts = answer.iter_raw()
            first = next(parts)

            def work() -> bool:
                answer.close()
                return client.get("/").status_code == 200

            assert in_child(work)
            rest = b"".join(parts)
        assert len(first + rest) == int(answer.headers["content-length"])
        assert h2_server.seen().connections == 2


def test_an_answer_that_a_thread_of_the_parent_decrypts(
    h1_server: HypercornServer, certificates: Certificates
) -> None:
    """A child that closes such an answer waits for no lock: who holds it was not born with it."""
    config = PoolConfig(verify=certificates.client_context(), http2=False, trust_env=False)
    with (
        PoolManager(config) as manager,
        manager.client(base_url=h1_server.url) as client,
        client.stream("GET", "/payload") as answer,
    ):
        wire = answer.extensions["network_stream"]
        assert isinstance(wire, TlsWire)

        def work() -> bool:
            signal.alarm(20)
            answer.close()
            return client.get("/").status_code == 200

        with wire._state:  # noqa: SLF001 - as a thread has it that decrypts
            assert in_child(work)
        assert len(answer.read()) == int(answer.headers["content-length"])


CLIENT: httpx.Client | None = None  # as applications have it: made when a module is imported


def _ask(url: str) -> int:
    assert CLIENT is not None
    return CLIENT.get(url).status_code


def test_workers_of_multiprocessing(h1_server: HypercornServer, certificates: Certificates) -> None:
    """A pool of forked workers inherits the client of a module: each makes connections of its own."""
    global CLIENT  # noqa: PLW0603 - what an application does
    config = PoolConfig(verify=certificates.client_context(), http2=False, trust_env=False)
    with PoolManager(config) as manager, manager.client(timeout=20) as CLIENT:
        assert _ask(h1_server.url) == 200
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
            workers: Any = multiprocessing.get_context("fork").Pool(3)
        with workers:
            assert [200] * 30 == workers.map(_ask, [h1_server.url] * 30, chunksize=1)
            workers.close()
            workers.join()
        assert _ask(h1_server.url) == 200
    CLIENT = None
    assert 2 <= h1_server.seen().connections <= 4
