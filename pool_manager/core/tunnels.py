"""
The conversation with a proxy until it has connected us, and no I/O: CONNECT, or SOCKS5.

    data = tunnel.start()
    while not tunnel.is_open:
        write(data)
        data = tunnel.receive(read(tunnel.wants))

Rule 1: not a byte of the target's is taken for the proxy's. Whoever reads takes no more than is wanted, and
what nobody asked for closes the connection: in all that is spoken through a tunnel it is our turn first.
Rule 2: where the proxy refuses, the error is in the words of httpx: users look for them.
Rule 3: SOCKS5 hands names on; it is the proxy that looks them up, as with CONNECT.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from pool_manager.config import Proxy
from pool_manager.core.forwarding import authority, overridden, proxy_headers
from pool_manager.core.http1 import Event, Head, Http1Connection, Switched
from pool_manager.core.messages import Request, TransportFailure

# An answer to CONNECT comes in one piece, as a rule.
_RECEIVE: Final = 16 * 1024

_MAX_NAME: Final = 255  # RFC 1928, 5, and RFC 1929, 2: one byte tells the length


def tunnel_through(proxy: Proxy, host: str, port: int) -> Tunnel:
    """
    Begin the conversation that makes *proxy* connect to *host* and *port*.

    Raises:
        TransportFailure: "ProxyError": SOCKS5 cannot say it.
    """
    if proxy.url.startswith("socks"):
        return Socks5Tunnel(host, port, proxy.auth)
    return ConnectTunnel(host, port, proxy)


class Tunnel(ABC):
    """
    The conversation about one connection.

    Attributes:
        wants: How many bytes may be read now, at most.

        is_open: The proxy has connected us; what follows is between us and the target.
    """

    wants: int
    is_open: bool

    @abstractmethod
    def start(self) -> bytes:
        """
        Give what is to be written first.

        Raises:
            TransportFailure: "LocalProtocolError": the target, or a header for the proxy, cannot be sent.
        """

    def receive(self, data: bytes) -> bytes:
        """
        Take what came; give what is to be written next, which may be nothing.

        Args:
            data: As it was read; nothing, if the proxy hung up.

        Raises:
            TransportFailure: "ProxyError": it refused, hung up, or broke the rules.
        """
        if not data:
            raise proxy_error("the proxy hung up without an answer")
        return self._take(data)

    @abstractmethod
    def _take(self, data: bytes) -> bytes: ...


def proxy_error(message: str) -> TransportFailure:
    """Blame the proxy."""
    return TransportFailure("ProxyError", message)


class ConnectTunnel(Tunnel):
    """A tunnel through an HTTP proxy (RFC 9110, 9.3.6)."""

    def __init__(self, host: str, port: int, proxy: Proxy) -> None:
        target = authority(host, port)
        self._http = Http1Connection()
        self._request = Request(
            method="CONNECT",
            scheme="http",
            host=host,
            port=port,
            target=target,
            headers=overridden([(b"Host", target), (b"Accept", b"*/*")], proxy_headers(proxy)),
            body=b"",
            timeouts={},
            lane="",
            lease="",
            extensions={},
        )
        self.wants = _RECEIVE
        self.is_open = False

    def start(self) -> bytes:
        """Give the request."""
        return self._http.start(self._request) + self._http.end_of_body()

    def _take(self, data: bytes) -> bytes:
        try:
            events = self._http.receive(data)
        except TransportFailure as error:
            raise proxy_error(f"the proxy broke the rules of HTTP: {error}") from error
        for event in events:
            self._heed(event)
        return b""

    def _heed(self, event: Event) -> None:
        if isinstance(event, Switched):
            if event.data:
                raise proxy_error("the proxy said more than that it has connected us")
            self.is_open = True
        elif isinstance(event, Head) and not 200 <= event.status < 300:  # noqa: PLR2004
            raise proxy_error(f"{event.status} {event.reason.decode('ascii', 'ignore')}")


_METHODS: Final = {
    b"\x00": "NO AUTHENTICATION REQUIRED",
    b"\x01": "GSSAPI",
    b"\x02": "USERNAME/PASSWORD",
    b"\xff": "NO ACCEPTABLE METHODS",
}

_REPLIES: Final = {
    b"\x00": "Succeeded",
    b"\x01": "General SOCKS server failure",
    b"\x02": "Connection not allowed by ruleset",
    b"\x03": "Network unreachable",
    b"\x04": "Host unreachable",
    b"\x05": "Connection refused",
    b"\x06": "TTL expired",
    b"\x07": "Command not supported",
    b"\x08": "Address type not supported",
}

# RFC 1928, 6: where an address of each type ends, and the reply with it; a name tells its own length.
_ENDS: Final = {1: 4 + 4 + 2, 4: 4 + 16 + 2}
_NAME: Final = 3


class Socks5Tunnel(Tunnel):
    """A tunnel through a SOCKS5 proxy (RFC 1928 and 1929), its messages made by `socksio`."""

    def __init__(self, host: str, port: int, auth: tuple[bytes, bytes] | None) -> None:
        from socksio import socks5  # noqa: PLC0415 - an extra of httpx's; who has such a proxy has it

        if auth is not None and any(len(part) > _MAX_NAME for part in auth):
            raise proxy_error(f"SOCKS5 has no room for a user or password of more than {_MAX_NAME} bytes")
        if len(host.encode()) > _MAX_NAME:
            raise proxy_error(f"SOCKS5 has no room for a host of more than {_MAX_NAME} bytes")
        self._auth = auth
        self._socks5 = socks5
        self._command = socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (host, port))
        self._held = b""
        self._next: Callable[[bytes], bytes] = self._take_method
        self.wants = 2
        self.is_open = False

    def start(self) -> bytes:
        """Give the one way to say who we are."""
        methods = self._socks5.SOCKS5AuthMethod
        self._method = methods.NO_AUTH_REQUIRED if self._auth is None else methods.USERNAME_PASSWORD
        return self._socks5.SOCKS5AuthMethodsRequest([self._method]).dumps()

    def _take(self, data: bytes) -> bytes:
        if len(data) > self.wants:
            raise proxy_error("the proxy said more than SOCKS5 has it say")
        self._held += data
        self.wants -= len(data)
        return b"" if self.wants else self._next(self._held)

    def _take_method(self, data: bytes) -> bytes:
        if data[0] != 5:  # noqa: PLR2004 - socksio does not look
            raise proxy_error("the proxy does not speak SOCKS5")
        if data[1:] != self._method.value:
            requested, responded = (_METHODS.get(method, "UNKNOWN") for method in (self._method, data[1:]))
            raise proxy_error(f"Requested {requested} from proxy server, but got {responded}.")
        if self._auth is None:
            return self._ask()
        self._expect(2, self._take_verdict)
        return self._socks5.SOCKS5UsernamePasswordRequest(*self._auth).dumps()

    def _take_verdict(self, data: bytes) -> bytes:
        if not self._socks5.SOCKS5UsernamePasswordReply.loads(data).success:
            raise proxy_error("Invalid username/password")
        return self._ask()

    def _ask(self) -> bytes:
        self._expect(5, self._take_beginning)
        return self._command.dumps()

    def _take_beginning(self, data: bytes) -> bytes:
        """Know from the first bytes of the reply how many there will be, and whether they matter."""
        if data[0] != 5:  # noqa: PLR2004
            raise proxy_error("the proxy does not speak SOCKS5")
        if data[1]:
            reply = _REPLIES.get(data[1:2], "UNKNOWN")
            raise proxy_error(f"Proxy Server could not connect: {reply}.")
        end = 4 + 1 + data[4] + 2 if data[3] == _NAME else _ENDS.get(data[3])
        if end is None:
            raise proxy_error("the proxy broke the rules of SOCKS5: no address")
        self.wants, self._next = end - len(data), self._take_end
        return b""

    def _take_end(self, _: bytes) -> bytes:
        # Where the proxy connects from is of no use to anybody, and not all know how to write it.
        self.is_open = True
        return b""

    def _expect(self, size: int, then: Callable[[bytes], bytes]) -> None:
        self._held, self.wants, self._next = b"", size, then
