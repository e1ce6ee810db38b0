"""TLS: who is trusted, who we are, which protocol is spoken; contexts are built late, and once."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self, cast

import certifi
import httpx
import httpx2
import pytest
from cryptography.hazmat.primitives import serialization

import pool_manager.runtimes.tls as contexts
from pool_manager import ConfigError, PoolConfig, PoolManager
from tests.support.certificates import Certificates, hashed_directory
from tests.support.hypercorn_server import HypercornServer

LIBRARIES: Final = (httpx, httpx2)
REFUSED: Final = r"(?i)certificate.verify.failed"
THREADS: Final = 16
PATIENCE: Final = 10.0  # seconds; longer means that something is stuck


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin without a word of this machine's environment."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> ModuleType:
    """Give each library in turn."""
    return cast(ModuleType, request.param)


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of the default config."""
    with PoolManager() as manager:
        yield manager


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[PoolConfig]:
    """Give the configs for which a context was built, as they come."""
    built: list[PoolConfig] = []
    build = contexts._build  # noqa: SLF001 - counted, not changed

    def counted(config: PoolConfig) -> ssl.SSLContext:
        built.append(config)
        return build(config)

    monkeypatch.setattr(contexts, "_build", counted)
    return built


def get(manager: PoolManager, library: ModuleType, url: str, **kwargs: Any) -> httpx.Response:
    """GET *url* by a new client."""
    with manager.client(cast("type[httpx.Client]", library.Client), **kwargs) as client:
        return client.get(url)


def refused(manager: PoolManager, library: ModuleType, url: str, **kwargs: Any) -> bool:
    """Tell whether the certificate was refused, with the library's own error; fail on any other error."""
    try:
        get(manager, library, url, **kwargs)
    except library.ConnectError as error:
        assert type(error) is library.ConnectError  # noqa: PT017 - an answer either way
        assert "certificate verify failed" in str(error)  # noqa: PT017 - as above
        return True
    return False


# A server that looks at its client


class PeerServer:
    """HTTP/1.1 over TLS; answers with the names in the client's certificate, and notes the SNI it got."""

    def __init__(self, certificates: Certificates, *, demands: bool) -> None:
        context = certificates.server_context()
        if demands:
            context.load_verify_locations(certificates.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        self.names: list[str | None] = []  # one for each handshake
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave as they like
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = False  # joined when it closes
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.port: int = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE)
        self._server.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    """Says who asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the client's names and the number of its port."""
        peer = cast(ssl.SSLSocket, self.connection).getpeercert() or {}
        names = [value for _, value in cast("Any", peer.get("subjectAltName", ()))]
        body = ",".join(names).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-client", str(self.client_address[1]))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def peer_server(certificates: Certificates) -> Iterator[PeerServer]:
    """Give a server that demands a client certificate."""
    with PeerServer(certificates, demands=True) as server:
        yield server


