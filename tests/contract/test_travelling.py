"""What is sent to another process as a pickle has pools of its own there, equal to those it had here."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
import pickle
from typing import Any

import attrs
import httpx
import httpx2
import pytest

import pool_manager
from pool_manager import Lane, Limits, PoolConfig, PoolManager, Retries
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer
from tests.support.hypercorn_server import HypercornServer

PATIENCE = 60.0  # seconds: a process that begins anew imports all


@attrs.frozen
class Service:
    """What an application sends to its workers: whatever it is made of."""

    manager: PoolManager
    transport: Any
    other: Any


@attrs.frozen
class Told:
    """What a worker tells of itself."""

    reused: list[bool]
    lanes: list[str]
    configs: list[PoolConfig]
    limits: Limits
    leases_taken: int
    pools_left: int
    of_default: tuple[int, int]


def work(service: Service, default: Any, url: str) -> Told:
    """Ask by all that came along; runs in a worker."""
    manager, records = service.manager, []
    with (
        httpx.Client(transport=service.transport) as one,
        httpx2.Client(transport=service.other) as two,
        manager.client(lane="uploads") as three,
    ):
        records += [client.get(url).extensions["pool_manager"] for client in (one, two, three, one)]
        pools = manager.stats().pools
    with httpx.Client(transport=default, base_url=url) as client:
        client.get("/")
        (pool,) = pool_manager.stats().pools
    return Told(
        reused=[record.reused for record in records],
        lanes=[record.lane for record in records],
        configs=[pool.config for pool in pools],
        limits=manager._maker.limits,  # noqa: SLF001 - there is no public word
        leases_taken=manager.stats().leases_taken,
        pools_left=len(manager.stats().pools),
        of_default=(pool.requests, pool.leases),
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_worker_has_equal_pools_of_its_own(method: str, plain_server: HypercornServer) -> None:
    """Managers and transports of both libraries work there, and share there; here all is as before."""
    config, limits = PoolConfig(http2=False, trust_env=False), Limits(max_connections=7)
    with (
        PoolManager(config, limits=limits, lanes=[Lane("uploads")], name="billing") as manager,
        httpx.Client(transport=manager.transport(lane="uploads")) as client,
        manager.transport(httpx2, lane="uploads") as other,
        pool_manager.transport(config=config) as default,
        concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(method)) as workers,
    ):
        client.get(plain_server.url)
        service = Service(manager, client._transport, other)  # noqa: SLF001 - there is no public word
        told = workers.submit(work, service, default, plain_server.url).result(PATIENCE)
        assert client.get(plain_server.url).extensions["pool_manager"].reused
        assert (manager.stats().pools[0].leases, manager.stats().leases_taken) == (2, 2)
    assert told == Told(
        reused=[False, True, True, True],
        lanes=["uploads"] * 4,
        configs=[config],
        limits=limits,
        leases_taken=3,
        pools_left=0,
        of_default=(1, 1),
    )
    assert plain_server.seen().connections == 3  # ours, and two of the worker


def test_a_transport_keeps_what_it_was_made_with(counting_server: CountingServer) -> None:
    """Its name, lane, proxies and retries travel; its lease does not, and is taken where it is used."""
    config = PoolConfig(trust_env=False)
    retries = Retries(attempts=2, initial=0, statuses={503})
    with (
        PoolManager(config, lanes=[Lane("slow")]) as manager,
        manager.client(name="biller", lane="slow", retries=retries, mounts={"all://other": None}) as client,
    ):
        copy = pickle.loads(pickle.dumps(client._transport))  # noqa: S301, SLF001 - ours; there is no public word
        assert manager.stats().leases_taken == 1
        counting_server.respond = lambda _: Answer(status=503)
        with httpx.Client(transport=copy) as other:
            record = other.get(counting_server.url).extensions["pool_manager"]
            assert (record.lease, record.lane, record.retries) == ("biller", "slow", 1)
        assert manager.stats().leases_taken == 1  # the copy is of another manager


def test_a_private_pool_stays_private(counting_server: CountingServer) -> None:
    """Two transports with pools of their own have pools of their own there, too."""
    with (
        PoolManager() as manager,
        manager.transport(shared=False) as one,
        manager.transport(shared=False) as two,
        manager.transport() as three,
    ):
        copies = pickle.loads(pickle.dumps([one, two, three, three]))  # noqa: S301 - ours
    assert copies[2] is copies[3]
    for copy in copies:
        httpx.Client(transport=copy).get(counting_server.url)
    assert counting_server.connections == 3
    for copy in copies:
        copy.close()


def test_a_copy_that_nobody_uses_is_nobodys_loss() -> None:
    """Who unpickles and drops a transport has taken nothing, and is not warned."""
    with PoolManager() as manager, manager.transport() as transport:
        pickle.loads(pickle.dumps(transport))  # noqa: S301 - ours
        gc.collect()


def test_what_cannot_travel_says_so(certificates: Certificates) -> None:
    """A lease is counted where it was taken; a TLS context cannot be written down."""
    with (
        PoolManager() as manager,
        manager.lease(name="billing") as lease,
        pytest.raises(TypeError, match=r"lease 'billing', taken at .*: take one in the other process"),
    ):
        pickle.dumps(lease)
    with pytest.raises(TypeError, match="SSLContext"):
        pickle.dumps(PoolConfig(verify=certificates.client_context()))
