"""Promise 5 with servers that fork: a module's client is used before its workers are born, and in each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.listener import PATIENCE
from tests.support.programs import dies_with_parent, end
from tests.support.queued import queue_in

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def running(
    module: str, *args: str, upstream: str, certificates: Certificates, ready: str, **environment: str
) -> Iterator[list[str]]:
    """Run a module until the end of the block, once it has said that it is *ready*; give all that it said."""
    settings = {"UPSTREAM": upstream, "UPSTREAM_CA": str(certificates.ca_file), **environment}
    process = subprocess.Popen(
        [*dies_with_parent(), sys.executable, "-m", module, *args],
        cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1", **settings}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said: list[str] = []
    is_ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                said.append(line)
                if ready in line:
                    is_ready.set()
        is_ready.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert is_ready.wait(PATIENCE)
        assert process.poll() is None, "".join(said)
        yield said
    finally:
        process.send_signal(signal.SIGTERM)
        end(process)
        listener.join()


@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_workers_of_gunicorn(
    kind: str, version: str, certificates: Certificates, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With --preload each worker has connections of its own, though the application had one before."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    there = tmp_path / "socket"
    args = ("tests.support.preloaded:application", "--preload", "--workers", "2", "--worker-class", kind)
    more = ("--threads", "4") if kind == "gthread" else ()
    with (
        running(
            "gunicorn", *args, *more, "--bind", f"unix:{there}", "--worker-tmp-dir", str(tmp_path),
            upstream=server.url, certificates=certificates, ready="Booting worker",
        ) as said,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=str(there), limits=httpx.Limits(max_keepalive_connections=0)),
            timeout=PATIENCE,
        ) as client,
        ThreadPoolExecutor(8) as threads,
    ):  # fmt: skip
        answers: list[str] = []
        pids: set[str] = set()
        while len(pids) < 2 and len(answers) < 2000:  # which worker answers is for the kernel to say
            answers += threads.map(lambda _: client.get("http://workers/").text, range(20))
            pids = {answer.split()[0] for answer in answers}
        assert {answer.partition(" ")[2] for answer in answers} == {"200 1000"}, "".join(said)
        assert len(pids) == 2
    seen = server.seen()
    assert len(seen.requests) == 1 + len(answers)
    assert [request.path for request in seen.requests].count("/bytes/1") == 1
    if version == "h2" or kind == "sync":
        assert seen.connections == 3  # the parent's, and one for each worker


def test_workers_of_celery(h1_server: HypercornServer, certificates: Certificates, tmp_path: Path) -> None:
    """Each prefork worker has a connection of its own, though the module of its tasks had one before."""
    options = ("--pool", "prefork", "--concurrency", "2", "--without-gossip", "--without-mingle")
    with running(
        "celery", "-A", "tests.support.queued:QUEUE", "worker", *options, "--loglevel", "INFO",
        upstream=h1_server.url, certificates=certificates, ready=" ready.", QUEUE=str(tmp_path),
    ) as said:  # fmt: skip
        queue = queue_in(tmp_path)
        results = [queue.send_task("ask") for _ in range(12)]
        answers = [result.get(timeout=PATIENCE) for result in results]
        assert {answer.partition(" ")[2] for answer in answers} == {"200 1000"}, "".join(said)
        queue.close()
    pids = {answer.split()[0] for answer in answers}
    seen = h1_server.seen()
    assert (len(seen.requests), seen.connections) == (13, 1 + len(pids))
