"""
A finaliser, or a signal's handler, that strikes within the pool's own code and calls the pool.

The collector runs finalisers, and the interpreter handlers of signals, between two steps of whatever a
thread does just then: also of one that holds a lock of the pool. SDKs close their client in `__del__`, and
programs close their manager when they are told to end. A profiling function is called at these very points.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self, TypeAlias

import pytest

from pool_manager import PoolConfig, PoolError, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer

# What happens there, in which function, called from which function at which line.
Place: TypeAlias = tuple[str, str, str, int]

PATIENCE = 20.0  # seconds for one place; longer means that it hangs


class Strike:
    """Does *deed* at *place* in the package, in the thread that enters this; notes the places it came by."""

    def __init__(self, place: Place | None, deed: Callable[[], object]) -> None:
        self._place, self._deed = place, deed
        self.seen: dict[Place, None] = {}
        self.fell = False

    def __enter__(self) -> Self:
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, arg: object) -> None:
        # Elsewhere, and on the way into or out of a `with`, the interpreter does not look.
        if event not in {"call", "c_return"} or getattr(arg, "__name__", "") in {"__enter__", "__exit__"}:
            return
        if "pool_manager/" in frame.f_code.co_filename.rpartition("/tests/")[2]:
            caller = frame if event.startswith("c_") or frame.f_back is None else frame.f_back
            place = (event, frame.f_code.co_qualname, caller.f_code.co_qualname, caller.f_lineno)
            self.seen[place] = None
            if place == self._place:
                sys.setprofile(None)
                self.fell = True
                self._deed()


def close_a_client(manager: PoolManager, url: str) -> Callable[[], object]:
    """Close a client that has asked, as SDKs do when they are collected."""
    client = manager.client()
    client.get(url)
    return client.close


def close_an_answer(manager: PoolManager, url: str) -> Callable[[], object]:
    """Close an answer that is open, as a generator does that is collected."""
    client = manager.client()
    answer = client.send(client.build_request("GET", f"{url}/payload"), stream=True)

    def close() -> None:
        answer.close()
        client.close()

    return close


def ask(manager: PoolManager, url: str) -> Callable[[], object]:
    """Send a request, and be told if that cannot be."""
    client = manager.client()

    def get() -> None:
        with contextlib.suppress(PoolError):  # refused: this very thread is in the middle of something
            assert 200 == client.get(url).status_code
        client.close()

    return get


def look(manager: PoolManager, url: str) -> Callable[[], object]:
    """Take statistics."""
    with manager.client() as client:
        client.get(url)

    def stats() -> None:
        with contextlib.suppress(PoolError):  # as above
            manager.stats()

    return stats


@pytest.mark.parametrize("deed", [close_a_client, close_an_answer, ask, look], ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("version", ["h1", "h2"])
def test_whoever_strikes_does_not_wait_for_the_thread_it_struck(
    version: str,
    deed: Callable[[PoolManager, str], Callable[[], object]],
    certificates: Certificates,
    request: pytest.FixtureRequest,
) -> None:
    """Wherever it strikes: the request is answered, nothing hangs, nothing is counted as out afterwards."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(verify=certificates.client_context(), http2=version == "h2", trust_env=False)
    struck_at: list[Place] = []
    fell: list[bool] = []

    def strike_everywhere(manager: PoolManager) -> None:
        def struck(place: Place | None) -> Strike:
            prepared = deed(manager, server.url)
            if place is None:
                prepared()
                prepared = deed(manager, server.url)
            with Strike(place, prepared) as strike, manager.client() as client:
                assert 200 == client.get(server.url).status_code
            if not strike.fell:
                prepared()
            return strike

        for place in struck(None).seen:
            struck_at.append(place)
            fell.append(struck(place).fell)
            (pool,) = manager.stats().pools
            assert (0, 0, 1) == (pool.in_flight, pool.waiting, pool.leases)
        struck_at.clear()
        assert sum(fell) > len(fell) / 2

    with PoolManager(config) as manager, manager.client():
        thread = threading.Thread(target=strike_everywhere, args=[manager], daemon=True)
        thread.start()
        been = -1
        while thread.is_alive() and been < len(fell):  # as long as it gets on, however slowly
            been = len(fell)
            thread.join(PATIENCE)
        assert not struck_at[-1:]
