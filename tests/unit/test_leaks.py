"""The leak check finds each kind of thing that a test leaves behind, and blames nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.support.leaks import Standing, set_aside

ROOT = Path(__file__).parents[2]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give nothing time to go."""
    monkeypatch.setattr("tests.support.leaks.PATIENCE", 0)


@pytest.mark.usefixtures("impatient")
def test_finds_a_socket() -> None:
    """A socket left open is found and described."""
    before = Standing.now()
    with socket.create_server(("127.0.0.1", 0)) as left_open:
        port = left_open.getsockname()[1]
        (found,) = before.left_since()
    assert f"('127.0.0.1', {port})" in found


@pytest.mark.usefixtures("impatient")
def test_finds_a_thread() -> None:
    """A thread that still runs is found and named."""
    before, end = Standing.now(), threading.Event()
    thread = threading.Thread(target=end.wait, name="left-behind")
    thread.start()
    (found,) = before.left_since()
    end.set()
    thread.join()
    assert "left-behind" in found


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_finds_a_task(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A task that is not done is found, though its loop no longer runs."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        loop = runner.get_loop()
        before = Standing.now()
        task = loop.create_task(asyncio.sleep(60), name="left-behind")
        (found,) = before.left_since()
        del task
    assert "left-behind" in found


def test_waits_for_what_is_being_closed() -> None:
    """A socket that closes a moment later is no leak."""
    before = Standing.now()
    closing = socket.create_server(("127.0.0.1", 0))
    later = threading.Timer(0.1, closing.close)
    later.start()
    assert before.left_since() == []
    later.join()


# What was set aside


class Holder:
    """Holds a descriptor, and itself: only the collector can let go of it."""

    def __init__(self) -> None:
        self.itself = self
        self.held = -1

    def __del__(self) -> None:
        os.close(self.held)


@pytest.mark.usefixtures("impatient")
def test_what_is_old_hides_nothing_new() -> None:
    """A task that something old holds on to is found."""
    with asyncio.Runner() as runner:
        loop, old = runner.get_loop(), list[asyncio.Task[None]]()
        set_aside()
        before = Standing.now()
        old.append(loop.create_task(asyncio.sleep(60), name="left-behind"))
        (found,) = before.left_since()
        old.clear()
    assert "left-behind" in found


@pytest.mark.usefixtures("impatient")
def test_what_is_old_may_become_garbage() -> None:
    """A socket that nobody but garbage holds is no leak, however old the garbage is."""
    holder = Holder()
    set_aside()
    before = Standing.now()
    holder.held = socket.create_server(("127.0.0.1", 0)).detach()
    del holder
    assert before.left_since() == []


@pytest.mark.usefixtures("impatient")
def test_what_is_old_is_nobody_s_leak() -> None:
    """A task that was pending before is not taken for a new one when the search is widened."""
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        old = runner.get_loop().create_task(asyncio.sleep(60))
        set_aside()
        before = Standing.now()
        stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # it widens the search
        (found,) = before.left_since()
        assert not old.done()
    assert found.startswith("socket")


# The check of every test

LEAKY = """
import asyncio, socket, threading
from tests.support import leaks
leaks.PATIENCE = 0
kept = []
end = threading.Event()
def test_leaves_a_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))
def test_leaves_a_thread():
    threading.Thread(target=end.wait).start()
def test_leaves_a_task():
    loop = asyncio.new_event_loop()
    kept.append(loop.create_task(asyncio.sleep(60)))
def test_fails():
    kept.append(socket.create_server(("127.0.0.1", 0)))
    assert False
def test_is_clean(counting_server, h2_server, nginx_h1, proxy):
    assert h2_server.seen().connections == 0
    end.set()
"""


LOST = """
import socket
kept = [socket.create_server(("127.0.0.1", 0))]
kept.append(kept)
def test_loses_it():
    global kept
    del kept
"""


def run_pytest(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run *tests* under the fixtures of this suite."""
    (folder / "test_these.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error")
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", str(folder / "pytest.ini"), "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_leak_fails_the_test(tmp_path: Path) -> None:
    """The check is on for every test; it blames neither fixtures nor a test that failed."""
    run = run_pytest(tmp_path, LEAKY)
    assert "1 failed, 4 passed, 3 errors" in run.stdout
    for found in ("  socket fd=", "  thread <Thread(", "  pending task <Task "):
        assert found in run.stdout


def test_what_was_lost_fails_the_run(tmp_path: Path) -> None:
    """A socket older than the test that lost it is found by the end of the run."""
    run = run_pytest(tmp_path, LOST)
    assert "1 passed" in run.stdout
    assert "Exception ignored in: <socket.socket" in run.stderr
    assert run.returncode
