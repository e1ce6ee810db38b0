"""
Small answers, many threads at once: who takes part, and how it is driven.

Peers that would get into each other's way are imported from folders of their own: where niquests is
installed, `import urllib3` is urllib3-future. ``BENCHMARK_PEERS`` names a folder with `urllib3` (which has
requests in it) and `niquests`, each made by ``pip install --target``.
"""

from __future__ import annotations

import importlib.util
import math
import os
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import httpx

from benchmarks.contenders import HEADERS, OK, TIMEOUT, Terms, UnexpectedError
from benchmarks.driving import Effort, Window, described
from benchmarks.pinning import stalled
from benchmarks.servers import BODY
from pool_manager import PoolConfig, PoolManager

PEERS = Path(os.environ.get("BENCHMARK_PEERS", "/nowhere"))
MOST = 100  # threads: who has to be told how many connections to keep is told this
POLL = 0.01  # seconds between two looks at how many there are
LEAVE = 5.0  # seconds for what is in flight when the window ends

Get: TypeAlias = Callable[[str], str]  # reads the whole answer; gives what was spoken


@attrs.frozen
class Contender:
    """
    One of those who are measured, in threads.

    Attributes:
        make: Makes a client that all threads share.

        module: What must be there.

        folder: Where it may be besides.
    """

    make: Callable[[Terms], AbstractContextManager[Get]]
    module: str = "httpx"
    folder: str = ""

    @property
    def available(self) -> bool:
        """Whether what it needs is installed."""
        return self._is_apart or (not self.folder and importlib.util.find_spec(self.module) is not None)

    @property
    def _is_apart(self) -> bool:
        return bool(self.folder) and (PEERS / self.folder / self.module).is_dir()

    def open(self, terms: Terms) -> AbstractContextManager[Get]:
        """Make its client, in a process that makes no other."""
        if self._is_apart:
            sys.path.insert(0, str(PEERS / self.folder))
        return self.make(terms)


def _of_httpx(client: Any) -> Get:
    def get(url: str) -> str:
        response = client.get(url)
        _check(response.status_code, response.content)
        return str(response.http_version)

    return get


def _check(status: int, body: bytes) -> None:
    if status != OK or len(body) != len(BODY):
        raise UnexpectedError(f"HTTP {status}, {len(body)} bytes")


@contextmanager
def _usual(library: Any, terms: Terms) -> Iterator[Get]:
    options: dict[str, object] = {} if terms.tls is None else {"verify": terms.tls}
    with library.Client(http2=terms.http2, timeout=TIMEOUT, **options) as client:
        yield _of_httpx(client)


@contextmanager
def _pooled(library: Any, terms: Terms) -> Iterator[Get]:
    config = PoolConfig(http2=terms.http2, verify=True if terms.tls is None else terms.tls)
    with PoolManager(config) as manager, manager.client(library.Client, timeout=TIMEOUT) as client:
        yield _of_httpx(client)


@contextmanager
def _floor(library: Any, terms: Terms) -> Iterator[Get]:
    version = b"HTTP/2" if terms.http2 else b"HTTP/1.1"

    class Instant(library.BaseTransport):  # type: ignore[misc]  # either library's
        def handle_request(self, request: Any) -> Any:  # noqa: ARG002 - any request will do
            stream, extensions = library.ByteStream(BODY), {"http_version": version}
            return library.Response(OK, headers=HEADERS, stream=stream, extensions=extensions)

    with library.Client(transport=Instant(), timeout=TIMEOUT) as client:
        yield _of_httpx(client)


def _httpx2() -> Any:
    import httpx2  # noqa: PLC0415 - a peer that may not be there

    return httpx2


@contextmanager
def _urllib3(terms: Terms) -> Iterator[Get]:
    import urllib3  # type: ignore[import-not-found]  # noqa: PLC0415 - a peer that may not be there

    options: dict[str, Any] = {} if terms.tls is None else {"ssl_context": terms.tls}
    with urllib3.PoolManager(maxsize=MOST, timeout=TIMEOUT, **options) as manager:

        def get(url: str) -> str:
            response: Any = manager.request("GET", url)
            _check(response.status, response.data)
            return f"HTTP/{response.version / 10}"

        yield get


@contextmanager
def _of_requests(session: Any, tls: ssl.SSLContext | None) -> Iterator[Get]:
    # A context cannot be told to it, and the environment's CAs are the server's: see `measure`.
    del tls
    with closing(session):

        def get(url: str) -> str:
            response = session.get(url, timeout=TIMEOUT)
            _check(response.status_code, response.content)
            version = response.raw.version
            return f"HTTP/{version / 10}" if version != 20 else "HTTP/2"  # noqa: PLR2004 - HTTP/2 as it says it

        yield get


def _requests(terms: Terms) -> AbstractContextManager[Get]:
    import requests  # type: ignore[import-untyped]  # noqa: PLC0415 - a peer that may not be there

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=MOST))
    return _of_requests(session, terms.tls)


def _niquests(terms: Terms) -> AbstractContextManager[Get]:
    import niquests  # type: ignore[import-not-found]  # noqa: PLC0415 - a peer that may not be there

    session = niquests.Session(pool_maxsize=MOST, disable_http3=True, disable_http2=not terms.http2)
    return _of_requests(session, terms.tls)


CONTENDERS = {
    "httpx": Contender(lambda terms: _usual(httpx, terms)),
    "httpx2": Contender(lambda terms: _usual(_httpx2(), terms), "httpx2"),
    "urllib3": Contender(_urllib3, "urllib3", "urllib3"),
    "requests": Contender(_requests, "requests", "urllib3"),
    "niquests": Contender(_niquests, "niquests", "niquests"),
    "pool+httpx": Contender(lambda terms: _pooled(httpx, terms)),
    "pool+httpx2": Contender(lambda terms: _pooled(_httpx2(), terms), "httpx2"),
    "floor+httpx": Contender(lambda terms: _floor(httpx, terms)),
    "floor+httpx2": Contender(lambda terms: _floor(_httpx2(), terms), "httpx2"),
}


def drive(get: Get, url: str, count: int, effort: Effort) -> Window:
    """Keep *count* threads asking, each again as soon as it has its answer; count between two moments."""
    going = True
    answers, causes = [0] * count, Counter[str]()

    def work(number: int) -> None:
        while going:
            try:
                get(url)
            except Exception as error:  # noqa: BLE001 - each library has errors of its own; all are counted and shown
                causes[described(error)] += 1
            else:
                answers[number] += 1

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(effort.warm)
    before, begun, cpu, off_core = sum(answers), time.perf_counter(), time.process_time(), stalled()
    until, most = begun + effort.seconds, before + (effort.answers or math.inf)
    while time.perf_counter() < until and sum(answers) < most:
        time.sleep(POLL)
    done, ended, spent, kept_off = sum(answers), time.perf_counter(), time.process_time(), stalled()
    going = False
    for thread in threads:
        thread.join(LEAVE)
    return Window(
        seconds=ended - begun,
        ended=ended,
        cpu=spent - cpu,
        stalled=kept_off - off_core,
        answers=done - before,
        causes=causes,
        waits=(),
    )
