"""
A real nginx: HTTP/1.1 and HTTP/2 as somebody else understands them.

How it counts. nginx numbers every connection it accepts (`$connection`), so two
numbers tell how many came between, whether or not they carried a request. The
control channel is a Unix socket: each look at it is one connection, gets the
next number, and is taken off. `multi_accept` makes nginx accept all that the
kernel holds before it reads a request, so no connection that a client opened
before the look is missed; and as one worker does all the work, and its
log has no buffer, whatever was answered before the look is in the log.

Handshakes are those of connections that carried a request: nginx does not tell
of the others. The log holds only some headers (`LOGGED_HEADERS`) and no body.

With a `backend` (the URL of a server in the clear) all below /app is passed on to
it, part by part as it comes, save /app/payload, which is a file. As nginx numbers
the connections it opens as well, only those that carried a request count then.

The port is the kernel's choice and never free in between: the socket is opened
here and inherited by nginx, by the means it has for replacing its own binary.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import attrs

from tests.support.certificates import Certificates
from tests.support.payload import PAYLOAD
from tests.support.programs import dies_with_parent, find_program
from tests.support.server import POLL, START_TIMEOUT, Seen, SeenRequest, Server

BYTES = 1 << 20  # what /bytes serves
LOGGED_HEADERS = ("host", "cookie", "authorization", "user-agent")
BACKLOG = 1024

CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; multi_accept on; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    log_format seen escape=json '{log_format}';
    access_log access.log seen;
    default_type application/json;
    keepalive_requests {keepalive_requests};
    keepalive_timeout {keepalive_timeout}ms;
    http2_max_concurrent_streams {max_streams};
    client_max_body_size 64m;
{backend}

    server {{
        listen 127.0.0.1:{port} ssl{http2};
        ssl_certificate {cert_file};
        ssl_certificate_key {key_file};
        root {prefix};

        location / {{ return 200 '{{"ok":true}}'; }}
        location ~ /echo$ {{ return 200 '{echo}'; }}
        location = /bytes {{ default_type application/octet-stream; }}
        location = /app/payload {{ alias {prefix}/payload; }}
{passed_on}
    }}
    server {{
        listen unix:{prefix}/control;
        access_log off;
        location / {{ return 200 "$connection $connections_active $pid"; }}
    }}
}}
"""
BACKEND = """\
    upstream backend {{ server {address}; keepalive 32; }}
    map $http_upgrade $passed_connection {{ default upgrade; "" ""; }}
"""
PASSED_ON = """\
        location ^~ /app/ {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $passed_connection;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_next_upstream off;
        }
"""


def _json(**variables: str) -> str:
    """Write a JSON object of nginx variables, all of them strings."""
    return "{" + ",".join(f'"{name}":"{variable}"' for name, variable in variables.items()) + "}"


LOG_FORMAT = _json(
    connection="$connection",
    method="$request_method",
    path="$request_uri",
    protocol="$server_protocol",
    client="$remote_addr:$remote_port",
    **{name: "$http_" + name.replace("-", "_") for name in LOGGED_HEADERS},
)
ECHO = _json(
    method="$request_method",
    path="$uri",
    query="$args",
    http_version="$server_protocol",
    cookie="$http_cookie",
    authorization="$http_authorization",
    connection="$connection",
    client="$remote_addr:$remote_port",
)


@attrs.frozen
class Mark:
    """
    Where nginx stands at one look.

    Attributes:
        connection: The number of the look's own connection.

        active: Connections that are open, the look's own included.

        pid: The worker's.

        log_size: Bytes in the log.
    """

    connection: int
    active: int
    pid: int
    log_size: int


