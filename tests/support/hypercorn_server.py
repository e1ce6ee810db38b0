"""
hypercorn with `tests.support.app`, in a process of its own.

How it counts: the listening socket is ours, and hypercorn is only handed what
was accepted. A connection counts when `accept` returns it, a handshake when
asyncio says that TLS is set up. Before the server answers "seen" it accepts all
that the kernel holds ready, so a connection that a client has opened is always
in the answer, even if not one byte was sent on it.
"""

from __future__ import annotations

import attrs

from tests.support.certificates import Certificates
from tests.support.hypercorn_process import Options
from tests.support.process_server import ProcessServer


class HypercornServer(ProcessServer):
    """The parent's side; see `Options` for what may be said."""

    def __init__(
        self,
        certificates: Certificates,
        *,
        tls: bool = True,
        alpn: tuple[str, ...] = ("h2", "http/1.1"),
        client_certificates: bool = False,
        max_streams: int = 100,
        idle_timeout: float = 300.0,
    ) -> None:
        options = Options(
            cert_file=str(certificates.server.cert_file) if tls else None,
            key_file=str(certificates.server.key_file) if tls else None,
            client_ca_file=str(certificates.ca_file) if client_certificates else None,
            alpn=alpn,
            max_streams=max_streams,
            idle_timeout=idle_timeout,
        )
        super().__init__(certificates, "tests.support.hypercorn_process", attrs.asdict(options))

    def drop_connections(self) -> None:
        """Cut every connection, as a server does that is restarted; keep listening."""
        self.order("drop")
