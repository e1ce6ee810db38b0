"""
Real proxies: tinyproxy, which passes on and tunnels, and microsocks, which speaks SOCKS5.

How many connections clients have open with them the kernel says; what was asked of them is in their logs.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.kernel import established, wait_for_port
from tests.support.programs import dies_with_parent, end, find_program

TINYPROXY = """\
Listen 127.0.0.1
Port {port}
Timeout 60
MaxClients 200
LogLevel Connect
LogFile "{folder}/log"
DisableViaHeader Yes
{auth}
"""
ATTEMPTS = 5


class RealProxy:
    """A proxy in a process of its own, a context manager. Subclasses start it, and set `port` and `url`."""

    port: int
    url: str
    _process: subprocess.Popen[bytes]

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="proxy-")
        self._log = Path(self._folder.name) / "log"

    def open_connections(self) -> int:
        """Count the connections of clients that neither side has closed."""
        return established(self.port)

    def log(self) -> str:
        """Give what it has written so far; what it is doing just now may be missing."""
        return self._log.read_text()

    def stop(self) -> None:
        """End the proxy, and with it every connection. Safe to repeat."""
        self._process.terminate()
        end(self._process)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Tinyproxy(RealProxy):
    """
    A forward proxy.

    Args:
        credentials: The only user and password to be let through.
    """

    def __init__(self, credentials: tuple[str, str] | None = None) -> None:
        super().__init__()
        auth = "" if credentials is None else "BasicAuth {} {}".format(*credentials)
        config = Path(self._folder.name) / "config"
        for attempt in range(ATTEMPTS):
            # It takes no port of the kernel's choice: one that was free just now may be gone.
            with socket.create_server(("127.0.0.1", 0)) as free:
                port: int = free.getsockname()[1]
            config.write_text(TINYPROXY.format(port=port, folder=self._folder.name, auth=auth))
            command = [*dies_with_parent(), find_program("tinyproxy"), "-d", "-c", str(config)]
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                self.port = wait_for_port(self._process.pid)
                break
            except BaseException as error:
                end(self._process, 0)
                if attempt + 1 == ATTEMPTS or not isinstance(error, OSError):
                    self.stop()
                    raise
        self.url = f"http://127.0.0.1:{self.port}"


class Microsocks(RealProxy):
    """
    A SOCKS5 proxy.

    Args:
        credentials: The only user and password to be let through.
    """

    def __init__(self, credentials: tuple[str, str] | None = None) -> None:
        super().__init__()
        auth = [] if credentials is None else ["-u", credentials[0], "-P", credentials[1]]
        command = [*dies_with_parent(), find_program("microsocks"), "-i", "127.0.0.1", "-p", "0", *auth]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self.port = wait_for_port(self._process.pid)
        except BaseException:
            self.stop()
            raise
        self.url = f"socks5://127.0.0.1:{self.port}"
