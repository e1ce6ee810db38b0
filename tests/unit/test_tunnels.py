"""The conversation with a proxy: CONNECT and SOCKS5, however the bytes are cut."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Generator, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import Proxy
from pool_manager.core.http1 import MAX_HEAD
from pool_manager.core.messages import TransportFailure
from pool_manager.core.tunnels import Tunnel, tunnel_through

HTTP = Proxy.parse("http://proxy:3128")
SOCKS = Proxy.parse("socks5://proxy")
KNOWN = Proxy.parse("socks5h://us%20er:p%40ss@proxy")

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
REPLIES = {
    "IPv4": b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90",
    "IPv6": b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x1f\x90",
    "a name": b"\x05\x00\x00\x03\x05proxy\x1f\x90",
    "no name": b"\x05\x00\x00\x03\x00\x00\x00",
}
ASKED = b"\x05\x01\x00\x03\x07example\x01\xbb"


def hold(tunnel: Tunnel, answers: Sequence[bytes]) -> list[bytes]:
    """Hold the conversation, reading as much as is wanted; give what was said in turn."""
    said = [tunnel.start()]
    for answer in answers:
        rest = answer
        while rest:
            assert tunnel.wants > 0
            part, rest = rest[: tunnel.wants], rest[tunnel.wants :]
            if data := tunnel.receive(part):
                said.append(data)
    return said


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Give *data* in two parts, everywhere, and byte by byte."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


def refusal(tunnel: Tunnel, *answers: bytes) -> str:
    """Hold the conversation in vain; give the words of its ProxyError."""
    with pytest.raises(TransportFailure) as caught:
        hold(tunnel, answers)
    assert caught.value.kind == "ProxyError"
    assert not tunnel.is_open
    return str(caught.value)


# CONNECT


@pytest.mark.parametrize(
    ("host", "port", "target"),
    [("example", 443, "example:443"), ("::1", 8443, "[::1]:8443"), ("127.0.0.1", 80, "127.0.0.1:80")],
)
def test_connect_names_the_target(host: str, port: int, target: str) -> None:
    """The request has the target in authority form, with its port, and the same as Host (RFC 9110, 9.3.6)."""
    said = tunnel_through(HTTP, host, port).start().decode()
    assert said == f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nAccept: */*\r\n\r\n"


def test_connect_tells_the_proxy_who_we_are() -> None:
    """Credentials and headers of the proxy's are sent, and headers stand in the place of our own."""
    headers = ((b"X-Tenant", b"a"), (b"accept", b"text/html"))
    proxy = Proxy(url="http://proxy", auth=(b"user", b"word"), headers=headers)
    lines = tunnel_through(proxy, "example", 443).start().split(b"\r\n")
    assert lines[1:5] == [
        b"Host: example:443",
        b"Proxy-Authorization: Basic dXNlcjp3b3Jk",
        b"X-Tenant: a",
        b"accept: text/html",
    ]


def test_a_header_for_the_proxy_beats_the_credentials() -> None:
    """A Proxy-Authorization among the proxy's headers is the only one there is."""
    mine = (b"proxy-authorization", b"Bearer x")
    proxy = Proxy(url="http://proxy", auth=(b"user", b"word"), headers=(mine,))
    said = tunnel_through(proxy, "example", 443).start().lower()
    assert said.count(b"proxy-authorization") == 1
    assert b"bearer x" in said


@pytest.mark.parametrize(
    "answer",
    [
        CONNECTED,
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + CONNECTED,
    ],
)
def test_any_success_opens_the_tunnel(answer: bytes) -> None:
    """Any 2xx is an open tunnel, whatever framing it claims, and however it is cut."""
    for parts in ([answer], *cuts(answer)):
        tunnel = tunnel_through(HTTP, "example", 443)
        assert len(hold(tunnel, parts[:-1])) == 1
        assert not tunnel.is_open
        assert tunnel.receive(parts[-1]) == b""
        assert tunnel.is_open


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"HTTP/1.1 503 \r\nContent-Length: 4\r\n\r\nbusy", "503 "),
        (b"HTTP/1.1 302 Gef\xfcnden\r\nLocation: http://portal/\r\n\r\n", "302 Gefnden"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\n\r\n", "403 No"),
    ],
)
def test_a_refusal_is_told_as_httpx_does(answer: bytes, words: str) -> None:
    """A status other than 2xx is a ProxyError: status and reason, without what is no ASCII."""
    assert refusal(tunnel_through(HTTP, "example", 443), answer) == words
    for parts in cuts(answer):
        assert refusal(tunnel_through(HTTP, "example", 443), *parts) == words


