"""The servers in processes of their own keep their promises: what they count is what happened."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Certificates
from tests.support.granian_server import GranianServer
from tests.support.h2o_server import H2oServer
from tests.support.hypercorn_server import HypercornServer
from tests.support.nghttpd_server import NghttpdServer
from tests.support.nginx_server import BYTES, NginxServer
from tests.support.payload import SHA256
from tests.support.server import Seen, Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["h2_server", "nginx_h2"])
def h2_peer(request: pytest.FixtureRequest) -> Server:
    """Give each server that speaks HTTP/2."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=["h2_server", "h1_server", "nginx_h2", "nginx_h1"])
def tls_peer(request: pytest.FixtureRequest) -> Server:
    """Give each server that speaks TLS."""
    server: Server = request.getfixturevalue(request.param)
    return server


def client_of(server: Server, *, http2: bool = False) -> httpx.Client:
    """Make a plain client that trusts the server and no environment."""
    verify = server.client_context()
    return httpx.Client(base_url=server.url, verify=verify, http2=http2, trust_env=False)


async def gather_echoes(server: Server, count: int) -> set[str]:
    """Send concurrent requests over one HTTP/2 client; give the versions spoken."""
    verify = server.client_context()
    async with httpx.AsyncClient(base_url=server.url, verify=verify, http2=True, trust_env=False) as client:
        answers = await asyncio.gather(*[client.get(f"/{number}/echo") for number in range(count)])
    assert {answer.status_code for answer in answers} == {200}
    return {answer.http_version for answer in answers}


def accepts(port: int) -> bool:
    """Tell whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:  # refused, or reset by one that ends just now
        return False
    return True


# Both kinds of server


def test_two_clients_are_two_connections(tls_peer: Server) -> None:
    """Two clients that share nothing are two connections and two handshakes."""
    for _ in range(2):
        with client_of(tls_peer) as client:
            assert client.get("/").json() == {"ok": True}
            client.get("/echo")
    seen = tls_peer.seen()
    assert (seen.connections, seen.handshakes) == (2, 2)
    assert sorted(seen.per_client.values()) == [2, 2]
    assert [(request.method, request.path, request.http_version) for request in seen.requests] == [
        ("GET", "/", "1.1"),
        ("GET", "/echo", "1.1"),
    ] * 2


def test_many_streams_are_one_connection(h2_peer: Server) -> None:
    """Twenty concurrent requests of one HTTP/2 client are one connection."""
    assert asyncio.run(gather_echoes(h2_peer, 20)) == {"HTTP/2"}
    seen = h2_peer.seen()
    assert (seen.connections, seen.handshakes, len(seen.requests)) == (1, 1, 20)
    assert {request.http_version for request in seen.requests} == {"2"}


def test_counts_a_connection_without_a_request(tls_peer: Server) -> None:
    """A connection counts as soon as it is open, though nothing was sent on it."""
    opened = [socket.create_connection(("127.0.0.1", tls_peer.port)) for _ in range(30)]
    seen = tls_peer.seen()
    for connection in opened:
        connection.close()
    assert (seen.connections, seen.handshakes, seen.requests) == (30, 0, ())


def test_looking_is_not_counted(tls_peer: Server) -> None:
    """Asking a server what it saw changes nothing of what it saw."""
    nothing = Seen(connections=0, handshakes=0, requests=(), open=0)
    tls_peer.wait_for(lambda seen: seen.open == 0)
    assert [tls_peer.seen() for _ in range(5)] == [nothing] * 5


def test_reset_keeps_connections_open(tls_peer: Server) -> None:
    """After a reset an old connection may serve, and is not counted again."""
    with client_of(tls_peer) as client:
        client.get("/")
        tls_peer.reset()
        client.get("/echo")
        seen = tls_peer.seen()
    assert (seen.connections, seen.handshakes) == (0, 0)
    assert [request.path for request in seen.requests] == ["/echo"]


def test_open_counts_live_connections(tls_peer: Server) -> None:
    """A connection is open until its client closes it."""
    tls_peer.wait_for(lambda seen: seen.open == 0)
    with client_of(tls_peer) as client:
        client.get("/")
        assert tls_peer.seen().open == 1
    tls_peer.wait_for(lambda seen: seen.open == 0)


def test_headers_are_seen(tls_peer: Server) -> None:
    """What a client says of itself is in the record."""
    with client_of(tls_peer) as client:
        client.get("/echo", headers={"Cookie": "a=1", "Authorization": "Bearer b"})
    (request,) = tls_peer.seen().requests
    assert (request.header("Cookie"), request.header("Authorization")) == ("a=1", "Bearer b")
    assert request.header("X-Not-Sent") is None


def test_only_our_authority_is_trusted(tls_peer: Server) -> None:
    """A client with the system's certificates refuses the server."""
    refused = httpx.Client(verify=ssl.create_default_context(), trust_env=False)
    with refused, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        refused.get(tls_peer.url)
    assert tls_peer.wait_for(lambda seen: seen.connections == 1).handshakes == 0


