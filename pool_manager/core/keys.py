"""Who may share a connection with whom (rule 1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pool_manager.core.messages import Request, TransportFailure, names_of
from pool_manager.core.origins import OriginKey

# RFC 9110, 4.2, and RFC 6455, 3.
PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def key_of(request: Request) -> OriginKey:
    """
    Say who may share a connection with *request*.

    Raises:
        TransportFailure: "UnsupportedProtocol": nobody, as it is not HTTP. "LocalProtocolError": its
            `sni_hostname` is not a name.
    """
    scheme, server_name = request.scheme, request.extensions.get("sni_hostname")
    if server_name is not None and not isinstance(server_name, str):
        server_name = _text(server_name)
    if scheme == "https" and b"upgrade" in names_of(request.headers):
        scheme = "wss"  # it can be answered over HTTP/1.1 alone (RFC 9113, 8.6)
    return _key(scheme, request.host, request.port, server_name, request.lane)


@lru_cache(maxsize=1024)
def _key(scheme: str, host: str, port: int | None, server_name: str | None, lane: str) -> OriginKey:
    default = PORTS.get(scheme)
    if default is None:
        raise TransportFailure(
            "UnsupportedProtocol", f"Request URL has an unsupported protocol {scheme + '://'!r}."
        )
    return OriginKey(scheme, host, default if port is None else port, server_name, lane)


def _text(server_name: object) -> str:
    if isinstance(server_name, bytes) and server_name.isascii():
        return server_name.decode("ascii")
    raise TransportFailure("LocalProtocolError", f"sni_hostname must be a string, not {server_name!r}")