@pytest.mark.parametrize(
    "rubbish",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
        b"HTTP/1.1 103 Hints\r\n\r\n" * (MAX_HEAD // 20),
    ],
    ids=lambda rubbish: repr(rubbish[:30]),
)
def test_rubbish_is_no_tunnel(rubbish: bytes) -> None:
    """What is no HTTP/1.1, or longer than any head, or goes on for ever, is a ProxyError."""
    words = refusal(tunnel_through(HTTP, "example", 443), rubbish)
    assert words.startswith("the proxy broke the rules of HTTP: ")


def test_nothing_may_follow_the_answer() -> None:
    """Bytes behind the head are not passed on as the target's: it was not spoken to yet."""
    assert "more" in refusal(tunnel_through(HTTP, "example", 443), CONNECTED + b"\x16")


@pytest.mark.parametrize("host", ["exam ple", "b\u00fccher", "a\r\nX: y"])
def test_a_host_that_cannot_be_sent_is_refused(host: str) -> None:
    """What would be read as something else is never written."""
    with pytest.raises(TransportFailure) as caught:
        tunnel_through(HTTP, host, 443).start()
    assert caught.value.kind == "LocalProtocolError"


# SOCKS5


@pytest.mark.parametrize("kind", REPLIES)
def test_socks_connects(kind: str) -> None:
    """The proxy is asked by name, and no byte behind its reply is read, however it is cut."""
    reply = REPLIES[kind]
    for parts in ([reply], *cuts(reply)):
        tunnel = tunnel_through(SOCKS, "example", 443)
        assert hold(tunnel, [b"\x05", b"\x00", *parts]) == [b"\x05\x01\x00", ASKED]
        assert tunnel.is_open
        assert tunnel.wants == 0


def test_socks_signs_in() -> None:
    """With credentials they are the one way that is offered, and are sent as they are (RFC 1929)."""
    tunnel = tunnel_through(KNOWN, "example", 443)
    said = hold(tunnel, [b"\x05\x02", b"\x01", b"\x00", REPLIES["IPv4"]])
    assert said == [b"\x05\x01\x02", b"\x01\x05us er\x04p@ss", ASKED]
    assert tunnel.is_open


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", b"\x01\x7f\x00\x00\x01"), ("::1", b"\x04" + bytes(15) + b"\x01"), ("x.y", b"\x03\x03x.y")],
)
def test_socks_has_addresses_of_each_kind(host: str, address: bytes) -> None:
    """A literal is sent as an address, a name as a name, for the proxy to look up."""
    said = hold(tunnel_through(SOCKS, host, 80), [b"\x05\x00"])
    assert said[1] == b"\x05\x01\x00" + address + b"\x00\x50"


OFFERED = {SOCKS: "NO AUTHENTICATION REQUIRED", KNOWN: "USERNAME/PASSWORD"}
METHODS = [
    (SOCKS, b"\xff", "NO ACCEPTABLE METHODS"),
    (KNOWN, b"\x00", "NO AUTHENTICATION REQUIRED"),
    (KNOWN, b"\x77", "UNKNOWN"),
]
REFUSALS = [
    *((proxy, b"\x05" + method, f"Requested {OFFERED[proxy]} from proxy server, but got {responded}.")
      for proxy, method, responded in METHODS),
    (KNOWN, b"\x05\x02\x01\x01", "Invalid username/password"),
    (SOCKS, b"\x05\x00\x05\x05\x00\x01\x00", "Proxy Server could not connect: Connection refused."),
    (SOCKS, b"\x05\x00\x05\x04\x00\x01\x00", "Proxy Server could not connect: Host unreachable."),
    (SOCKS, b"\x05\x00\x05\x63\x00\x01\x00", "Proxy Server could not connect: UNKNOWN."),
    (SOCKS, b"HT", "the proxy does not speak SOCKS5"),
    (SOCKS, b"\x05\x00\x04\x00\x00\x01\x00", "the proxy does not speak SOCKS5"),
    (SOCKS, b"\x05\x00\x05\x00\x00\x09\x00", "the proxy broke the rules of SOCKS5: no address"),
]  # fmt: skip