class NginxServer(Server):
    """
    nginx, in a temporary folder, without root.

    Args:
        http2: Offer it.

        backend: The URL of the server to which /app is passed on.

        keepalive_requests: On one connection; then nginx says good-bye.

        keepalive_timeout: Milliseconds after which nginx closes an idle connection.

        max_streams: HTTP/2 streams on one connection.
    """

    def __init__(
        self,
        certificates: Certificates,
        *,
        http2: bool = True,
        backend: str | None = None,
        keepalive_requests: int = 1_000_000,
        keepalive_timeout: int = 300_000,
        max_streams: int = 128,
    ) -> None:
        self._binary = find_program("nginx")
        self._has_backend = backend is not None
        self._folder = tempfile.TemporaryDirectory(prefix="nginx-")
        self._prefix = Path(self._folder.name)
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
            listener.settimeout(0)  # nginx takes it for granted of a socket it inherits
            super().__init__(certificates, listener.getsockname()[1], tls=True)
            self._write_files(
                http2=" http2" if http2 else "",
                backend=BACKEND.format(address=backend.removeprefix("http://")) if backend else "",
                passed_on=PASSED_ON if backend else "",
                keepalive_requests=keepalive_requests,
                keepalive_timeout=keepalive_timeout,
                max_streams=max_streams,
            )
            self._process = self._spawn(listener)
        self._since = self._first_look()
        self._looks = 0  # since `self._since`

    def seen(self) -> Seen:
        """Tell what nginx saw; see `Server.seen`."""
        mark = self._look_again()
        lines = self._read_log(mark)
        news = {line["connection"] for line in lines if int(line["connection"]) > self._since.connection}
        between = mark.connection - self._since.connection - self._looks
        return Seen(
            connections=len(news) if self._has_backend else between,
            handshakes=len(news),
            requests=tuple(_seen_request(line) for line in lines),
            open=mark.active - 1,
        )

    def reset(self) -> None:
        """Count from zero. Connections stay open."""
        self._since, self._looks = self._look(), 0

    def stop(self) -> None:
        """End nginx, and with it every connection. Safe to repeat."""
        self._process.terminate()  # never kill: its worker would live on
        self._process.wait()
        self._folder.cleanup()

    def reload(self) -> None:
        """
        Replace the worker, as after a change of the configuration; return when that is done.

        The old one takes no more connections, says good-bye on those that are
        idle, and ends when it has answered what it was asked.
        """
        old = self._look_again().pid
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + START_TIMEOUT
        while self._look_again().pid == old or not _is_ending(old):
            if time.monotonic() > deadline:
                msg = "nginx did not replace its worker"
                raise TimeoutError(msg)
            time.sleep(POLL)

    def _write_files(self, **options: object) -> None:
        config = CONFIG.format(
            user=user_line(),
            log_format=LOG_FORMAT,
            echo=ECHO,
            port=self.port,
            cert_file=self._certificates.server.cert_file,
            key_file=self._certificates.server.key_file,
            prefix=self._prefix,
            **options,
        )
        (self._prefix / "nginx.conf").write_text(config)
        (self._prefix / "bytes").write_bytes(bytes(range(256)) * (BYTES // 256))
        (self._prefix / "payload").write_bytes(PAYLOAD)
        (self._prefix / "access.log").touch()

    def _spawn(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        command = [self._binary, "-p", self._folder.name, "-c", "nginx.conf", "-e", "stderr"]
        with (self._prefix / "error.log").open("wb") as errors:
            return subprocess.Popen(
                [*dies_with_parent(), *command],
                env={**os.environ, "NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
                stderr=errors,
            )

    def _first_look(self) -> Mark:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return self._look()
            except OSError:  # it does not listen yet
                if self._process.poll() is not None or time.monotonic() > deadline:
                    errors = (self._prefix / "error.log").read_text()
                    self.stop()
                    msg = f"nginx did not start:\n{errors}"
                    raise RuntimeError(msg) from None
            time.sleep(POLL)

    def _look_again(self) -> Mark:
        """Look, and count the look: it is no connection of a client's."""
        mark = self._look()
        self._looks += 1
        return mark

    def _look(self) -> Mark:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_TIMEOUT)
            control.connect(str(self._prefix / "control"))
            control.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: control.recv(4096), b""))
        connection, active, pid = answer.split(b"\r\n\r\n")[1].split()
        return Mark(int(connection), int(active), int(pid), (self._prefix / "access.log").stat().st_size)

    def _read_log(self, mark: Mark) -> list[dict[str, str]]:
        with (self._prefix / "access.log").open("rb") as log:
            log.seek(self._since.log_size)
            lines = log.read(mark.log_size - self._since.log_size)
        return [json.loads(line) for line in lines.splitlines()]


def _seen_request(line: dict[str, str]) -> SeenRequest:
    return SeenRequest(
        method=line["method"],
        path=line["path"],
        http_version="2" if line["protocol"] == "HTTP/2.0" else line["protocol"].removeprefix("HTTP/"),
        client=line["client"],
        headers=tuple((name, line[name]) for name in LOGGED_HEADERS if line[name]),
    )


def _is_ending(worker: int) -> bool:
    """Tell whether a worker was told to end, or has ended; nginx writes it where `ps` looks."""
    try:
        return b"shutting down" in Path(f"/proc/{worker}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True


def user_line() -> str:
    """Keep the worker, which root's nginx would make somebody else, able to read our files."""
    if os.geteuid() != 0:
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
