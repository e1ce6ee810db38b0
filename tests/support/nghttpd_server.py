"""
A real nghttpd: HTTP/2 alone, by the library that nginx's and curl's peers use.

It serves /payload, a file; and with `echo` it sends each body back while it comes.
How many connections are open the kernel says; of what came on them it does not tell.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.certificates import Certificates
from tests.support.kernel import established, wait_for_port
from tests.support.payload import PAYLOAD
from tests.support.programs import dies_with_parent, end, find_program


class NghttpdServer:
    """
    nghttpd, a context manager.

    Args:
        tls: Else it speaks HTTP/2 in the clear.

        options: Of its command line.
    """

    def __init__(self, certificates: Certificates, *options: str, tls: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nghttpd-")
        (Path(self._folder.name) / "payload").write_bytes(PAYLOAD)
        files = [str(certificates.server.key_file), str(certificates.server.cert_file)]
        self._process = subprocess.Popen(
            [
                *dies_with_parent(),
                find_program("nghttpd"),
                "--address=127.0.0.1",
                f"--htdocs={self._folder.name}",
                *options,
                *([] if tls else ["--no-tls"]),
                "0",  # the port: the kernel chooses
                *(files if tls else []),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            self.port = wait_for_port(self._process.pid)
        except BaseException:
            self.stop()
            raise
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"

    def open_connections(self) -> int:
        """Count the connections that neither side has closed."""
        return established(self.port)

    def stop(self) -> None:
        """End nghttpd, and with it every connection. Safe to repeat."""
        self._process.terminate()
        end(self._process)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