# Who is trusted


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CERT_DIR of two"])
def test_the_environment_names_the_authorities(
    library: ModuleType, *, kind: str, variable: str, h2_server: HypercornServer, manager: PoolManager,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """What `SSL_CERT_FILE` or `SSL_CERT_DIR` names is trusted, by clients made from then on."""
    assert refused(manager, library, h2_server.url)
    folder = hashed_directory(h2_server.ca_file, tmp_path / "authorities")
    value = {"SSL_CERT_FILE": str(h2_server.ca_file), "SSL_CERT_DIR": folder}
    name = variable.partition(" ")[0]
    monkeypatch.setenv(name, value.get(variable, f"/no/such/folder:{folder}"))
    if kind == "Client":
        response = get(manager, library, h2_server.url)
    else:
        response = asyncio.run(_get_async(manager.client(library.AsyncClient), h2_server.url))
    assert response.json() == {"ok": True}


async def _get_async(client: httpx.AsyncClient, url: str) -> httpx.Response:
    async with client:
        return await client.get(url)


def test_a_file_goes_before_a_directory(
    library: ModuleType, h2_server: HypercornServer, manager: PoolManager, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Of both variables `SSL_CERT_FILE` counts, as in both libraries; an empty one does not."""
    monkeypatch.setenv("SSL_CERT_DIR", hashed_directory(h2_server.ca_file, tmp_path / "authorities"))
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert refused(manager, library, h2_server.url)
    monkeypatch.setenv("SSL_CERT_FILE", "")
    assert not refused(manager, library, h2_server.url)


@pytest.mark.parametrize("store", ["certifi", "system", "both"])
def test_trust_env_false_hears_no_environment(
    library: ModuleType, store: str, h2_server: HypercornServer, manager: PoolManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With `trust_env=False` the variables are not read, neither by us nor by OpenSSL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(h2_server.ca_file))
    config = PoolConfig(trust_store=cast(Any, store))
    assert refused(manager, library, h2_server.url, trust_env=False, config=config)
    assert not refused(manager, library, h2_server.url, config=config)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_that_names_nothing(
    library: ModuleType, variable: str, manager: PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that names no file is a `ConfigError` with its name, when the client is made."""
    monkeypatch.setenv(variable, "/no/such/place")
    with pytest.raises(ConfigError, match=rf"{variable}.*'/no/such/place'"):
        manager.client(library.Client)
    manager.client(library.Client, trust_env=False).close()
    manager.client(library.Client, verify=False).close()


@pytest.mark.parametrize("store", ["certifi", "system", "both"])
@pytest.mark.parametrize("known_to", ["certifi", "system"])
def test_trust_store_says_whom_to_trust(
    library: ModuleType, *, store: str, known_to: str, h2_server: HypercornServer, manager: PoolManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An authority in one store is trusted with that store and with both, not with the other."""
    if known_to == "certifi":
        monkeypatch.setattr(certifi, "where", lambda: str(h2_server.ca_file))
    else:
        paths = ssl.get_default_verify_paths()._replace(openssl_cafile=str(h2_server.ca_file))
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    config = PoolConfig(trust_store=cast(Any, store))
    assert refused(manager, library, h2_server.url, config=config) is (store not in {known_to, "both"})


@pytest.mark.parametrize("how", ["False", "path", "context"])
def test_verify_says_whom_to_trust(
    library: ModuleType, *, how: str, h2_server: HypercornServer, manager: PoolManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`verify=` False, a path or a context is what counts, whatever the environment says."""
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    verify = {"False": False, "path": str(h2_server.ca_file), "context": h2_server.client_context()}[how]
    assert get(manager, library, h2_server.url, verify=verify).http_version == "HTTP/2"


def test_other_trust_never_shares(h2_server: HypercornServer, manager: PoolManager) -> None:
    """A client that verifies never uses the connection of one that does not, or that trusts others."""
    kinds: list[Any] = [False, str(h2_server.ca_file), h2_server.client_context(), h2_server.client_context()]
    with contextlib.ExitStack() as clients:
        for verify in kinds * 2:
            clients.enter_context(manager.client(verify=verify)).get(h2_server.url)
        with pytest.raises(httpx.ConnectError, match=REFUSED):
            clients.enter_context(manager.client()).get(h2_server.url)
        assert sorted(h2_server.seen().per_client.values()) == [2, 2, 2, 2]
        assert len(manager.stats().pools) == 5


def test_authorities_that_cannot_be_read(
    library: ModuleType, manager: PoolManager, h2_server: HypercornServer, tmp_path: Path
) -> None:
    """A CA file that holds none is the library's `ConnectError`, and the pool serves others."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nobody")
    with manager.client(library.Client, verify=str(nonsense)) as client:
        with pytest.raises(library.ConnectError):
            client.get(h2_server.url)
        (pool,) = manager.stats().pools
        assert (pool.in_flight, pool.waiting) == (0, 0)


# Who we are


def test_a_client_certificate_arrives(
    library: ModuleType,
    peer_server: PeerServer,
    certificates: Certificates,
    manager: PoolManager,
    tmp_path: Path,
) -> None:
    """`cert=` shows the client to a server that demands it: two files, one, or with a password."""
    ann = certificates.client("ann")
    key = serialization.load_pem_private_key(ann.key_file.read_bytes(), None)
    locked, both = tmp_path / "locked.key", tmp_path / "both.pem"
    encryption = serialization.BestAvailableEncryption(b"hunter2")
    locked.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    both.write_bytes(ann.cert_file.read_bytes() + ann.key_file.read_bytes())
    verify, cert_file = str(certificates.ca_file), str(ann.cert_file)
    for cert in ((cert_file, str(ann.key_file)), str(both), (cert_file, str(locked), "hunter2")):
        assert get(manager, library, peer_server.url, verify=verify, cert=cert).text == "ann@example.org"
    with pytest.raises(library.TransportError, match=r"(?i)certificate.required"):
        get(manager, library, peer_server.url, verify=verify)


def test_client_certificates_are_never_shared(
    library: ModuleType, peer_server: PeerServer, certificates: Certificates, manager: PoolManager
) -> None:
    """Clients of two certificates alternate, and each is known by its own, on its own connection."""
    verify = str(certificates.ca_file)
    seen: dict[str, set[str]] = {}
    with contextlib.ExitStack() as clients:
        pair = {}
        for name in ("ann", "bob"):
            files = certificates.client(name)
            cert = (str(files.cert_file), str(files.key_file))
            pair[name] = clients.enter_context(manager.client(library.Client, verify=verify, cert=cert))
        for name in ("ann", "bob", "ann", "bob"):
            response = pair[name].get(peer_server.url)
            assert response.text == f"{name}@example.org"
            seen.setdefault(name, set()).add(response.headers["x-client"])
    assert [len(ports) for ports in seen.values()] == [1, 1]
    assert seen["ann"] != seen["bob"]


# The name that is asked for


@pytest.mark.parametrize("earlier", [True, False], ids=["shared before", "alone"])
def test_sni_hostname_is_honoured(
    library: ModuleType, certificates: Certificates, manager: PoolManager, *, earlier: bool
) -> None:
    """The `sni_hostname` is what the server hears and is checked for, also where a connection is there."""
    verify = str(certificates.ca_file)
    with (
        PeerServer(certificates, demands=False) as server,
        manager.client(library.Client, verify=verify) as first,
        manager.client(library.Client, verify=verify) as second,
    ):
        if earlier:
            first.get(server.url)
        second.get(server.url, extensions={"sni_hostname": "localhost"})
        with pytest.raises(library.ConnectError, match=REFUSED):
            second.get(server.url, extensions={"sni_hostname": "other.example"})
        assert server.names == [None] * earlier + ["localhost", "other.example"]
        manager.close()


# Contexts are built late, and once


def test_contexts_are_built_at_the_first_need(
    library: ModuleType, builds: list[PoolConfig], h2_server: HypercornServer, plain_server: HypercornServer,
    manager: PoolManager,
) -> None:  # fmt: skip
    """Neither making a client nor an http:// request builds a context; the first https:// request does."""
    with manager.client(library.Client, verify=str(h2_server.ca_file)) as client:
        client.get(plain_server.url)
        assert builds == []
        client.get(h2_server.url)
        client.get(h2_server.url)
        assert len(builds) == 1


def test_contexts_are_built_once_for_each_config(
    builds: list[PoolConfig], h2_server: HypercornServer, manager: PoolManager
) -> None:
    """Pools of all kinds, one after the other and in new loops, use one context for one setting."""
    verify = str(h2_server.ca_file)
    for library in LIBRARIES:
        for options in ({}, {"shared": False}, {"limits": library.Limits()}, {"local_address": "127.0.0.1"}):
            get(manager, library, h2_server.url, verify=verify, **options)
            client = manager.client(library.AsyncClient, verify=verify, **options)
            asyncio.run(_get_async(client, h2_server.url))
    assert len(builds) == 1
    get(manager, httpx, h2_server.url, verify=False)
    get(manager, httpx2, h2_server.url, verify=False)
    get(manager, httpx, h2_server.url, verify=h2_server.client_context())
    assert [config.verify for config in builds] == [verify, False]


def test_threads_build_one_context(
    h2_server: HypercornServer, manager: PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen threads with pools of their own need the same context at once, and one builds it."""
    build, begun, twice = contexts._build, [], threading.Event()  # noqa: SLF001 - counted, not changed

    def slow(config: PoolConfig) -> ssl.SSLContext:
        begun.append(config)
        if len(begun) > 1:
            twice.set()
        twice.wait(0.3)  # the others come now, if they come at all
        return build(config)

    monkeypatch.setattr(contexts, "_build", slow)
    barrier = threading.Barrier(THREADS)

    def request(_: int) -> int:
        with manager.client(verify=str(h2_server.ca_file), shared=False) as client:
            barrier.wait(PATIENCE)
            return client.get(h2_server.url).status_code

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(request, range(THREADS))) == [200] * THREADS
    assert len(begun) == 1
