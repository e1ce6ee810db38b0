"""Where a pool's proxy is, and how it is spoken to: the same for each way to dial."""

from __future__ import annotations

from typing import Final

import httpx

from pool_manager.config import PoolConfig, Proxy
from pool_manager.core.forwarding import forwards
from pool_manager.core.messages import TransportFailure
from pool_manager.core.tunnels import Tunnel, tunnel_through
from pool_manager.errors import ConfigError
from pool_manager.runtimes.addresses import Address, check_port, refused

# As httpcore has them.
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


def way_by(proxy: Proxy, address: Address) -> tuple[Address, Tunnel | None]:
    """
    Give where the proxy is, and the conversation that has it connect us to *address*.

    No conversation, where it passes on requests.

    Raises:
        TransportFailure: There is no such port; or a "ProxyError": SOCKS5 cannot say the address.
    """
    url = httpx.URL(proxy.url)
    there = Address(url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme])
    if forwards(proxy, address.scheme):
        return there, None
    check_port(address)
    return there, tunnel_through(proxy, address.host, address.port)


def out_of_reach(error: TransportFailure, address: Address) -> TransportFailure:
    """Say that it was the proxy to *address* that *error* is about."""
    return refused(f"{error}; it is the proxy to {address}")


def config_for(proxy: Proxy, config: PoolConfig) -> PoolConfig:
    """
    Say how TLS with the proxy itself is made, in a pool with *config*.

    As in httpx: by a context of its own, else it is verified by the usual CAs. What the pool holds for its
    targets, be it `verify=False` or a certificate of the client's, is not for the proxy.

    Raises:
        TransportFailure: "ConnectError": the environment names CAs that are not there.
    """
    # HTTP/1.1 is what we speak with it, whatever goes through the tunnel.
    if proxy.ssl_context is not None:
        return PoolConfig(http2=False, verify=proxy.ssl_context)
    plain = PoolConfig(http2=False, trust_store=config.trust_store, trust_env=config.trust_env)
    try:
        return plain.with_environment()
    except ConfigError as error:
        raise TransportFailure("ConnectError", f"no TLS context can be made: {error}") from error
