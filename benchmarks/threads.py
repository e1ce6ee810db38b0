"""Small answers, many threads at once: who takes part, and how it is driven."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, TypeAlias

import httpx

from benchmarks.contenders import HEADERS, manager_for, usual
from benchmarks.driving import Effort, Window, described
from benchmarks.own_apis import VERSIONS, told
from benchmarks.peers import Contender
from benchmarks.pinning import stalled
from benchmarks.servers import BODY
from benchmarks.terms import OK, TIMEOUT, Terms, check_small

MOST = 100  # threads: who has to be told how many connections to keep is told this
POLL = 0.01  # seconds between two looks at how many there are
LEAVE = 5.0  # seconds for what is in flight when the window ends

HTTP1 = ("httpx", "httpx2", "urllib3", "requests", "niquests", "pyreqwest", "pool+httpx", "pool+httpx2")
HTTP2 = ("httpx", "httpx2", "niquests", "pyreqwest", "pool+httpx", "pool+httpx2")

Get: TypeAlias = Callable[[str], str]  # reads the whole answer; gives what was spoken
Opened: TypeAlias = AbstractContextManager[Get]


def _of_httpx(client: Any) -> Get:
    def get(url: str) -> str:
        response = client.get(url)
        check_small(response.status_code, response.content)
        return str(response.http_version)

    return get


@contextmanager
def _usual(library: Any, terms: Terms) -> Iterator[Get]:
    with library.Client(**usual(library, terms)) as client:
        yield _of_httpx(client)


@contextmanager
def _pooled(library: Any, terms: Terms) -> Iterator[Get]:
    with manager_for(terms).client(library.Client, timeout=TIMEOUT) as client:
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
    with urllib3.PoolManager(timeout=TIMEOUT, **_kept(terms, "maxsize", "block"), **options) as manager:

        def get(url: str) -> str:
            response: Any = manager.request("GET", url)
            check_small(response.status, response.data)
            return VERSIONS[response.version]

        yield get


def _kept(terms: Terms, size: str, block: str) -> dict[str, Any]:
    """Say how many connections are kept and, where a number is asked for, that there are no more."""
    return {size: terms.connections or MOST, block: terms.connections is not None}


@contextmanager
def _of_requests(session: Any) -> Iterator[Get]:
    """Whom to trust is in the environment: see `measure`."""
    with closing(session):

        def get(url: str) -> str:
            response = session.get(url, timeout=TIMEOUT)
            check_small(response.status_code, response.content)
            return VERSIONS[response.raw.version]

        yield get


def _requests(terms: Terms) -> Opened:
    import requests  # type: ignore[import-untyped]  # noqa: PLC0415 - a peer that may not be there

    session = requests.Session()
    for scheme in ("http://", "https://"):
        adapter = requests.adapters.HTTPAdapter(**_kept(terms, "pool_maxsize", "pool_block"))
        session.mount(scheme, adapter)
    return _of_requests(session)


def _niquests(terms: Terms) -> Opened:
    import niquests  # type: ignore[import-not-found]  # noqa: PLC0415 - a peer that may not be there

    session = niquests.Session(
        pool_maxsize=terms.connections or MOST, disable_http3=True, disable_http2=not terms.http2
    )
    return _of_requests(session)


@contextmanager
def _pyreqwest(terms: Terms) -> Iterator[Get]:
    from pyreqwest.client import (  # type: ignore[import-not-found]  # noqa: PLC0415 - a peer that may not be there
        SyncClientBuilder,
    )

    with told(SyncClientBuilder(), terms).build() as client:

        def get(url: str) -> str:
            response = client.get(url).build().send()
            check_small(response.status, response.bytes())
            return VERSIONS.get(response.version, str(response.version))

        yield get


CONTENDERS: dict[str, Contender[Opened]] = {
    "httpx": Contender(lambda terms: _usual(httpx, terms)),
    "httpx2": Contender(lambda terms: _usual(_httpx2(), terms), ("httpx2",)),
    "urllib3": Contender(_urllib3, ("urllib3",)),
    "requests": Contender(_requests, ("requests",)),
    "niquests": Contender(_niquests, ("niquests",)),
    "pyreqwest": Contender(_pyreqwest, ("pyreqwest",)),
    "pool+httpx": Contender(lambda terms: _pooled(httpx, terms)),
    "pool+httpx2": Contender(lambda terms: _pooled(_httpx2(), terms), ("httpx2",)),
    "floor+httpx": Contender(lambda terms: _floor(httpx, terms)),
    "floor+httpx2": Contender(lambda terms: _floor(_httpx2(), terms), ("httpx2",)),
}


def drive(get: Get, url: str, count: int, effort: Effort) -> Window:
    """Keep *count* threads asking, each again as soon as it has its answer; count between two moments."""
    going = True
    answers, causes = [0] * count, Counter[str]()
    all_there = threading.Event()

    def work(number: int) -> None:
        all_there.wait()  # a thread that is started beside busy ones waits for its turn, and we for it
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
    all_there.set()
    time.sleep(effort.warm)
    before, begun, cpu, off_core = sum(answers), time.perf_counter(), time.process_time(), stalled()
    until, most = begun + effort.seconds, before + (effort.answers or math.inf)
    while time.perf_counter() < until and sum(answers) < most:
        time.sleep(POLL)
    done, ended, spent, kept_off = sum(answers), time.perf_counter(), time.process_time(), stalled()
    going = False
    for thread in threads:
        thread.join(max(0, ended + LEAVE - time.perf_counter()))
    return Window(
        seconds=ended - begun,
        ended=ended,
        cpu=spent - cpu,
        stalled=kept_off - off_core,
        answers=done - before,
        causes=causes,
        waits=(),
    )
