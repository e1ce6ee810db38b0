"""
granian with `tests.support.app`, in a process of its own: hyper's HTTP, in Rust.

How it counts: granian does not tell whom it accepts. A connection counts when a
request came on it, and so does its handshake; which are open the kernel says.
"""

from __future__ import annotations

import attrs

from tests.support.certificates import Certificates
from tests.support.granian_process import Options
from tests.support.process_server import ProcessServer


class GranianServer(ProcessServer):
    """The parent's side; see `Options` for what may be said."""

    def __init__(self, certificates: Certificates, *, max_streams: int = 100) -> None:
        options = Options(
            cert_file=str(certificates.server.cert_file),
            key_file=str(certificates.server.key_file),
            max_streams=max_streams,
        )
        super().__init__(certificates, "tests.support.granian_process", attrs.asdict(options))

    def shut_down(self) -> None:
        """Listen no more, finish what was begun, close what is idle; and do not wait for it."""
        self.order("shut down")
