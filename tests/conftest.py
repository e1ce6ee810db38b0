"""
Fixtures: servers that count, and a check that no test leaves anything behind.

The servers in subprocesses live as long as the session and are `reset` for each
test that names them. They hold no socket of this process, and so are never
mistaken for a leak.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from tests.support.certificates import Certificates
from tests.support.counting_server import CountingServer
from tests.support.granian_server import GranianServer
from tests.support.h2o_server import H2oServer
from tests.support.hypercorn_server import HypercornServer
from tests.support.leaks import Standing, set_aside
from tests.support.nginx_server import NginxServer
from tests.support.proxy_server import ProxyServer

# A run of 300 examples once missed a starvation bug that 1,000 found.
hypothesis.settings.register_profile("dev", max_examples=100, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=1_000, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=20_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# The names of today's semantic conventions; read once in a process, by whichever test comes first.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

FAILED = pytest.StashKey[bool]()


def pytest_sessionfinish() -> None:
    """Let the collector find, and pytest complain about, what was lost unclosed after it was set aside."""
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test failed, for the leak check."""
    report = yield
    item.stash[FAILED] = report.failed or item.stash.get(FAILED, False)
    return report


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Fail a test that leaves a socket, a thread or a pending task behind.

    It is set up before the fixtures of the test itself and so looks again after
    they are gone. A test that failed is left alone: its traceback holds on to
    whatever the test had open.
    """
    set_aside()
    before = Standing.now()
    yield
    if not request.node.stash.get(FAILED, False):
        left = before.left_since()
        assert not left, "the test left behind:\n  " + "\n  ".join(left)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Give certificates that only these tests trust."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def h2_server_process(certificates: Certificates) -> Iterator[HypercornServer]:
    """Run the process behind `h2_server`."""
    with HypercornServer(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def h1_server_process(certificates: Certificates) -> Iterator[HypercornServer]:
    """Run the process behind `h1_server`."""
    with HypercornServer(certificates, alpn=("http/1.1",)) as server:
        yield server


@pytest.fixture(scope="session")
def plain_server_process(certificates: Certificates) -> Iterator[HypercornServer]:
    """Run the process behind `plain_server`."""
    with HypercornServer(certificates, tls=False) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_h2_process(certificates: Certificates) -> Iterator[NginxServer]:
    """Run the process behind `nginx_h2`."""
    with NginxServer(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_h1_process(certificates: Certificates) -> Iterator[NginxServer]:
    """Run the process behind `nginx_h1`."""
    with NginxServer(certificates, http2=False) as server:
        yield server


@pytest.fixture(scope="session")
def nginx_app_process(
    certificates: Certificates, plain_server_process: HypercornServer
) -> Iterator[NginxServer]:
    """Run the process behind `nginx_app`."""
    with NginxServer(certificates, backend=plain_server_process.url) as server:
        yield server


@pytest.fixture(scope="session")
def h2o_app_process(certificates: Certificates, plain_server_process: HypercornServer) -> Iterator[H2oServer]:
    """Run the process behind `h2o_app`."""
    with H2oServer(certificates, plain_server_process.url) as server:
        yield server


@pytest.fixture(scope="session")
def granian_process(certificates: Certificates) -> Iterator[GranianServer]:
    """Run the process behind `granian`."""
    with GranianServer(certificates) as server:
        yield server


@pytest.fixture
def h2_server(h2_server_process: HypercornServer) -> HypercornServer:
    """Give hypercorn over TLS, HTTP/2 preferred, counting from zero."""
    h2_server_process.reset()
    return h2_server_process


@pytest.fixture
def h1_server(h1_server_process: HypercornServer) -> HypercornServer:
    """Give hypercorn over TLS, HTTP/1.1 only, counting from zero."""
    h1_server_process.reset()
    return h1_server_process


@pytest.fixture
def plain_server(plain_server_process: HypercornServer) -> HypercornServer:
    """Give hypercorn in the clear, counting from zero."""
    plain_server_process.reset()
    return plain_server_process


@pytest.fixture
def nginx_h2(nginx_h2_process: NginxServer) -> NginxServer:
    """Give nginx over TLS with HTTP/2, counting from zero."""
    nginx_h2_process.reset()
    return nginx_h2_process


@pytest.fixture
def nginx_h1(nginx_h1_process: NginxServer) -> NginxServer:
    """Give nginx over TLS without HTTP/2, counting from zero."""
    nginx_h1_process.reset()
    return nginx_h1_process


@pytest.fixture
def nginx_app(nginx_app_process: NginxServer, plain_server: HypercornServer) -> NginxServer:
    """Give nginx over TLS with HTTP/2 before `plain_server`, counting from zero."""
    assert plain_server.port
    nginx_app_process.reset()
    return nginx_app_process


@pytest.fixture
def h2o_app(h2o_app_process: H2oServer, plain_server: HypercornServer) -> H2oServer:
    """Give h2o over TLS with HTTP/2 before `plain_server`, counting from zero."""
    assert plain_server.port
    h2o_app_process.reset()
    return h2o_app_process


@pytest.fixture
def granian(granian_process: GranianServer) -> GranianServer:
    """Give granian over TLS with HTTP/2, counting from zero."""
    granian_process.reset()
    return granian_process


@pytest.fixture
def counting_server() -> Iterator[CountingServer]:
    """Give an HTTP/1.1 server of this test's own, in the clear."""
    with CountingServer() as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    """Give a forward proxy of this test's own, without credentials."""
    with ProxyServer() as server:
        yield server
