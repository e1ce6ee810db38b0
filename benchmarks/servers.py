"""
The server: one nginx worker on a core of its own.

HTTP/1.1 is measured in the clear, so that it is the client that is measured and
not OpenSSL; HTTP/2 over TLS, since that is how clients come to speak it. Small
answers are written by nginx itself (`return`), the long one is a file in the
page cache. An upload is read to its end, into memory, before it is answered:
nginx proxies it to itself without the body. Long polls wait in a process behind
nginx (`holding`), so that a server in Python speaks neither HTTP/2 nor TLS here,
and answers nothing but polls.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import attrs
import certifi

from tests.support.certificates import Certificates
from tests.support.nginx_server import user_line
from tests.support.programs import dies_with_parent, find_program

MIB = 1 << 20
LONG = 16 * MIB  # bytes of a long body
HUGE = 100_000_000  # of one that is poured
LINE = 125_000_000  # bytes a second: a line of 1 Gbit/s, which transfers share
TRANSFERS = 8
BODY = b'{"id":"bench","ok":true,"value":1234567890}'  # 43 bytes
LIST = '{"object":"list","data":[]}'  # as OpenAI's API writes one; other SDKs see an empty one, too
START_TIMEOUT = 15.0
BACKLOG = 4096

CONFIG = """\
daemon off;
{user}
worker_processes 1;
{affinity}
worker_rlimit_nofile {files};
pid nginx.pid;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    access_log off;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    sendfile on;
    client_max_body_size 64m;
    client_body_buffer_size {buffer};

    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl http2;
        ssl_certificate {cert_file};
        ssl_certificate_key {key_file};
        root {prefix};

        location / {{ return 200 '{body}'; }}
        location ~ ^(/openai)?/v1/(models|blueprints)$ {{ return 200 '{models}'; }}
        location = /long {{ default_type application/octet-stream; }}
        location = /huge {{ default_type application/octet-stream; }}
        location = /line/huge {{ alias {prefix}/huge; limit_rate {line}; sendfile_max_chunk 64k; }}
        location = /sink {{
            proxy_pass http://unix:{prefix}/answer;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
        location = /hold {{ proxy_pass http://unix:{prefix}/hold; }}
    }}
    server {{ listen unix:{prefix}/answer; location / {{ return 200 '{body}'; }} }}
    server {{ listen unix:{prefix}/status; location / {{ stub_status; }} }}
}}
"""


@attrs.frozen(kw_only=True)
class Address:
    """
    Where the server is, for a process that is told by JSON.

    Attributes:
        plain: ``http://...``: HTTP/1.1.

        tls: ``https://...``: HTTP/2, or HTTP/1.1 for who does not offer it.

        ca_file: Whom to trust there.
    """

    plain: str
    tls: str
    ca_file: str


class Server:
    """A running nginx, and `holding` behind it."""

    def __init__(self, address: Address, status: Path) -> None:
        self.address = address
        self._status = status
        self._looks = 0

    def accepted(self) -> int:
        """Count the connections that clients opened, ever."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_TIMEOUT)
            control.connect(str(self._status))
            control.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: control.recv(4096), b""))
        self._looks += 1
        found = re.search(rb"^ *(\d+) \d+ \d+", answer, re.MULTILINE)
        assert found is not None, answer
        return int(found[1]) - self._looks


@contextlib.contextmanager
def running(core: int | None) -> Generator[Server]:
    """
    Run the server on *core*, or wherever the system puts it if None.

    Raises:
        RuntimeError: nginx is not there, or did not start; the message says why.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as plain,
        socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as tls,
    ):
        prefix = Path(folder)
        plain_port, tls_port = (listener.getsockname()[1] for listener in (plain, tls))
        certificates = Certificates(prefix)
        address = Address(
            plain=f"http://127.0.0.1:{plain_port}",
            tls=f"https://127.0.0.1:{tls_port}",
            ca_file=str(_bundle(prefix, certificates)),
        )
        _write_files(prefix, certificates, plain_port, tls_port, core)
        holding = [sys.executable, "-m", "benchmarks.holding", str(prefix / "hold"), str(core)]
        with _process(holding), _nginx(prefix, plain, tls) as nginx:
            server = Server(address, prefix / "status")
            _wait_until_up(server, nginx, prefix)
            yield server


def _bundle(prefix: Path, certificates: Certificates) -> Path:
    """Write whom to trust: us, and whom clients trust by default, since reading those takes its time."""
    bundle = prefix / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + certificates.ca_file.read_bytes())
    return bundle


def version() -> str:
    """Give nginx's own version."""
    told = subprocess.run([find_program("nginx"), "-v"], capture_output=True, text=True, check=True)  # noqa: S603 - found by us
    return told.stderr.strip().rpartition("/")[2]


def _write_files(prefix: Path, certificates: Certificates, plain: int, tls: int, core: int | None) -> None:
    files = _most_files()
    config = CONFIG.format(
        user=user_line(),
        # A bit for each core, the first one rightmost.
        affinity="" if core is None else f"worker_cpu_affinity 1{'0' * core};",
        files=files,
        connections=files // 2,
        buffer=LONG + MIB,
        plain=plain,
        tls=tls,
        cert_file=certificates.server.cert_file,
        key_file=certificates.server.key_file,
        prefix=prefix,
        body=BODY.decode(),
        models=LIST,
        line=LINE // TRANSFERS,
    )
    (prefix / "nginx.conf").write_text(config)
    (prefix / "long").write_bytes(os.urandom(MIB) * (LONG // MIB))
    with (prefix / "huge").open("wb") as huge:
        huge.truncate(HUGE)  # a hole: it takes no room, and is as long to send


def _most_files() -> int:
    """How many files a process may have open here."""
    import resource  # noqa: PLC0415 - Unix only, as is the rest of this server

    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 16)


@contextlib.contextmanager
def _nginx(prefix: Path, *listeners: socket.socket) -> Generator[subprocess.Popen[bytes]]:
    for listener in listeners:
        listener.settimeout(0)  # nginx takes it for granted of a socket it inherits
    # The ports are never free: nginx inherits them, by its own means for replacing its binary.
    inherited = tuple(listener.fileno() for listener in listeners)
    env = {**os.environ, "NGINX": "".join(f"{number};" for number in inherited)}
    command = [find_program("nginx"), "-p", str(prefix), "-c", "nginx.conf", "-e", "stderr"]
    with (
        (prefix / "error.log").open("wb") as errors,
        _process(command, env=env, pass_fds=inherited, stderr=errors) as process,
    ):
        yield process


@contextlib.contextmanager
def _process(command: list[str], **options: object) -> Generator[subprocess.Popen[bytes]]:
    """Run a command that ends with the block, and with us."""
    command = [*dies_with_parent(), *command]
    # Each caller knows its options; what we run is ours.
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()  # never kill: nginx's worker would live on
        process.wait()


def _wait_until_up(server: Server, nginx: subprocess.Popen[bytes], prefix: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            server.accepted()
            socket.create_connection(("127.0.0.1", int(server.address.plain.rpartition(":")[2]))).close()
            with socket.socket(socket.AF_UNIX) as hold:
                hold.connect(str(prefix / "hold"))
        except OSError:  # one of them does not listen yet
            if nginx.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx: {(prefix / 'error.log').read_text()}") from None
        else:
            return
        time.sleep(0.01)
