"""
What a request of a thread costs must not grow with the threads that wait, nor with idle connections.

Steps are counted, not timed, as in `tests.unit.test_scheduler_cost`: of the thread that asks. What falls due
meanwhile is done by whoever comes by, so that the fewest of some requests count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer
from tests.support.hypercorn_server import HypercornServer
from tests.unit.test_scheduler_cost import steps

SIZES = (1, 30, 90)
MANY = 400
TIMES = 8
# More than is read at once, and little enough for its connection to live on if nobody reads it.
LONG = Answer(body=bytes(150_000))


def same(measure: Callable[[int], int]) -> None:
    """Expect the same for each size, but for what one alone may save."""
    few, some, many = map(measure, SIZES)
    assert few > 100, "nothing was counted"
    assert some <= few * 1.1
    assert many <= some + 5


def fewest(call: Callable[[], object]) -> int:
    """Give the steps of the cheapest of some calls."""
    call()
    return min(steps(call) for _ in range(TIMES))


def wait_for(manager: PoolManager, in_flight: int, waiting: int) -> None:
    """Return when so many requests are out, and so many of them wait for a connection."""
    while True:
        (pool,) = manager.stats().pools
        if (pool.in_flight, pool.waiting) == (in_flight, waiting):
            return
        threading.Event().wait(0.005)


def test_beside_idle_connections(counting_server: CountingServer) -> None:
    """One of them is taken and given back."""

    def measure(size: int) -> int:
        with (
            PoolManager(PoolConfig(trust_env=False)) as manager,
            manager.client(timeout=30) as client,
            ThreadPoolExecutor(size) as threads,
        ):
            counting_server.hold()
            found = [threads.submit(client.get, counting_server.url) for _ in range(size)]
            wait_for(manager, size, 0)
            counting_server.release()
            assert {200} == {each.result().status_code for each in found}
            assert manager.stats().pools[0].connections == size
            return fewest(lambda: client.get(counting_server.url))

    same(measure)


@pytest.mark.parametrize("how", ["beside", "served"])
def test_beside_threads_that_wait_for_a_connection(how: str, counting_server: CountingServer) -> None:
    """A request to another origin comes and goes; or an answer is closed, and one who waits is served."""
    counting_server.respond = lambda request: LONG if request.path == "/long" else Answer()
    limits = Limits(max_connections_per_origin=1)
    with CountingServer() as other:

        def measure(size: int) -> int:
            with (
                PoolManager(PoolConfig(trust_env=False), limits=limits) as manager,
                manager.client(timeout=30) as client,
                ThreadPoolExecutor(size + 1) as threads,
            ):
                request = client.build_request("GET", f"{counting_server.url}/long")
                holder = client.send(request, stream=True)
                waiting = [threads.submit(client.get, counting_server.url) for _ in range(size + 1)]
                wait_for(manager, size + 2, size + 1)
                beside = fewest(lambda: client.get(other.url))
                served = steps(holder.close)
                assert {200} == {each.result().status_code for each in waiting}
                return beside if how == "beside" else served

        same(measure)


def test_beside_threads_that_wait_for_answers(certificates: Certificates) -> None:
    """One more shares their HTTP/2 connection, and reads for all or sleeps as it happens: the most counts."""
    config = PoolConfig(verify=certificates.client_context(), trust_env=False)
    limits = Limits(max_streams_per_connection=1000)

    def measure(server: HypercornServer, size: int) -> int:
        with (
            PoolManager(config, limits=limits) as manager,
            manager.client(base_url=server.url, timeout=30) as client,
            ThreadPoolExecutor(size) as threads,
        ):
            client.get("/")
            found = [threads.submit(client.get, f"/waiting/cost-{size}") for _ in range(size)]
            wait_for(manager, size, 0)
            counted = max(steps(lambda: client.get("/")) for _ in range(TIMES))
            client.get(f"/open/cost-{size}")
            assert {200} == {each.result().status_code for each in found}
            assert manager.stats().pools[0].opened == 1
            return counted

    with HypercornServer(certificates, max_streams=1000) as server:
        few, many = measure(server, 1), measure(server, MANY)
    assert few > 100, "nothing was counted"
    assert many < few + MANY  # what it happens to do makes less of a difference
