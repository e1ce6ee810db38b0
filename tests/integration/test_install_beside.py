"""`install` beside others that change the libraries: it works, and leaves them what is theirs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from pool_manager import PoolManager
from tests.support.counting_server import CountingServer

HOOKED: Final = ("_init_transport", "_init_proxy_transport")


@pytest.fixture(autouse=True)
def nothing_is_left_installed() -> Iterator[None]:
    """Fail a test that leaves a hook in the library."""
    own = httpx.Client
    before = [vars(own)[name] for name in HOOKED]
    yield
    assert [vars(own)[name] for name in HOOKED] == before


def is_pooled(client: httpx.Client) -> bool:
    """Tell whether a client is on a pool."""
    return hasattr(vars(client)["_transport"], "retrier")


def test_a_class_in_the_place_of_a_librarys(manager: PoolManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a tool has put a subclass in the place of the library's class, its clients are pooled."""
    monkeypatch.setattr(httpx, "Client", type("Traced", (httpx.Client,), {}))
    with manager.install(), httpx.Client() as client:
        assert is_pooled(client)
    assert not {*HOOKED} & vars(httpx.Client).keys()
    with httpx.Client() as plain:
        assert not is_pooled(plain)


def test_who_has_wrapped_a_hook_keeps_it(manager: PoolManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that has wrapped what we put there is not taken away with it, and pools nothing more."""
    seen: list[object] = []
    handle = manager.install()
    hook = vars(httpx.Client)["_init_transport"]

    def wrapper(client: object, **said: object) -> object:
        seen.append(client)
        return hook(client, **said)

    monkeypatch.setattr(httpx.Client, "_init_transport", wrapper)
    with httpx.Client() as client:
        assert is_pooled(client)
    handle.uninstall()
    with httpx.Client() as plain:
        assert not is_pooled(plain)
    with manager.install(), httpx.Client() as again:
        assert is_pooled(again)
    assert seen == [client, plain]
    monkeypatch.undo()
    httpx.Client._init_transport = hook.__wrapped__  # type: ignore[method-assign]  # noqa: SLF001


ALIASED = """
import httpx2
httpx2.alias_httpx()
import httpx
import pool_manager
from groq import Groq

assert httpx is httpx2
with pool_manager.install(), httpx.Client() as client, pool_manager.client() as other:
    for one in (client, other):
        assert "pool_manager" in one.get(URL).extensions
        assert isinstance(one, httpx2.Client)
    assert "pool_manager" in httpx.get(URL).extensions
groq = pool_manager.pooled(Groq, api_key="key", base_url=URL)
assert groq.get("/", cast_to=object) == {"ok": True}
groq.close()
assert pool_manager.stats().pools == ()
"""


def test_aliased(counting_server: CountingServer) -> None:
    """In a process where `httpx2.alias_httpx()` comes first, all that is httpx's is httpx2's, and pooled."""
    code = f"URL = {counting_server.url!r}\n{ALIASED}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
