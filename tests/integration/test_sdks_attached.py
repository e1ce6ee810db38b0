"""`attach` and `detach` with real SDKs, made and used before anybody thought of a pool (trap 18)."""

from __future__ import annotations

import pytest

from pool_manager import PoolManager
from tests.support.counting_server import CountingServer
from tests.support.sdks import FLAVOURS, Flavour, Run, echo, headers_of, inner, leases_out
from tests.support.server import Server

# Runloop's default is not one client but 26, over transports that all its instances share: use `pooled`.
SDKS = [flavour for flavour in FLAVOURS if "Runloop" not in flavour.name]

every_flavour = pytest.mark.parametrize("flavour", SDKS, ids=str)


@every_flavour
def test_an_sdk_is_attached(flavour: Flavour, manager: PoolManager, h2_server: Server, run: Run) -> None:
    """SDKs made in the ordinary way share the pool, its TLS and HTTP/2 once their clients are attached."""
    sdks = [flavour.plain(h2_server.url, f"key-{number}") for number in range(2)]
    settings = [(sdk.timeout, inner(sdk).timeout, inner(sdk).follow_redirects) for sdk in sdks]
    for sdk in sdks:
        assert manager.attach(inner(sdk)) is inner(sdk)
    keys = [headers_of(run(echo(sdk)))["authorization"] for sdk in sdks]
    assert (keys, leases_out(manager)) == (["Bearer key-0", "Bearer key-1"], 2)
    assert [(sdk.timeout, inner(sdk).timeout, inner(sdk).follow_redirects) for sdk in sdks] == settings
    for sdk in sdks:
        run(sdk.close())
    assert (leases_out(manager), manager.stats().pools) == (0, ())
    seen = h2_server.seen()
    assert (seen.connections, [request.http_version for request in seen.requests]) == (1, ["2", "2"])


@every_flavour
def test_detach_undoes(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A detached SDK is as it was: on its own transport, and no lease is out."""
    sdk = flavour.plain(counting_server.url)
    before = dict(vars(inner(sdk)))
    manager.attach(inner(sdk))
    run(echo(sdk))
    assert manager.detach(inner(sdk)) is inner(sdk)
    after = vars(inner(sdk))
    assert {name for name in before if after[name] is not before[name]} <= {"_state"}
    assert (leases_out(manager), manager.stats().pools) == (0, ())
    run(echo(sdk))
    run(sdk.close())
    assert (counting_server.connections, manager.stats().leases_taken) == (2, 1)


@every_flavour
def test_a_used_sdk_is_attached(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """An SDK with connections of its own is attached: those are closed at the latest when it is."""
    sdk = flavour.plain(counting_server.url)
    run(echo(sdk))
    manager.attach(inner(sdk))
    run(echo(sdk))
    run(sdk.close())
    run(run.turn())
    assert counting_server.per_connection() == {1: 1, 2: 1}
    assert counting_server.open_connections() == 0
    assert leases_out(manager) == 0
