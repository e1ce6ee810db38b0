"""Many threads at once, over both versions of HTTP: answers go to who asked, and nothing stays taken."""

from __future__ import annotations

import concurrent.futures
import gc
import hashlib
import random
import threading
from typing import Any

import httpx
import httpx2
import pytest

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.inside import assert_quiet
from tests.support.payload import PAYLOAD

REQUESTS = 1_200  # of all threads together


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("count", [32, 200])
def test_bodies_arrive_whole(
    library: Any,
    count: int,
    certificates: Certificates,
    h1_server: HypercornServer,
    h2_server: HypercornServer,
) -> None:
    """Uploads and downloads of all sizes, some given up half-way, of many threads on ten connections."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    with (
        PoolManager(config, limits=Limits(max_connections=10)) as manager,
        manager.client(library.Client, timeout=60) as client,
        concurrent.futures.ThreadPoolExecutor(count) as threads,
    ):

        def work(number: int) -> bool:
            chance = random.Random(number)
            server = (h1_server, h2_server)[number % 2]
            size = int(10 ** chance.uniform(0, 5.5))
            match chance.randrange(5):
                case 0:
                    body = chance.randbytes(size)
                    answer = client.post(f"{server.url}/echo", content=body).json()
                    return bool(answer["body_sha256"] == hashlib.sha256(body).hexdigest())
                case 1:
                    with client.stream("GET", f"{server.url}/bytes/{size}") as answer:
                        return next(answer.iter_raw(), b"") is not None  # and close it
                case 2:
                    asked = f"{number}-{'y' * (size % 5000)}"
                    return bool(client.get(f"{server.url}/echo?{asked}").json()["query"] == asked)
                case 3 if number % 8 < 2:  # it is long
                    return client.get(f"{server.url}/payload").content == PAYLOAD
                case _:
                    return len(client.get(f"{server.url}/bytes/{size}").content) == size

        assert all(threads.map(work, range(REQUESTS)))
        assert_quiet(manager)


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_no_patience_at_all(version: str, certificates: Certificates, request: pytest.FixtureRequest) -> None:
    """Ten threads, a hundred requests each with a microsecond for everything, on a pool of one connection."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(verify=certificates.client_context(), http2=version == "h2", trust_env=False)
    limits = Limits(max_connections=1, max_connections_per_origin=1)
    with (
        PoolManager(config, limits=limits) as manager,
        manager.client(base_url=server.url, timeout=10) as client,
        concurrent.futures.ThreadPoolExecutor(10) as threads,
    ):
        client.get("/")

        def hammer(number: int) -> set[str]:
            chance = random.Random(number)
            seen = set[str]()
            for _ in range(100):
                parts = chance.sample(["connect", "read", "write", "pool"], k=chance.randint(1, 4))
                timeout = httpx.Timeout(10, **dict.fromkeys(parts, 1e-6))
                try:
                    seen.add(str(client.get("/", timeout=timeout).status_code))
                except httpx.TimeoutException as error:
                    seen.add(type(error).__name__)
            return seen

        seen = set[str]().union(*threads.map(hammer, range(10)))
        assert seen <= {"200", "PoolTimeout", "ConnectTimeout", "ReadTimeout", "WriteTimeout"}
        assert_quiet(manager)
        assert client.get("/").status_code == 200
        assert_quiet(manager)


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_threads_that_die_holding_an_answer(
    version: str, certificates: Certificates, request: pytest.FixtureRequest
) -> None:
    """What threads leave open when they die is found when it is collected, and the next request is served."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(verify=certificates.client_context(), http2=version == "h2", trust_env=False)
    held: list[Any] = []
    with (
        PoolManager(config, limits=Limits(max_connections=2)) as manager,
        manager.client(base_url=server.url, timeout=5) as client,
    ):

        def die() -> None:
            held.append(client.send(client.build_request("GET", "/payload"), stream=True))

        for _ in range(2):
            thread = threading.Thread(target=die)
            thread.start()
            thread.join()
        assert manager.stats().pools[0].in_flight == 2
        with pytest.warns(ResourceWarning, match="unclosed response"):
            held.clear()
            gc.collect()
        assert client.get("/").status_code == 200
        assert_quiet(manager)
