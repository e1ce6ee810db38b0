"""An SDK's `copy()` and `with_options()` keep the pool, as they keep all else, unless told otherwise."""

from __future__ import annotations

import gc
import warnings
from typing import cast

import pytest

from pool_manager import PoolManager
from tests.support.counting_server import CountingServer
from tests.support.sdks import FLAVOURS, Flavour, Run, Sdk, called, echo, headers_of, inner, leases_out
from tests.support.server import Server

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)


@every_flavour
@pytest.mark.parametrize("how", ["copy", "with_options"])
def test_a_copy_keeps_the_pool(
    flavour: Flavour, how: str, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A copy uses the connection of its original, and both closed give everything back."""
    sdk = flavour.pooled(manager, counting_server.url)
    copy = cast("Sdk", getattr(sdk, how)(max_retries=1))
    for one in (sdk, copy, sdk, copy):
        run(echo(one))
    for one in (copy, sdk, copy):
        run(one.close())
    assert counting_server.connections == 1
    assert (leases_out(manager), manager.stats().pools) == (0, ())


@every_flavour
def test_a_copy_keeps_options(flavour: Flavour, manager: PoolManager, plain_server: Server, run: Run) -> None:
    """A copy differs from its original in what was asked for and in nothing else."""
    sdk = flavour.pooled(
        manager, plain_server.url, timeout=7.0, max_retries=3, default_headers={"x-mine": "yes"}
    )
    copy = sdk.copy(max_retries=9)
    headers = [headers_of(run(one.get("/redirect/1", cast_to=object))) for one in (sdk, copy)]
    clients = inner(sdk), inner(copy)
    for one in (copy, sdk):
        run(one.close())
    assert headers[0] == headers[1]
    assert headers[1]["x-mine"] == "yes"
    assert (copy.timeout, copy.max_retries, sdk.max_retries) == (7.0, 9, 3)
    assert all(isinstance(one, flavour.default_client) and one.follow_redirects for one in clients)
    assert plain_server.seen().connections == 1


@every_flavour
def test_a_copy_can_leave_the_pool(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A copy that is given a private client uses that, and leaves its original on the pool."""
    sdk = flavour.pooled(manager, counting_server.url)
    copy = sdk.copy(http_client=manager.client(flavour.default_client, shared=False))
    for one in (sdk, copy, sdk, copy):
        run(echo(one))
    run(copy.close())
    run(echo(sdk))
    run(sdk.close())
    assert counting_server.per_connection() == {1: 3, 2: 2}
    assert leases_out(manager) == 0


@pytest.mark.parametrize("name", ["Runloop", "AsyncRunloop"])
def test_runloops_own_switch_works_in_copies(
    name: str, manager: PoolManager, h2_server: Server, run: Run
) -> None:
    """Runloop's `copy(shared_http_pool=False)` is private, with the pool's TLS; with True it shares again."""
    sdk = called(name).pooled(manager, h2_server.url, max_retries=0)
    private = sdk.copy(shared_http_pool=False)
    shared = private.copy(shared_http_pool=True)
    three = (sdk, private, shared)
    try:
        for one in three * 2:
            run(echo(one))
    finally:
        for one in three:
            run(one.close())
    assert sorted(h2_server.seen().per_client.values()) == [2, 4]
    assert (leases_out(manager), manager.stats().pools) == (0, ())


@every_flavour
def test_closing_a_copy_does_what_it_does_unpooled(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Whether a copy's close closes its original, too (Runloop: no, the others: yes) is the SDK's to say."""
    outcomes = []
    for sdk in (
        flavour.plain(counting_server.url),
        flavour.pooled(manager, counting_server.url),
    ):
        copy = sdk.copy()
        run(copy.close())
        outcomes.append((copy.is_closed(), sdk.is_closed()))
        run(sdk.close())
    assert outcomes[1] == outcomes[0]
    assert leases_out(manager) == 0


@every_flavour
def test_an_inline_copy_is_silent(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A copy made for one call and dropped, as SDKs document it, leaves nothing and warns of nothing."""
    sdk = flavour.pooled(manager, counting_server.url)
    run(echo(sdk))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            run(echo(sdk.with_options(max_retries=1)))
            gc.collect()
    assert (told, leases_out(manager)) == ([], 1)
    run(sdk.close())
    assert (counting_server.connections, leases_out(manager)) == (1, 0)
