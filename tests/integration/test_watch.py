"""A running process shows its pools to its own user, when asked to, and leaves nothing when it stops."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import httpx
import pytest

from pool_manager import PoolConfig, PoolManager, serving
from pool_manager.__main__ import main
from tests.support.server import Server


def asked(path: Path) -> bytes:
    """Connect, and read to the end."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        with client.makefile("rb") as answer:
            return answer.read()


def test_watch_shows_the_pools(
    manager: PoolManager, h2_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command shows what each pool does, and ends after as many looks as it was told to take."""
    path = tmp_path / "stats"
    with manager.serve_stats(path), manager.client(base_url=h2_server.url) as client:
        for _ in range(321):
            client.get("/echo")
        assert 0 == main(["watch", "--count", "2", "--interval", "0", str(path)])
    shown = capsys.readouterr().out
    assert "threads" in shown
    assert "321" in shown
    assert "320" in shown  # reused
    assert "1 taken" in shown


def test_the_socket_is_the_users_alone(
    manager: PoolManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode is 0600; the kernel is asked who connects, and a stranger is told nothing."""
    path = tmp_path / "stats"
    with manager.serve_stats(path):
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        assert "default" == json.loads(asked(path))["name"]
        monkeypatch.setattr(serving.os, "geteuid", lambda: os.getuid() + 1)
        assert b"" == asked(path)
        assert 2 == main(["watch", "--count", "1", str(path)])
        monkeypatch.undo()
        assert b"" != asked(path)


def test_no_password_goes_out(tmp_path: Path) -> None:
    """What a pool's config holds is not served."""
    config = PoolConfig(proxy="http://user:hunter2@127.0.0.1:1", trust_env=False)
    with PoolManager(config) as manager, manager.lease() as lease, lease.client() as client:
        with pytest.raises(httpx.ConnectError):  # nobody listens there
            client.get("http://127.0.0.1:1/")
        with manager.serve_stats(tmp_path / "stats") as server:
            line = asked(server.path)
    (pool,) = json.loads(line)["pools"]
    assert "config" not in pool
    assert b"hunter2" not in line


def test_closing_leaves_nothing(manager: PoolManager, tmp_path: Path) -> None:
    """Closed twice, and served again at the same path: no file, thread or socket is left."""
    path = tmp_path / "stats"
    for _ in range(2):
        server = manager.serve_stats(path)
        assert asked(path)
        server.close()
        server.close()
        assert not path.exists()


def test_a_file_that_is_there_is_not_touched(manager: PoolManager, tmp_path: Path) -> None:
    """Serving where a file is raises, and the file stays."""
    path = tmp_path / "stats"
    path.write_text("mine")
    with pytest.raises(OSError, match="in use"):
        manager.serve_stats(path)
    assert "mine" == path.read_text()
