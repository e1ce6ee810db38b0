"""The proxy remembers what went through it."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.proxy_server import ProxyServer, basic


def test_proxy_records_tunnels(proxy: ProxyServer, h2_server: HypercornServer) -> None:
    """A request to https:// goes through a tunnel that the proxy remembers."""
    verify = h2_server.client_context()
    with httpx.Client(proxy=proxy.url, verify=verify, http2=True, trust_env=False) as client:
        versions = [client.get(f"{h2_server.url}/echo").http_version for _ in range(2)]
    (asked,) = proxy.seen()
    assert versions == ["HTTP/2", "HTTP/2"]
    assert (asked.method, asked.target) == ("CONNECT", f"localhost:{h2_server.port}")
    assert (proxy.connections, h2_server.seen().connections) == (1, 1)


def test_proxy_forwards_absolute_requests(proxy: ProxyServer, plain_server: HypercornServer) -> None:
    """Requests to http:// are passed on, body and all, and answered."""
    url = f"{plain_server.url}/echo?a=1"
    with httpx.Client(proxy=proxy.url, trust_env=False) as client:
        echo = client.post(url, content=b"body").json()
        streamed = client.get(f"{plain_server.url}/stream/2/1").text
    assert (echo["query"], echo["body_length"], streamed) == ("a=1", 4, "chunk 0\nchunk 1\n")
    assert [asked.target for asked in proxy.seen()] == [url, f"{plain_server.url}/stream/2/1"]
    assert proxy.connections == 1


def test_proxy_wants_credentials(h2_server: HypercornServer) -> None:
    """Without the right credentials there is no tunnel; what was shown is recorded."""
    verify = h2_server.client_context()
    with ProxyServer(credentials=("me", "secret")) as proxy:
        right = httpx.Proxy(proxy.url, auth=("me", "secret"))
        with httpx.Client(proxy=right, verify=verify, trust_env=False) as client:
            assert client.get(h2_server.url).status_code == 200
        refused = httpx.Client(proxy=proxy.url, verify=verify, trust_env=False)
        with refused, pytest.raises(httpx.ProxyError):
            refused.get(h2_server.url)
        shown = [asked.proxy_authorization for asked in proxy.seen()]
    assert shown == [basic("me", "secret"), None]
    (request,) = h2_server.seen().requests
    assert request.header("proxy-authorization") is None


def test_proxy_over_tls(certificates: Certificates, h2_server: HypercornServer) -> None:
    """The proxy itself may be reached over TLS."""
    with ProxyServer(certificates=certificates) as proxy:
        way = httpx.Proxy(proxy.url, ssl_context=certificates.client_context())
        with httpx.Client(proxy=way, verify=h2_server.client_context(), trust_env=False) as client:
            assert client.get(h2_server.url).status_code == 200


def test_proxy_says_that_the_origin_is_unreachable(proxy: ProxyServer) -> None:
    """An origin that refuses is a 502."""
    with httpx.Client(proxy=proxy.url, trust_env=False) as client:
        with socket.create_server(("127.0.0.1", 0)) as once:
            port = once.getsockname()[1]
        assert client.get(f"http://127.0.0.1:{port}/").status_code == 502
