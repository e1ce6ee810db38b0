"""
A real h2o: HTTP/1.1 and HTTP/2 as its authors, who wrote much of HTTP/2, understand them.

All below /app is passed on to a server of ours, save /app/payload, which is a file.

How it counts: h2o numbers its connections and logs each request with the number
of its own, so a connection without a request (since the last reset) is not seen;
which are open the kernel says. A request is logged when its answer has gone out,
so it may be there a moment late. The log holds no headers and no body.

The port is the kernel's choice: the socket is opened here and inherited by h2o,
by the means it has for being restarted. So is a second h2o by `restart`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.certificates import Certificates
from tests.support.kernel import established
from tests.support.payload import PAYLOAD
from tests.support.programs import dies_with_parent, end, find_program
from tests.support.server import POLL, START_TIMEOUT, Seen, SeenRequest, Server

BACKLOG = 1024

LOG_FORMAT = (
    '{"connection":"%{connection-id}x","method":"%m","path":"%U%q","protocol":"%H","client":"%h:%{remote}p"}'
)
# YAML, of which JSON is a part.
CONFIG = """\
num-threads: 1
num-name-resolution-threads: 1
{user}
http2-idle-timeout: 300
http1-request-timeout: 300
listen:
  host: 127.0.0.1
  port: {port}
  ssl: {{certificate-file: {cert_file}, key-file: {key_file}}}
access-log: {{path: {prefix}/access.log, escape: json, format: '{log_format}'}}
hosts:
  default:
    paths:
      /app:
        proxy.reverse.url: {backend}/app
        proxy.websocket: ON
      /app/payload:
        file.file: {prefix}/payload
"""


class H2oServer(Server):
    """
    h2o, in a temporary folder.

    Args:
        backend: The URL of the server to which /app is passed on.

        can_restart: Keep what `restart` needs: the socket, which is then one of this process.
    """

    def __init__(self, certificates: Certificates, backend: str, *, can_restart: bool = False) -> None:
        self._binary = find_program("h2o")
        self._folder = tempfile.TemporaryDirectory(prefix="h2o-")
        self._prefix = Path(self._folder.name)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        super().__init__(certificates, self._listener.getsockname()[1], tls=True)
        config = CONFIG.format(
            user="user: root" if os.geteuid() == 0 else "",  # else it becomes nobody, and can read no file
            port=self.port,
            cert_file=certificates.server.cert_file,
            key_file=certificates.server.key_file,
            prefix=self._prefix,
            log_format=LOG_FORMAT,
            backend=backend,
        )
        (self._prefix / "h2o.conf").write_text(config)
        (self._prefix / "payload").write_bytes(PAYLOAD)
        (self._prefix / "access.log").touch()
        self._log_size = 0  # what was logged before the last reset
        self._processes = [self._spawn()]
        if not can_restart:
            self._listener.close()

    def seen(self) -> Seen:
        """Tell what h2o saw; see `Server.seen`."""
        with (self._prefix / "access.log").open("rb") as log:
            log.seek(self._log_size)
            lines = [json.loads(line) for line in log]
        connections = len({line["connection"] for line in lines})
        return Seen(
            connections=connections,
            handshakes=connections,
            requests=tuple(_seen_request(line) for line in lines),
            open=established(self.port),
        )

    def reset(self) -> None:
        """Count from zero. Connections stay open."""
        self._log_size = (self._prefix / "access.log").stat().st_size

    def restart(self) -> None:
        """
        Start a second h2o, then tell the first one to end; return when the second serves.

        The first one takes no more connections, says good-bye on those it has,
        and ends when it has answered what it was asked.
        """
        self._processes.append(self._spawn())
        self._processes[-2].send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End h2o, and with it every connection. Safe to repeat."""
        for process in self._processes:
            process.kill()  # at once: `terminate` would let connections end by themselves
            end(process)
        self._listener.close()
        self._folder.cleanup()

    def _spawn(self) -> subprocess.Popen[bytes]:
        ready = b"h2o server (pid:%d) is ready to serve requests"
        errors = self._prefix / f"errors-{time.monotonic_ns()}.log"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [*dies_with_parent(), self._binary, "-c", str(self._prefix / "h2o.conf")],
                env={
                    **os.environ,
                    "SERVER_STARTER_PORT": f"127.0.0.1:{self.port}={self._listener.fileno()}",
                },
                pass_fds=[self._listener.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while ready % process.pid not in errors.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                msg = f"h2o did not start:\n{errors.read_text()}"
                process.kill()
                end(process)
                raise RuntimeError(msg)
            time.sleep(POLL)
        return process


def _seen_request(line: dict[str, str]) -> SeenRequest:
    return SeenRequest(
        method=line["method"],
        path=line["path"],
        http_version="2" if line["protocol"] == "HTTP/2" else line["protocol"].removeprefix("HTTP/"),
        client=line["client"],
    )
