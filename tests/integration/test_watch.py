"""A running process shows its pools to its own user, when asked to, and leaves nothing when it stops."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
from pathlib import Path

import httpx
import pytest

from pool_manager import Lane, Limits, PoolConfig, PoolManager
from pool_manager.__main__ import main
from pool_manager.observe import serving
from tests.support.counting_server import Answer, CountingServer
from tests.support.server import Server


def asked(path: Path, page: str = "/stats") -> httpx.Response:
    """Ask as `curl --unix-socket` does."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=5) as client:
        return client.get(f"http://localhost{page}")


def test_watch_shows_the_pools(
    manager: PoolManager, h2_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command shows each pool and its origins, and ends after as many looks as it was told to take."""
    path = tmp_path / "stats"
    with manager.serve_stats(path), manager.client(base_url=h2_server.url) as client:
        for _ in range(321):
            client.get("/echo")
        assert 0 == main(["watch", "--count", "2", "--interval", "0", str(path)])
    shown = capsys.readouterr().out
    assert re.search(r"\d+ threads *\n +1 ", shown)  # a lease
    assert 2 <= shown.count("321")  # of the pool, and of its origin
    assert "320" in shown  # reused
    assert "1 taken" in shown
    assert re.search(rf"  {re.escape(h2_server.url)} *\n", shown)


def test_watch_shows_who_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], counting_server: CountingServer
) -> None:
    """A lane has a line of its own, with how many wait and for how long."""
    counting_server.respond = lambda _: Answer(body=b"x" * 5_000_000)
    path, lane = tmp_path / "stats", {"pool_manager": {"lane": "narrow"}}
    limits, lanes = Limits(max_connections=2), [Lane("narrow", max_in_flight=1)]

    async def crowd() -> None:
        url = counting_server.url
        async with (
            PoolManager(PoolConfig(trust_env=False), limits=limits, lanes=lanes) as manager,
            manager.client(httpx.AsyncClient) as client,
            client.stream("GET", url, extensions=lane),
        ):
            waiting = asyncio.ensure_future(client.get(url, extensions=lane))
            await asyncio.sleep(0)
            with manager.serve_stats(path):
                assert 0 == await asyncio.to_thread(main, ["watch", "--count", "1", str(path)])
            waiting.cancel()
            await asyncio.wait([waiting])

    asyncio.run(crowd())
    shown = capsys.readouterr().out
    assert re.search(r", lane narrow, somebody waits for \d\.\d s *\n +1 +0 +0 +0 +1 +1 +2 ", shown)


def test_it_answers_as_prometheus_wants(
    manager: PoolManager, h2_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`GET /metrics` on the socket, and `watch --metrics`, give the text that is scraped."""
    with manager.serve_stats(tmp_path / "stats") as server, manager.client() as client:
        client.get(f"{h2_server.url}/echo")
        answer = asked(server.path, "/metrics")
        assert 0 == main(["watch", "--metrics", str(server.path)])
        assert 404 == asked(server.path, "/nothing").status_code
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    assert "pool_manager_connections_opened_total{" in answer.text
    assert "pool_manager_connections_opened_total{" in capsys.readouterr().out


def test_the_socket_is_the_users_alone(
    manager: PoolManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode is 0600; the kernel is asked who connects, and a stranger is told nothing."""
    path = tmp_path / "stats"
    with manager.serve_stats(path):
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        assert "default" == asked(path).json()["name"]
        monkeypatch.setattr(serving.os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(httpx.TransportError):
            asked(path)
        assert 2 == main(["watch", "--count", "1", str(path)])
        monkeypatch.undo()
        assert 200 == asked(path).status_code


def test_no_password_goes_out(tmp_path: Path) -> None:
    """What a pool's config holds is not served."""
    config = PoolConfig(proxy="http://user:hunter2@127.0.0.1:1", trust_env=False)
    with PoolManager(config) as manager, manager.lease() as lease, lease.client() as client:
        with pytest.raises(httpx.ConnectError):  # nobody listens there
            client.get("http://127.0.0.1:1/?key=hunter2")
        with manager.serve_stats(tmp_path / "stats") as server:
            answers = [asked(server.path), asked(server.path, "/metrics")]
    (pool,) = answers[0].json()["pools"]
    assert "config" not in pool
    assert not [answer for answer in answers if "hunter2" in answer.text]


def test_a_look_that_fails_is_not_the_last(
    manager: PoolManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asked is told that it failed, the log why, and the next look succeeds."""

    def fail() -> None:
        raise ZeroDivisionError

    with manager.serve_stats(tmp_path / "stats") as server:
        monkeypatch.setattr(manager, "stats", fail)
        assert 500 == asked(server.path).status_code
        assert 2 == main(["watch", "--count", "1", str(server.path)])
        assert "no statistics could be taken" in caplog.text
        monkeypatch.undo()
        assert 200 == asked(server.path).status_code


def test_who_hangs_up_or_says_nothing_holds_up_nobody_for_long(manager: PoolManager, tmp_path: Path) -> None:
    """A peer that breaks off, speaks no HTTP, or says nothing for a second: the next is answered."""
    with manager.serve_stats(tmp_path / "stats") as server:
        for said in (b"", b"GET /stats HTTP/1.1\r\n\r\n", b"\x00\xff\r\n\r\n"):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(server.path))
                peer.sendall(said)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(server.path))
            assert 200 == asked(server.path).status_code


def test_closing_leaves_nothing(manager: PoolManager, tmp_path: Path) -> None:
    """Closed twice, and served again at the same path: no file, thread or socket is left."""
    path = tmp_path / "stats"
    for _ in range(2):
        server = manager.serve_stats(path)
        assert 200 == asked(path).status_code
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


def test_what_a_crash_left_is_replaced(manager: PoolManager, tmp_path: Path) -> None:
    """A socket to which nobody listens is in nobody's way; one to which somebody does stays his."""
    path = tmp_path / "stats"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    with manager.serve_stats(path):
        assert 200 == asked(path).status_code
        with PoolManager() as other, pytest.raises(OSError, match="in use"):
            other.serve_stats(path)
        assert 200 == asked(path).status_code