def test_wait_for_says_what_was_seen(h2_server: HypercornServer) -> None:
    """A condition that never holds ends in an error with the last record."""
    with pytest.raises(TimeoutError, match=r"Seen\(connections=0"):
        h2_server.wait_for(lambda seen: seen.connections == 1, timeout=0)


# hypercorn and its app


def test_starts_and_stops_quickly(certificates: Certificates) -> None:
    """A server is up in little time, stops at once, and may be stopped again."""
    begun = time.monotonic()
    server = HypercornServer(certificates)
    started = time.monotonic() - begun
    server.stop()
    server.stop()
    assert started < 5, "usually 0.4 s"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


ORPHANED = """
import pathlib, sys
from tests.support.certificates import Certificates
from tests.support.{module} import {kind}
server = {kind}(Certificates(pathlib.Path(sys.argv[1])){options})
print(server.port, flush=True)
input()
"""


@pytest.mark.parametrize(
    ("module", "kind", "options"),
    [
        ("hypercorn_server", "HypercornServer", ""),
        ("granian_server", "GranianServer", ""),
        ("nginx_server", "NginxServer", ""),
        ("h2o_server", "H2oServer", ", 'http://127.0.0.1:9'"),
        ("nghttpd_server", "NghttpdServer", ""),
    ],
)
def test_ends_with_its_parent(tmp_path: Path, module: str, kind: str, options: str) -> None:
    """A server whose parent was killed ends by itself."""
    script = ORPHANED.format(module=module, kind=kind, options=options)
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        accepted_before = accepts(port)
        parent.kill()
    deadline = time.monotonic() + 5
    while accepts(port) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (accepted_before, accepts(port)) == (True, False)


def test_echo_tells_the_whole_request(h2_server: HypercornServer) -> None:
    """The echo has method, path, query, version, headers, body and peer."""
    with client_of(h2_server, http2=True) as client:
        echo = client.post("/any/echo?a=1", content=b"body", headers={"X-Mine": "2"}).json()
    (seen,) = h2_server.seen().requests
    assert (echo["method"], echo["path"], echo["query"]) == ("POST", "/any/echo", "a=1")
    assert (echo["http_version"], echo["client"]) == ("2", seen.client)
    assert ["x-mine", "2"] in echo["headers"]
    assert (echo["body_length"], echo["body_sha256"]) == (4, hashlib.sha256(b"body").hexdigest())
    assert (seen.path, seen.body_sha256) == ("/any/echo?a=1", echo["body_sha256"])


def test_app_answers(plain_server: HypercornServer) -> None:
    """Each path of the app does what its table says."""
    with httpx.Client(base_url=plain_server.url, trust_env=False) as client:
        assert client.get("/bytes/1000").content == b"x" * 1000
        assert client.get("/stream/3/1").text == "chunk 0\nchunk 1\nchunk 2\n"
        assert client.get("/slow/1").json() == {"slept": 1}
        assert [client.get(f"/status/{code}").status_code for code in (204, 404, 503)] == [204, 404, 503]
        assert client.get("/cookies").json() == {"cookie": None}
        client.get("/cookies/set/a/1")
        assert client.get("/cookies").json() == {"cookie": "a=1"}
        assert client.get("/redirect/3", follow_redirects=True).json()["path"] == "/echo"
        assert client.get("/gzip").json() == {"gzipped": True}
        assert client.get("/sse").text.count("data: ") == 3
        assert client.get("/nowhere").status_code == 404
    seen = plain_server.seen()
    assert (seen.connections, seen.handshakes) == (1, 0)


def test_sends_a_stream_as_it_comes(h2_server: HypercornServer) -> None:
    """The first chunk arrives while the last is yet to be made."""
    with client_of(h2_server, http2=True) as client, client.stream("GET", "/stream/2/300") as answer:
        chunks = answer.iter_raw()
        first, at = next(chunks), time.monotonic()
        assert (first, next(chunks)) == (b"chunk 0\n", b"chunk 1\n")
        assert time.monotonic() - at > 0.1


def test_http_1_1_only_by_alpn(h1_server: HypercornServer) -> None:
    """A server that does not offer HTTP/2 is not spoken to in HTTP/2."""
    with client_of(h1_server, http2=True) as client:
        assert client.get("/").http_version == "HTTP/1.1"