@pytest.mark.parametrize(("proxy", "answer", "words"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_refusal_of_socks_is_told_as_httpx_does(proxy: Proxy, answer: bytes, words: str) -> None:
    """Whatever the proxy says no to, or says wrong, is a ProxyError, and told without the rest of a reply."""
    for parts in ([answer], *cuts(answer)):
        assert refusal(tunnel_through(proxy, "example", 443), *parts) == words


def test_nobody_reads_more_than_is_wanted() -> None:
    """Bytes beyond what was wanted would be the target's: there is no such tunnel."""
    tunnel = tunnel_through(SOCKS, "example", 443)
    tunnel.start()
    with pytest.raises(TransportFailure, match="more than"):
        tunnel.receive(b"\x05\x00\x05")


@pytest.mark.parametrize("auth", [(b"u" * 256, b""), (b"", b"w" * 256)])
def test_socks_has_no_room_for_long_credentials(auth: tuple[bytes, bytes]) -> None:
    """A user or a password of more than 255 bytes is refused, and not shown."""
    proxy = Proxy(url="socks5://proxy", auth=auth)
    with pytest.raises(TransportFailure, match="no room") as caught:
        tunnel_through(proxy, "example", 443)
    assert caught.value.kind == "ProxyError"
    assert "uu" not in str(caught.value)
    assert "ww" not in str(caught.value)


def test_socks_has_no_room_for_a_long_host() -> None:
    """A host of more than 255 bytes is refused."""
    with pytest.raises(TransportFailure, match="no room") as caught:
        tunnel_through(SOCKS, "h" * 256, 443)
    assert caught.value.kind == "ProxyError"


# Both


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        (HTTP, b""),
        (HTTP, b"HTTP/1.1 200 OK\r\n"),
        (SOCKS, b""),
        (SOCKS, b"\x05"),
        (SOCKS, b"\x05\x00\x05\x00\x00"),
    ],
)
def test_a_proxy_that_hangs_up_is_an_error(proxy: Proxy, said: bytes) -> None:
    """The end of the connection, at once or in the middle, is a ProxyError."""
    tunnel = tunnel_through(proxy, "example", 443)
    hold(tunnel, [said])
    with pytest.raises(TransportFailure, match="hung up") as caught:
        tunnel.receive(b"")
    assert caught.value.kind == "ProxyError"


@given(st.sampled_from([HTTP, SOCKS, KNOWN]), st.binary(max_size=64), st.integers())
def test_no_rubbish_breaks_it(proxy: Proxy, data: bytes, seed: int) -> None:
    """Whatever a proxy sends, it is read in bounds, or ends in a ProxyError and in no other."""
    tunnel, rng = tunnel_through(proxy, "example", 443), random.Random(seed)
    start = rng.choice([b"", b"\x05\x00", b"\x05\x02\x01\x00", b"\x05\x00\x05\x00\x00\x03", b"HTTP/1.1 200 "])
    tunnel.start()
    left = start + data
    with contextlib.suppress(Broken):
        while left and not tunnel.is_open:
            part, left = left[: tunnel.wants], left[tunnel.wants :]
            assert part, "who is not done wants something"
            with blamed_on_the_proxy():
                tunnel.receive(part)


class Broken(Exception):
    """The proxy was found out."""


@contextlib.contextmanager
def blamed_on_the_proxy() -> Generator[None]:
    """Let pass no error but a ProxyError."""
    try:
        yield
    except TransportFailure as failure:
        if failure.kind == "ProxyError":
            raise Broken from failure
        raise


def test_socksio_is_imported_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTTP proxy needs no `socksio`."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    tunnel_through(HTTP, "example", 443)
    with pytest.raises(ImportError):
        tunnel_through(SOCKS, "example", 443)
