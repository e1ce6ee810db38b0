"""The counting server counts what happened, and fails as it is told."""

from __future__ import annotations

import asyncio
import socket
import threading

import httpx
import pytest

from tests.support.counting_server import Answer, Close, CountingServer


def test_counts_requests_and_connections(counting_server: CountingServer) -> None:
    """Each request is counted, with its method, body and connection."""
    for _ in range(2):
        with httpx.Client(base_url=counting_server.url, trust_env=False) as client:
            client.get("/a")
            client.post("/b", content=b"body")
            client.post("/c", content=iter([b"chunk", b"ed"]))
            client.head("/d")
    assert counting_server.connections == 2
    assert counting_server.processed("POST") == 4
    assert counting_server.per_connection() == {1: 4, 2: 4}
    assert [request.body for request in counting_server.requests[:4]] == [b"", b"body", b"chunked", b""]


def test_notices_that_a_client_left(counting_server: CountingServer) -> None:
    """A connection is open until its client closes it, and not longer."""
    counts = []
    with httpx.Client(base_url=counting_server.url, trust_env=False) as client:
        client.get("/")
        counts.append(counting_server.open_connections())
    counts.append(counting_server.open_connections())
    assert counts == [1, 0]


def test_counts_every_connection_made_before(counting_server: CountingServer) -> None:
    """A hundred connections are a hundred, as soon as they are open."""
    opened = [socket.create_connection(("127.0.0.1", counting_server.port)) for _ in range(100)]
    counts = [counting_server.connections, counting_server.open_connections()]
    for connection in opened:
        connection.close()
    assert [*counts, counting_server.open_connections()] == [100, 100, 0]


def test_closes_idle_connections(counting_server: CountingServer) -> None:
    """An idle connection is closed, a busy one is not."""
    counting_server.hold()
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.get(counting_server.url, trust_env=False).status_code)

    with httpx.Client(base_url=counting_server.url, trust_env=False):
        thread = threading.Thread(target=ask)
        thread.start()
        with socket.create_connection(("127.0.0.1", counting_server.port)):
            counting_server.wait_for(lambda server: len(server.requests) == 1)
            closed, still_open = counting_server.close_idle(), counting_server.open_connections()
        counting_server.release()
        thread.join()
    assert (closed, still_open, answers) == (1, 1, [200])


def test_a_request_counts_though_its_client_left(counting_server: CountingServer) -> None:
    """A POST that arrived was processed, whether or not its answer was awaited."""
    counting_server.hold()
    with (
        httpx.Client(base_url=counting_server.url, trust_env=False, timeout=0.1) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post("/", content=b"pay")
    assert counting_server.processed("POST") == 1
    counting_server.release()
    assert counting_server.open_connections() == 0


def test_delays_answers(counting_server: CountingServer) -> None:
    """Delayed answers come in the order of their delays, not of their requests."""
    counting_server.respond = lambda request: Answer(delay=float(request.path.strip("/")))
    finished: list[str] = []

    async def ask(client: httpx.AsyncClient, path: str) -> None:
        await client.get(path)
        finished.append(path)

    async def main() -> None:
        async with httpx.AsyncClient(base_url=counting_server.url, trust_env=False) as client:
            await asyncio.gather(ask(client, "/0.2"), ask(client, "/0.05"))

    asyncio.run(main())
    assert finished == ["/0.05", "/0.2"]


@pytest.mark.parametrize(
    ("close", "outcome"),
    [("instead", "RemoteProtocolError"), ("halfway", "RemoteProtocolError"), ("after", "200")],
)
def test_fails_as_told(counting_server: CountingServer, close: Close, outcome: str) -> None:
    """The server closes where it is told to: before, in, or after the answer."""
    counting_server.respond = lambda _: Answer(close=close)
    with httpx.Client(base_url=counting_server.url, trust_env=False) as client:
        try:
            found = str(client.get("/").status_code)
        except httpx.TransportError as error:
            found = type(error).__name__
        assert (found, counting_server.open_connections()) == (outcome, 0)
