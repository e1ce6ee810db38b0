"""
hypercorn with `tests.support.app`, in a process of its own.

How it counts: the listening socket is ours, and hypercorn is only handed what
was accepted. A connection counts when `accept` returns it, a handshake when
asyncio says that TLS is set up. Before the server answers "seen" it accepts all
that the kernel holds ready, so a connection that a client has opened is always
in the answer, even if not one byte was sent on it.

Orders come on stdin, one JSON value a line, and answers go to stdout; so the
control channel is no connection. When stdin ends (the parent is dead, or called
`stop`), so does the server.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import attrs

from tests.support.certificates import Certificates
from tests.support.hypercorn_process import Options
from tests.support.server import Seen, SeenRequest, Server

ROOT = Path(__file__).parents[2]


class HypercornServer(Server):
    """The parent's side: starts the process, sends it orders."""

    def __init__(
        self,
        certificates: Certificates,
        *,
        tls: bool = True,
        alpn: tuple[str, ...] = ("h2", "http/1.1"),
        client_certificates: bool = False,
        max_streams: int = 100,
        idle_timeout: float = 300.0,
    ) -> None:
        options = Options(
            cert_file=str(certificates.server.cert_file) if tls else None,
            key_file=str(certificates.server.key_file) if tls else None,
            client_ca_file=str(certificates.ca_file) if client_certificates else None,
            alpn=alpn,
            max_streams=max_streams,
            idle_timeout=idle_timeout,
        )
        self._lock = threading.Lock()
        self._process = _spawn(options)
        super().__init__(certificates, self._read_port(), tls=tls)

    def seen(self) -> Seen:
        """Tell what the server saw; see `Server.seen`."""
        answer = json.loads(self._order("seen"))
        requests = tuple(_seen_request(**request) for request in answer.pop("requests"))
        return Seen(requests=requests, **answer)

    def reset(self) -> None:
        """Count from zero. Connections stay open."""
        self._order("reset")

    def drop_connections(self) -> None:
        """Cut every connection, as a server does that is restarted; keep listening."""
        self._order("drop")

    def stop(self) -> None:
        """End the server, and with it every connection. Safe to repeat."""
        with self._lock:
            if self._process.poll() is None:
                _stdin(self._process).close()
                _end(self._process)
            _stdin(self._process).close()
            _stdout(self._process).close()

    def _order(self, order: str) -> str:
        with self._lock:
            _stdin(self._process).write(json.dumps(order) + "\n")
            _stdin(self._process).flush()
            answer = _stdout(self._process).readline()
        if not answer:
            msg = f"the hypercorn subprocess is gone (exit status {self._process.poll()})"
            raise RuntimeError(msg)
        return answer

    def _read_port(self) -> int:
        line = _stdout(self._process).readline()
        if not line:
            self.stop()
            msg = "the hypercorn subprocess did not start; its error is on stderr"
            raise RuntimeError(msg)
        return int(line)


def _seen_request(headers: list[list[str]], **fields: str) -> SeenRequest:
    return SeenRequest(headers=tuple((name, value) for name, value in headers), **fields)


def _spawn(options: Options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.hypercorn_process", json.dumps(attrs.asdict(options))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stdin(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
