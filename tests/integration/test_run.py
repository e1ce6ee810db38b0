"""`python -m pool_manager run`: a program runs as it would by itself, with its clients on the pool."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from tests.support.counting_server import CountingServer

NOTHING: Mapping[str, str] = {}

LOOK = """
import sys, httpx, httpx2
print(__name__, sys.argv, sys.path[0])
for library in (httpx, httpx2):
    with library.Client(trust_env=False) as one, library.Client(trust_env=False) as two:
        for client in (one, two):
            print("pool_manager" in client.get(URL).extensions)
"""


@attrs.frozen
class Folder:
    """Where programs are, and how they are run."""

    path: Path
    url: str

    def write(self, name: str, text: str) -> None:
        """Write a program that knows where the server is."""
        (self.path / name).write_text(f"URL = {self.url!r}\n{text}")

    def run(self, *arguments: str, env: Mapping[str, str] = NOTHING) -> subprocess.CompletedProcess[str]:
        """Run `python -m pool_manager run` there."""
        return subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "pool_manager", "run", *arguments],
            cwd=self.path, env={name: os.environ.get(name, "") for name in ("PATH", "PYTHONPATH")} | {**env},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, counting_server: CountingServer) -> Folder:
    """Give an empty folder and a server."""
    return Folder(tmp_path, counting_server.url)


def test_a_program_is_pooled(folder: Folder, counting_server: CountingServer) -> None:
    """A file runs as `__main__` with its own arguments; its clients, of both libraries, share."""
    folder.write("app.py", LOOK)
    done = folder.run("app.py", "--json", "-m", "x")
    assert (done.returncode, done.stderr) == (0, "")
    first, *pooled = done.stdout.splitlines()
    assert first == f"__main__ ['app.py', '--json', '-m', 'x'] {folder.path}"
    assert pooled == ["True"] * 4
    assert counting_server.per_connection() == {1: 2, 2: 2}


def test_a_module_is_pooled(folder: Folder) -> None:
    """With -m a module runs, found from the folder one is in."""
    folder.write("app.py", LOOK)
    done = folder.run("-m", "app", "one")
    assert (done.returncode, done.stderr) == (0, "")
    first, *pooled = done.stdout.splitlines()
    assert first.startswith("__main__ [")
    assert first.endswith(f"'one'] {folder.path}")
    assert pooled == ["True"] * 4


def test_connections_linger(folder: Folder, counting_server: CountingServer) -> None:
    """With --linger `httpx.get` finds the connection of the one before."""
    folder.write("app.py", "import httpx\nfor _ in range(5): httpx.get(URL)\n")
    assert folder.run("app.py").returncode == 0
    assert counting_server.connections == 5
    done = folder.run("--linger", "30", "app.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert counting_server.connections == 6


def test_the_kill_switch(folder: Folder) -> None:
    """With POOL_MANAGER_DISABLED=1 the program runs as without us."""
    folder.write("app.py", LOOK)
    done = folder.run("app.py", env={"POOL_MANAGER_DISABLED": "1"})
    assert done.stdout.splitlines()[1:] == ["False"] * 4


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('why')", 1, "why"),
        ("raise OSError('its own')", 1, "OSError: its own"),
        ("raise BrokenPipeError", 1, "BrokenPipeError"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
def test_its_errors_are_its_own(folder: Folder, text: str, code: int, told: str) -> None:
    """How a program ends is how the command ends, with its own traceback."""
    folder.write("app.py", text)
    done = folder.run("app.py")
    assert done.returncode in {code, -2 if code == 130 else code}
    assert told in done.stderr
    assert not done.stderr.startswith("error:")


@pytest.mark.parametrize(
    "arguments", [("nothing.py",), (), ("--linger", "-1", "app.py"), ("--linger", "x", "app.py")], ids=str
)
def test_what_cannot_be_run_is_told(folder: Folder, arguments: tuple[str, ...]) -> None:
    """What is no program, or no number, is refused in one line."""
    done = folder.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