def test_drops_connections(h2_server: HypercornServer) -> None:
    """Dropped connections end; the server takes new ones."""
    with client_of(h2_server) as client:
        client.get("/")
        h2_server.drop_connections()
        h2_server.wait_for(lambda seen: seen.open == 0)
        assert client.get("/").status_code == 200
    assert h2_server.seen().connections == 2


def test_asks_for_client_certificates(certificates: Certificates) -> None:
    """A server that wants client certificates takes ours and nobody else."""
    ours = certificates.client_context(certificates.client("me"))
    nobodys = certificates.client_context()
    with HypercornServer(certificates, client_certificates=True) as server:
        with httpx.Client(verify=ours, trust_env=False) as client:
            assert client.get(server.url).status_code == 200
        with httpx.Client(verify=nobodys, trust_env=False) as client, pytest.raises(httpx.TransportError):
            client.get(server.url)
        assert server.wait_for(lambda seen: seen.connections == 2).handshakes == 1


# nginx


def test_nginx_echoes_and_serves_a_file(nginx_h2: NginxServer) -> None:
    """The echo of nginx has cookie, credentials and connection; /bytes is a file."""
    with client_of(nginx_h2, http2=True) as client:
        echo = client.get("/x/echo?a=1", headers={"Cookie": "a=1", "Authorization": "Bearer b"}).json()
        assert len(client.get("/bytes").content) == BYTES
    assert (echo["cookie"], echo["authorization"]) == ("a=1", "Bearer b")
    assert (echo["path"], echo["query"]) == ("/x/echo", "a=1")
    assert echo["client"] == nginx_h2.seen().requests[0].client


def test_nginx_reloads(certificates: Certificates) -> None:
    """After a reload idle connections are closed, and counting goes on."""
    with NginxServer(certificates) as server, client_of(server) as client:
        client.get("/")
        server.reload()
        server.wait_for(lambda seen: seen.open == 0)
        client.get("/echo")
        assert server.seen().connections == 2


def test_missing_nginx_is_an_error(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nginx is missing the error says how to install it."""
    monkeypatch.setattr("shutil.which", lambda name, path: None)  # noqa: ARG005 - its signature
    with pytest.raises(RuntimeError, match="apt-get install -y nginx-light"):
        NginxServer(certificates)


# granian, h2o, nginx before an app, nghttpd


@pytest.mark.parametrize("name", ["granian", "h2o_app", "nginx_app"])
@pytest.mark.parametrize("http2", [False, True])
def test_counts_connections_with_requests(name: str, http2: bool, request: pytest.FixtureRequest) -> None:
    """Two clients are two connections; those that are open are known."""
    server: Server = request.getfixturevalue(name)
    with client_of(server, http2=http2) as ann, client_of(server, http2=http2) as bob:
        for client in (ann, bob):
            assert client.post("/app/echo", content=b"body").json()["body_length"] == 4
            assert hashlib.sha256(client.get("/app/payload").content).hexdigest() == SHA256
        seen = server.wait_for(lambda seen: len(seen.requests) == 4)
        assert (seen.connections, seen.handshakes, seen.open) == (2, 2, 2)
    assert sorted(seen.per_client.values()) == [2, 2]
    assert [(seen.method, seen.path) for seen in seen.requests] == [
        ("POST", "/app/echo"),
        ("GET", "/app/payload"),
    ] * 2
    assert {request.http_version for request in seen.requests} == {"2" if http2 else "1.1"}
    server.wait_for(lambda seen: seen.open == 0)


def test_h2o_restarts(certificates: Certificates, plain_server: HypercornServer) -> None:
    """After a restart somebody else listens on the same port, and the first one ends."""
    with H2oServer(certificates, plain_server.url, can_restart=True) as server:
        for _ in range(3):
            with client_of(server, http2=True) as client:
                assert client.get("/app/echo").status_code == 200
            server.restart()
        with client_of(server) as client:
            assert client.get("/app/echo").status_code == 200


def test_granian_shuts_down(certificates: Certificates) -> None:
    """Nobody listens any more; what was seen is known still."""
    with GranianServer(certificates) as server:
        with client_of(server) as client:
            client.get("/echo")
        server.shut_down()
        deadline = time.monotonic() + 5
        while accepts(server.port) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not accepts(server.port)
        assert [request.path for request in server.seen().requests] == ["/echo"]


def test_nghttpd_echoes(certificates: Certificates) -> None:
    """With `--echo-upload` a body comes back; without TLS as well."""
    for tls in (True, False):
        with (
            NghttpdServer(certificates, "--echo-upload", tls=tls) as server,
            httpx.Client(verify=certificates.client_context(), http1=False, http2=True) as client,
        ):
            assert client.post(server.url, content=b"body").content == b"body"
            assert server.open_connections() == 1
