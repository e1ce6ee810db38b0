"""
A server written in Python, in a process of its own that obeys orders.

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

from tests.support.certificates import Certificates
from tests.support.programs import end
from tests.support.server import Seen, SeenRequest, Server

ROOT = Path(__file__).parents[2]


class ProcessServer(Server):
    """
    The parent's side: starts the process, sends it orders.

    Args:
        module: What to run; its first line on stdout is the port.

        options: Its one argument, as JSON.
    """

    def __init__(self, certificates: Certificates, module: str, options: dict[str, object]) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(options)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        super().__init__(certificates, self._read_port(), tls=options["cert_file"] is not None)

    def seen(self) -> Seen:
        """Tell what the server saw; see `Server.seen`."""
        answer = json.loads(self.order("seen"))
        requests = tuple(_seen_request(**request) for request in answer.pop("requests"))
        return Seen(requests=requests, **answer)

    def reset(self) -> None:
        """Count from zero. Connections stay open."""
        self.order("reset")

    def stop(self) -> None:
        """End the server, and with it every connection. Safe to repeat."""
        with self._lock:
            if self._process.poll() is None:
                self._stdin.close()
                end(self._process)
            self._stdin.close()
            self._stdout.close()

    def order(self, order: str) -> str:
        """Have the process obey; give its answer."""
        with self._lock:
            self._stdin.write(json.dumps(order) + "\n")
            self._stdin.flush()
            answer = self._stdout.readline()
        if not answer:
            msg = f"{self._module} is gone (exit status {self._process.poll()})"
            raise RuntimeError(msg)
        return answer

    def _read_port(self) -> int:
        line = self._stdout.readline()
        if not line:
            self.stop()
            msg = f"{self._module} did not start; its error is on stderr"
            raise RuntimeError(msg)
        return int(line)

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout


def _seen_request(headers: list[list[str]], **fields: str) -> SeenRequest:
    return SeenRequest(headers=tuple((name, value) for name, value in headers), **fields)
