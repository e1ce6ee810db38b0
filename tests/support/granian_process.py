"""
The subprocess of `granian_server`: serves, obeys.

One argument, the `Options` as JSON; see `process_server` for the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import attrs
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP2Settings
from granian.server.embed import Server

from tests.support.app import App
from tests.support.kernel import established, wait_for_port
from tests.support.server import Seen

BACKLOG = 1024


@attrs.frozen(kw_only=True)
class Options:
    """
    What kind of server to run.

    Attributes:
        cert_file: PEM files; without them the server speaks in the clear.

        max_streams: HTTP/2 streams on one connection.
    """

    cert_file: str | None = None
    key_file: str | None = None
    max_streams: int = 100

    def server(self, app: App) -> Server:
        """Say the same to granian."""
        return Server(
            app,
            port=0,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            http2_settings=HTTP2Settings(max_concurrent_streams=self.max_streams),
            backlog=BACKLOG,
            log_enabled=False,
            ssl_cert=Path(self.cert_file) if self.cert_file else None,
            ssl_key=Path(self.key_file) if self.key_file else None,
        )


class Overseer:
    """Obeys the parent."""

    def __init__(self, app: App, server: Server, port: int) -> None:
        self._app = app
        self._server = server
        self._port = port

    def obey(self, order: str) -> object:
        """Carry out an order of the parent; give what to tell it."""
        return {"seen": self._seen, "reset": self._reset, "shut down": self._shut_down}[order]()

    def _seen(self) -> object:
        requests = self._app.recorder.requests()
        clients = len({request.client for request in requests})
        seen = Seen(connections=clients, handshakes=clients, requests=requests, open=established(self._port))
        return attrs.asdict(seen)

    def _shut_down(self) -> None:
        self._server.stop()  # type: ignore[no-untyped-call]  # granian says of no method what it returns

    def _reset(self) -> None:
        self._app.recorder.forget()


async def main(options: Options) -> None:
    """Serve until stdin ends; after an order to shut down go on obeying."""
    app = App()
    server = options.server(app)
    serving = asyncio.create_task(server.serve())
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    await asyncio.sleep(0)  # it listens as soon as it runs, or there is an error
    port = wait_for_port(os.getpid())
    overseer = Overseer(app, server, port)
    _say(port)
    while line := await orders.readline():
        _say(overseer.obey(json.loads(line)))
    serving.cancel()
    # The kernel closes the sockets. Nothing that a client left unfinished can hold this up.
    os._exit(0)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Options(**json.loads(sys.argv[1]))))
