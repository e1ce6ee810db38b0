"""Requests as a proxy wants them that passes them on itself."""

from __future__ import annotations

import attrs
import pytest

from pool_manager import PoolConfig, Proxy
from pool_manager.core.forwarding import forwarded, forwards, is_forwarded
from pool_manager.core.http1_requests import request_head
from pool_manager.core.messages import Request
from pool_manager.core.origins import OriginKey, Speaks
from pool_manager.core.protocols import Protocols, offered_to
from tests.support.http1 import request

PROXY = Proxy(url="http://proxy:3128", auth=(b"user", b"word"), headers=((b"X-Tenant", b"a"),))
TARGETS = [
    ("example", None, b"/a?b=c", b"http://example/a?b=c"),
    ("example", 8080, b"/", b"http://example:8080/"),
    ("::1", 8080, b"/a%20b", b"http://[::1]:8080/a%20b"),
    ("example", 80, b"*", b"http://example:80"),
    ("example", None, b"http://other/x", b"http://other/x"),
    ("example", None, b"other:443", b"other:443"),
]


def to(scheme: str, target: bytes = b"/", host: str = "example", port: int | None = None) -> Request:
    """Make a request."""
    return attrs.evolve(request("GET"), scheme=scheme, host=host, port=port, target=target)


@pytest.mark.parametrize(("host", "port", "target", "wanted"), TARGETS)
def test_the_target_is_the_whole_url(host: str, port: int | None, target: bytes, wanted: bytes) -> None:
    """A proxy is told the URL, byte for byte; what the caller wrote for it is left alone (RFC 9112, 3.2)."""
    assert forwarded(to("http", target, host, port), PROXY).target == wanted


def test_the_proxys_headers_go_along() -> None:
    """Who we are, and the proxy's own headers, are sent with each request; the request's own win."""
    asked = to("http")
    asked.headers = [*asked.headers, (b"x-tenant", b"mine")]
    head = request_head(forwarded(asked, PROXY)).data
    assert head.startswith(b"GET http://example/ HTTP/1.1\r\nHost: ")
    assert b"\r\nProxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in head
    assert head.lower().count(b"x-tenant") == 1
    assert b"x-tenant: mine" in head


def test_the_callers_request_is_left_as_it_was() -> None:
    """A proxy's credentials are not in the request that the caller has."""
    asked = to("http")
    before = attrs.asdict(asked)
    forwarded(asked, PROXY)
    assert attrs.asdict(asked) == before


@pytest.mark.parametrize(
    ("url", "scheme", "passed_on"),
    [
        ("http://proxy", "http", True), ("https://proxy", "http", True), ("socks5://proxy", "http", False),
        ("socks5h://proxy", "http", False), ("http://proxy", "https", False), ("http://proxy", "ws", False),
        ("https://proxy", "wss", False),
    ],
)  # fmt: skip
def test_what_is_tunnelled_is_left_alone(url: str, scheme: str, *, passed_on: bool) -> None:
    """An HTTP proxy passes on what is http://; WebSockets, https and all of SOCKS take a tunnel."""
    asked, proxy = to(scheme), Proxy.parse(url)
    assert forwards(proxy, scheme) is passed_on
    assert not forwards(None, scheme)
    assert (forwarded(asked, proxy) is asked) is not passed_on
    assert is_forwarded(forwarded(asked, proxy)) is passed_on


@pytest.mark.parametrize("http1", [True, False])
def test_proxies_pass_on_http1(*, http1: bool) -> None:
    """A proxy that passes on is spoken to in HTTP/1.1, also with prior knowledge; SOCKS hides nothing."""
    key = OriginKey("http", "example", 80, None, "default")
    by_http = Protocols(PoolConfig(http1=http1, proxy=Proxy.parse("http://proxy")))
    by_socks = Protocols(PoolConfig(http1=http1, proxy=Proxy.parse("socks5://proxy")))
    assert by_http.recall(key)[0] is Speaks.HTTP1
    assert by_socks.recall(key)[0] is (Speaks.HTTP1 if http1 else Speaks.HTTP2)


@pytest.mark.parametrize(
    ("scheme", "http1", "http2", "offered"),
    [
        ("wss", True, True, False),
        ("https", True, True, True),
        ("wss", False, True, True),
        ("wss", True, False, False),
    ],
)
def test_websockets_are_offered_http1(scheme: str, http1: bool, http2: bool, offered: bool) -> None:
    """HTTP/2 is not offered to a server of WebSockets, unless nothing else is allowed."""
    config = PoolConfig(http1=http1, http2=http2)
    assert offered_to(scheme, config).http2 is offered
    assert offered_to(scheme, config).http1 is http1
