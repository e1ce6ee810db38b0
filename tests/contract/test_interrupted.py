"""
An interrupt at every point: the request leaves nothing behind, and the next one is served.

`KeyboardInterrupt` comes to a thread between two steps of the interpreter: when a function is entered, and
when it is left. A profiling function is called at these very points. Where a scenario gets to is noted
first; then it is repeated for each of these places, and interrupted there.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeAlias

import httpx
import httpx2
import pytest

import pool_manager
from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.inside import assert_quiet

OURS = str(Path(pool_manager.__file__).parent)
# What gives an answer away when it returns: from there on it is the next one's to close.
GIVES = {"open", "response", "_send"}

# What happens there, in which function, called from which function at which line.
Place: TypeAlias = tuple[str, str, str, int]


class Strike:
    """
    Raises `KeyboardInterrupt` at *place* within the package, in the thread that enters this.

    Attributes:
        seen: The places that it came by.

        fell: It has struck.
    """

    def __init__(self, place: Place | None = None) -> None:
        self._place = place
        self.seen: dict[Place, None] = {}
        self.fell = False

    def __enter__(self) -> Self:
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, arg: object) -> None:
        # Before a C function, and on the way into or out of a `with`, the interpreter does not look.
        if event == "c_call" or getattr(arg, "__name__", "") in {"__enter__", "__exit__"}:
            return
        if event == "return" and frame.f_code.co_name in GIVES:
            return
        caller = frame if event.startswith("c_") or frame.f_back is None else frame.f_back
        # Where others call us, and where we return to them, it is them who are interrupted.
        if all(code.co_filename.startswith(OURS) for code in (frame.f_code, caller.f_code)):
            place = (event, frame.f_code.co_qualname, caller.f_code.co_qualname, caller.f_lineno)
            self.seen[place] = None
            if place == self._place:
                sys.setprofile(None)
                self.fell = True
                raise KeyboardInterrupt


def parts() -> Iterator[bytes]:
    """Give a body bit by bit."""
    for _ in range(4):
        yield b"x" * 50_000


def upload(client: Any, url: str) -> None:
    """Send a body that is made on the way."""
    client.post(url, content=parts())


def read_half(client: Any, url: str) -> None:
    """Read the first parts of a long answer, and close it."""
    with client.stream("GET", f"{url}/payload") as answer:
        left = 5
        for _ in answer.iter_raw():
            left -= 1
            if not left:
                break


def ask(client: Any, url: str) -> None:
    """Ask for something short."""
    client.get(url)


# What strikes a generator that is collected is told to nobody: Python says so by this warning.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <generator object:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("scenario", [upload, read_half, ask], ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_interrupted_at_every_place(
    library: Any,
    version: str,
    scenario: Callable[[Any, str], None],
    certificates: Certificates,
    request: pytest.FixtureRequest,
) -> None:
    """
    Wherever it strikes: nothing is counted as out, no neighbour hangs, the next is served, no socket is left.

    The connection is new for the one library, and was used before for the other.
    """
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    config = PoolConfig(verify=certificates.client_context(), http2=version == "h2", trust_env=False)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:

        def interrupted(place: Place | None) -> Strike:
            with (
                PoolManager(config, limits=Limits(max_connections=2)) as manager,
                manager.client(library.Client, timeout=library.Timeout(10, pool=5)) as client,
            ):
                if library is httpx2:
                    client.get(server.url)
                neighbour = threads.submit(outcome, client, server.url)
                with contextlib.suppress(KeyboardInterrupt), Strike(place) as strike:
                    scenario(client, server.url)
                assert neighbour.result() in {"200", "ReadError", "WriteError", "RemoteProtocolError"}, place
                assert_quiet(manager, place)
                assert [outcome(client, server.url) for _ in range(3)] == ["200"] * 3, place
                assert_quiet(manager, place)
            return strike

        places = {place: None for _ in range(3) for place in interrupted(None).seen}
        struck = sum(interrupted(place).fell for place in places)
    assert struck > len(places) / 2  # the neighbour has it go by other ways now and then
    gc.collect()


def outcome(client: Any, url: str) -> str:
    """Tell what came of a request."""
    try:
        return str(client.get(url).status_code)
    except (httpx.TransportError, httpx2.TransportError) as error:
        return type(error).__name__
