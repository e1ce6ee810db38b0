"""The scripted servers keep their own promises: they do what the story says, and note what the client did."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.errors
import h2.events
import httpx
import pytest
from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame

from tests.support.certificates import Certificates
from tests.support.scripted import Gate, Over, ScriptedServer
from tests.support.scripted_http1 import CONTINUE, OK, Http1Peer, ScriptedHttp1
from tests.support.scripted_http2 import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    WINDOW,
    Http2Peer,
    ScriptedHttp2,
    raw_frame,
)

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST /pay HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nmine"

E = TypeVar("E", bound=h2.events.Event)


@contextmanager
def connected(
    server: ScriptedServer[Any], certificates: Certificates | None = None
) -> Iterator[socket.socket]:
    """Open a connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        # Else a small write waits in here until the one before it was acknowledged.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if certificates is None:
            yield connection
        else:
            context = certificates.client_context()
            context.set_alpn_protocols(["h2", "http/1.1"])
            with context.wrap_socket(connection, server_hostname="localhost") as encrypted:
                yield encrypted


def received(connection: socket.socket) -> bytes:
    """Read to the end of the connection."""
    data = b""
    while more := connection.recv(65536):
        data += more
    return data


class Http2Client:
    """The h2 library on a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.flush()

    def flush(self) -> None:
        """Send what h2 has to say."""
        self.socket.sendall(self.h2.data_to_send())

    def request(self, method: str = "GET", body: bytes = b"", *, end: bool = True) -> int:
        """Send a request; give its stream."""
        stream = self.h2.get_next_available_stream_id()
        pseudo = {":method": method, ":scheme": "http", ":authority": "localhost", ":path": "/pay"}
        self.h2.send_headers(stream, [*pseudo.items(), ("x-case", "self")], end_stream=end and not body)
        if body:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def want(self, kind: type[E], stream: int | None = None) -> E:
        """Give the next event of one kind that was not given yet."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in {None, getattr(event, "stream_id", None)}:
                    self.events.remove(event)
                    return event
            data = self.socket.recv(65536)
            assert data, f"the server left before {kind.__name__}"
            self.events += self.h2.receive_data(data)
            self.flush()

    def body(self, stream: int) -> bytes:
        """Read an answer to its end, and give credit for it."""
        data = b""
        while True:
            event = self.want(h2.events.Event, stream)
            if isinstance(event, h2.events.DataReceived):
                data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                self.flush()
            if isinstance(event, h2.events.StreamEnded):
                return data


@contextmanager
def http2_client(*stories: Callable[[Http2Peer], None]) -> Iterator[tuple[ScriptedHttp2, Http2Client]]:
    """Give a server of these stories, and a client on its first connection."""
    with ScriptedHttp2(*stories) as server, connected(server) as connection:
        yield server, Http2Client(connection)


# Both


def test_without_a_story_http1_behaves() -> None:
    """A server without a story answers, keeps its connection, and a plain client is content."""
    with ScriptedHttp1() as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        assert ["ok", "ok"] == [client.post("/", content=b"body").text for _ in range(2)]
        assert "" == client.head("/").text
        assert (1, 2) == (server.connections, server.processed("POST"))


def test_without_a_story_http2_behaves() -> None:
    """So does HTTP/2."""
    with (
        ScriptedHttp2() as server,
        httpx.Client(base_url=server.url, trust_env=False, http1=False, http2=True) as client,
    ):
        assert ["ok", "ok"] == [client.post("/", content=b"x" * 100_000).text for _ in range(2)]
        assert [100_000] * 2 == [len(request.body) for request in server.requests]
        assert (1, 2) == (server.connections, server.processed("POST"))


@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])
def test_speaks_tls(kind: type[ScriptedHttp1 | ScriptedHttp2], certificates: Certificates) -> None:
    """With certificates it speaks TLS, and chooses its protocol by ALPN."""
    with (
        kind(certificates=certificates) as server,
        httpx.Client(verify=certificates.client_context(), http2=True, trust_env=False) as client,
    ):
        answer = client.post(server.url, content=b"x" * 100_000)
        assert ("ok", server.ALPN[0]) == (
            answer.text,
            {"HTTP/1.1": "http/1.1"}.get(answer.http_version, "h2"),
        )
        assert 1 == server.open_connections
    assert "not" not in {peer.ended for peer in server.peers}


def test_connections_get_their_stories_in_order() -> None:
    """The first connection gets the first story, and where none is left the server behaves."""
    with ScriptedHttp1(lambda peer: peer.close(), lambda peer: peer.send(b"hello")) as server:
        with connected(server) as first:
            assert b"" == received(first)
        with connected(server) as second:
            assert b"hello" == second.recv(5)
        with connected(server) as third:
            third.sendall(GET)
            assert OK == third.recv(len(OK))
        assert ["by us", "FIN", "FIN"] == [
            peer.ended for peer in server.peers if server.open_connections == 0
        ]


def test_what_was_done_before_a_question_is_in_the_answer() -> None:
    """Two hundred requests, each sent without awaiting anything: each is counted at once."""
    with ScriptedHttp1(lambda peer: peer.listen()) as server, connected(server) as connection:
        for count in range(1, 201):
            connection.sendall(POST)
            assert count == server.processed("POST")


def test_connections_made_before_a_question_count() -> None:
    """So are connections, opened and closed."""
    with ScriptedHttp1() as server:
        for count in range(1, 51):
            with connected(server):
                assert (count, 1) == (server.connections, server.open_connections)
            assert 0 == server.open_connections


def test_a_story_that_fails_fails_the_test() -> None:
    """What a story raises comes out of the `with`, or as a note of what the test itself raised."""

    def wrong(peer: Http1Peer) -> None:
        assert peer.read_request().method == "POST"

    def ask(server: ScriptedHttp1) -> None:
        with connected(server) as connection:
            connection.sendall(GET)
            assert b"" == received(connection)

    with pytest.raises(AssertionError, match="GET"), ScriptedHttp1(wrong) as server:
        ask(server)
    with pytest.raises(ZeroDivisionError) as caught, ScriptedHttp1(wrong) as server:
        ask(server) or 1 / 0
    assert "AssertionError" in caught.value.__notes__[0]
    with pytest.raises(ExceptionGroup, match="stories"), ScriptedHttp1(wrong, wrong) as server:
        ask(server) or ask(server)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(lambda peer: peer.read_request(), id="reading"),
        pytest.param(lambda peer: peer.wait(Gate()), id="waiting"),
        pytest.param(lambda peer: peer.send(b"x" * 50_000_000), id="sending"),
    ],
)
@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])
def test_stopping_ends_every_wait(kind: Any, story: Callable[[Any], None]) -> None:
    """`stop` ends a story wherever it waits, with the threads; a second `stop` does nothing."""
    before = threading.active_count()
    with kind(story) as server, connected(server):
        assert 1 == server.open_connections
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1
        server.stop()
        assert before == threading.active_count()
        assert ["by us"] == [peer.ended for peer in server.peers]


def test_a_gate_holds_a_story() -> None:
    """A story that waits for a gate reads nothing until it is open; a question does not wait for it."""
    gate = Gate()

    def story(peer: Http1Peer) -> None:
        peer.wait(gate)

    with ScriptedHttp1(story) as server, connected(server) as connection:
        connection.sendall(GET)
        assert () == server.requests
        gate.open()
        assert 1 == len(server.requests)  # what is asked from now on waits for the story to go on
        assert OK == connection.recv(len(OK))


@pytest.mark.parametrize("kind", [ScriptedHttp1, ScriptedHttp2], ids=["h1", "h2"])
def test_notes_how_a_client_left(kind: Any) -> None:
    """FIN and RST are told apart."""
    with kind() as server:
        for ending in ("FIN", "RST"):
            with connected(server) as connection:
                assert 1 == server.open_connections
                if kind is ScriptedHttp2:
                    connection.recv(9)  # its SETTINGS: to leave them unread is to send RST
                if ending == "RST":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert 0 == server.open_connections
            assert ending == server.peers[-1].ended


# HTTP/1.1


def test_reads_a_body_by_its_framing() -> None:
    """A body with a length and a chunked one are read to their ends, and what follows is the next request."""
    chunked = (
        b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n"
    )
    with ScriptedHttp1() as server, connected(server) as connection:
        connection.sendall(POST + chunked + GET)
        assert OK * 3 == b"".join(connection.recv(len(OK)) for _ in range(3))
        seen = [(request.method, request.target, bytes(request.body)) for request in server.requests]
        assert [("POST", "/pay", b"mine"), ("POST", "/c", b"abcde"), ("GET", "/", b"")] == seen
        assert {1: 3} == server.per_connection()


def test_a_request_without_its_end_is_not_processed() -> None:
    """Half of a body is noted, and counted as nothing."""
    with ScriptedHttp1() as server, connected(server) as connection:
        connection.sendall(POST[:-2])
        (request,) = server.requests
        assert (False, 0) == (request.is_complete, server.processed("POST"))
        assert "4" == request.header("Content-Length")
        assert request.header("x-none") is None
        connection.sendall(POST[-2:])
        assert 1 == server.processed("POST")


@pytest.mark.parametrize(
    ("story", "sent"),
    [
        pytest.param(lambda peer: peer.close(), b"", id="at-once"),
        pytest.param(lambda peer: [peer.read_head(), peer.close()], b"", id="before-the-head"),
        pytest.param(lambda peer: [peer.send(OK[:9]), peer.close()], OK[:9], id="in-the-head"),
        pytest.param(lambda peer: [peer.send(OK), peer.half_close()], OK, id="half"),
        pytest.param(lambda peer: [peer.send(OK + b"more"), peer.close()], OK + b"more", id="after-too-much"),
        pytest.param(lambda peer: [peer.trickle(CONTINUE + OK), peer.close()], CONTINUE + OK, id="trickled"),
    ],
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_closes_as_told(
    story: Callable[[Http1Peer], None], sent: bytes, tls: bool, certificates: Certificates
) -> None:
    """The client receives these bytes and then FIN, whatever it has sent that nobody reads."""
    known = certificates if tls else None

    def closing(peer: Http1Peer) -> None:
        peer.read_exactly(1)
        story(peer)

    with ScriptedHttp1(closing, certificates=known) as server:
        with connected(server, known) as connection:
            connection.sendall(b"!" + POST)
            assert sent == received(connection)
        assert 0 == server.open_connections


def test_closes_without_a_reset_though_it_has_not_read_all() -> None:
    """What nobody reads makes the kernel send RST, and so it is read."""
    gate = Gate()

    def story(peer: Http1Peer) -> None:
        peer.wait(gate)
        peer.send(OK)
        peer.close()

    with ScriptedHttp1(story) as server, connected(server) as connection:
        connection.sendall(POST)
        gate.open()
        assert OK == received(connection)


@pytest.mark.parametrize("sent", [b"", OK[:9], OK])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_resets_as_told(sent: bytes, tls: bool, certificates: Certificates) -> None:
    """The client receives these bytes and then RST."""
    known = certificates if tls else None
    now = Gate()  # a RST takes along what is still unread

    def resetting(peer: Http1Peer) -> None:
        peer.read_request()
        peer.send(sent)
        peer.wait(now)
        peer.reset()

    with ScriptedHttp1(resetting, certificates=known) as server, connected(server, known) as connection:
        connection.sendall(POST)
        assert sent == b"".join(connection.recv(1) for _ in sent)
        now.open()
        try:
            left = received(connection)
        except ConnectionResetError:
            left = None
        # Over TLS, Python 3.11 reads a reset as an end without a word.
        assert left is None or (tls and sys.version_info < (3, 12) and left == b"")


def test_reads_on_after_half_a_close() -> None:
    """After its FIN the server still notes what the client sends."""

    def story(peer: Http1Peer) -> None:
        peer.half_close()
        peer.listen()

    with ScriptedHttp1(story) as server, connected(server) as connection:
        assert b"" == received(connection)
        connection.sendall(POST)
        assert 1 == server.processed("POST")


def test_echoes_after_an_upgrade() -> None:
    """A story may speak any protocol: bytes in, bytes out."""

    def echo(peer: Http1Peer) -> None:
        peer.send(b"hello")
        while True:
            peer.send(peer.read_exactly(3))

    with ScriptedHttp1(echo) as server, connected(server) as connection:
        connection.sendall(b"abcdef")
        assert b"helloabcdef" == b"".join(connection.recv(1) for _ in range(11))


# HTTP/2


def test_h2_reads_requests_and_answers_them() -> None:
    """Requests are read whole, answered in any order, and recorded with their streams."""

    def story(peer: Http2Peer) -> None:
        first, second = peer.read_requests(2)
        peer.answer(second, b"second", ("x-case", "self"))
        peer.answer(first, b"first", status=201)

    with http2_client(story) as (server, client):
        one, two = client.request(), client.request("POST", b"x" * 10_000)
        assert two == client.want(h2.events.ResponseReceived).stream_id
        assert [b"second", b"first"] == [client.body(two), client.body(one)]
        requests = server.peers[0].requests
        assert [("GET", 0), ("POST", 10_000)] == [(r.method, len(r.body)) for r in requests.values()]
        assert ("/pay", "self") == (requests[two].target, requests[two].header("x-case"))


def test_h2_keeps_a_connection_up_while_it_waits() -> None:
    """PING is answered, SETTINGS acknowledged and DATA given credit, though the story only waits."""
    gate = Gate()
    with http2_client(lambda peer: peer.wait(gate)) as (server, client):
        client.want(h2.events.RemoteSettingsChanged)
        client.want(h2.events.SettingsAcknowledged)
        client.h2.ping(b"12345678")
        client.request("POST", b"x" * 10_000, end=False)
        assert b"12345678" == client.want(h2.events.PingAckReceived).ping_data
        assert {0, 1} == {client.want(h2.events.WindowUpdated).stream_id for _ in range(2)}
        client.h2.close_connection(INTERNAL_ERROR)
        client.flush()
        (peer,) = server.peers
        assert (1, [], [INTERNAL_ERROR]) == (peer.pings, peer.pongs, peer.goaways)
        gate.open()


def test_h2_withholds_what_it_is_told_to() -> None:
    """No SETTINGS, no PONG, no credit; until the story sends them itself."""

    def story(peer: Http2Peer) -> None:
        peer.greet(None)
        peer.answers_pings = peer.gives_credit = False
        request = peer.read_head()
        peer.read_body(request, at_least=WINDOW)
        ping = peer.want(PingFrame)
        peer.head(request)
        peer.pong(ping)

    with http2_client(story) as (server, client):
        stream = client.request("POST", end=False)
        for _ in range(WINDOW // 16383):
            client.h2.send_data(stream, b"x" * 16383)
        client.h2.send_data(stream, b"x" * (WINDOW - WINDOW // 16383 * 16383))
        client.h2.ping(b"12345678")
        client.flush()
        client.want(h2.events.PingAckReceived)
        kinds = {type(event) for event in client.events}
        assert {h2.events.ResponseReceived} == kinds
        assert {SettingsFrame} <= {type(frame) for frame in server.peers[0].frames}


@pytest.mark.parametrize("window", [1000, WINDOW, 1_000_000])
def test_h2_honours_the_windows_of_the_client(window: int) -> None:
    """A body greater than the windows of stream and connection arrives whole, as fast as credit comes."""

    def story(peer: Http2Peer) -> None:
        peer.answer(peer.read_request(), bytes(500_000))

    with http2_client(story) as (server, client):
        client.h2.update_settings({INITIAL_WINDOW_SIZE: window})
        client.flush()
        assert bytes(500_000) == client.body(client.request())
        assert 400_000 < server.peers[0].credit[0] <= 500_000


def test_h2_stops_an_answer_that_was_reset() -> None:
    """RST_STREAM of the client is noted, ends the answer, and the next request is served."""
    with http2_client(lambda peer: peer.answer(peer.read_request(), bytes(500_000))) as (server, client):
        stream = client.request()
        client.want(h2.events.DataReceived)
        client.h2.reset_stream(stream, CANCEL)
        client.h2.increment_flow_control_window(500_000)
        client.flush()
        assert b"ok" == client.body(client.request())
        assert {stream: CANCEL} == server.peers[0].resets
        assert CANCEL == server.peers[0].requests[stream].reset


def test_h2_changes_its_settings() -> None:
    """SETTINGS at the start and later, as the story says."""

    def story(peer: Http2Peer) -> None:
        peer.greet({MAX_CONCURRENT_STREAMS: 4})
        peer.read_request()
        peer.settings({MAX_CONCURRENT_STREAMS: 1})

    with http2_client(story) as (_, client):
        client.want(h2.events.RemoteSettingsChanged)
        assert 4 == client.h2.remote_settings.max_concurrent_streams
        client.request()
        client.want(h2.events.RemoteSettingsChanged)
        assert 1 == client.h2.remote_settings.max_concurrent_streams


def test_h2_disowns_what_it_refuses() -> None:
    """REFUSED_STREAM and GOAWAY leave requests unprocessed, also those that come after; others count."""

    def story(peer: Http2Peer) -> None:
        peer.refuse(peer.read_request())
        last = peer.read_request()
        peer.goaway(LAST_STREAM)
        peer.goaway(last, debug=b"enough")
        peer.listen()  # h2 takes no answer after GOAWAY

    with http2_client(story) as (server, client):
        client.request("POST")
        assert h2.errors.ErrorCodes.REFUSED_STREAM == client.want(h2.events.StreamReset).error_code
        client.request("POST")
        assert LAST_STREAM == client.want(h2.events.ConnectionTerminated).last_stream_id
        ended = client.want(h2.events.ConnectionTerminated)
        assert (3, b"enough") == (ended.last_stream_id, ended.additional_data)
        # h2 sends nothing after GOAWAY, so this one is made by hand: HEADERS whose indices h2 has used above.
        block = client.h2.encoder.encode(
            [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/late")]
        )
        client.socket.sendall(raw_frame(1, 5, 5, block))
        assert [True, False, True] == [request.is_disowned for request in server.peers[0].requests.values()]
        assert 1 == server.processed("POST")


def test_h2_joins_continuations() -> None:
    """A header block in pieces is one request."""
    with http2_client() as (server, client):
        block = client.h2.encoder.encode(
            [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/pieces")]
        )
        client.socket.sendall(raw_frame(1, 1, 1, block[:3]) + raw_frame(9, 0, 1, block[3:5]))
        assert () == server.requests
        client.socket.sendall(raw_frame(9, 4, 1, block[5:]))
        (request,) = server.requests
        assert ("/pieces", True) == (request.target, request.is_complete)


@pytest.mark.parametrize(
    ("story", "error"),
    [
        pytest.param(lambda peer, request: peer.push(request), "ProtocolError", id="push"),
        pytest.param(lambda peer, _: peer.data(1, bytes(70_000)), "FrameTooLargeError", id="frame-size"),
        pytest.param(
            lambda peer, request: [peer.head(request), *[peer.data(1, bytes(16384)) for _ in range(5)]],
            "FlowControlError",
            id="window",
        ),
        pytest.param(
            lambda peer, _: peer.send(raw_frame(1, 4, 1, b"\xff" * 20)), "ProtocolError", id="compression"
        ),
        pytest.param(lambda peer, _: peer.head(7), "ProtocolError", id="stream"),
        pytest.param(
            lambda peer, request: peer.flood(raw_frame(9, 0, request.stream), 10_000),
            "ProtocolError",
            id="flood",
        ),
    ],
)
def test_h2_breaks_the_rules(story: Callable[[Http2Peer, Any], None], error: str) -> None:
    """What breaks a rule is sent all the same: h2 on the other side says which."""

    def breaking(peer: Http2Peer) -> None:
        story(peer, peer.read_request())

    with http2_client(breaking) as (_, client):
        client.h2.update_settings({2: 0})  # ENABLE_PUSH
        client.flush()
        client.request()
        with pytest.raises(h2.exceptions.ProtocolError) as caught:
            client.want(h2.events.ConnectionTerminated)
        assert error in {kind.__name__ for kind in type(caught.value).__mro__}


@pytest.mark.parametrize("cut", ["close", "reset"])
def test_h2_leaves_at_a_chosen_frame(cut: str) -> None:
    """TCP ends exactly where the story says."""

    def story(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request)
        peer.wait(now)
        getattr(peer, cut)()

    now = Gate()
    with http2_client(story) as (server, client):
        stream = client.request()
        client.want(h2.events.ResponseReceived, stream)
        now.open()
        with pytest.raises({"close": AssertionError, "reset": ConnectionResetError}[cut]):
            client.want(h2.events.StreamEnded)
        assert ["by us"] == [peer.ended for peer in server.peers]


def test_h2_waits_for_frames_in_any_order() -> None:
    """`want` gives each frame once, and leaves what it was not asked for."""
    seen: list[int | bytes] = []

    def story(peer: Http2Peer) -> None:
        peer.read_request()
        seen.append(peer.want(RstStreamFrame, stream=1).error_code)
        seen.append(peer.want(PingFrame).opaque_data)
        seen.append(peer.want(PingFrame).opaque_data)
        peer.ping()
        seen.append(peer.want(PingFrame, flag="ACK").opaque_data)
        peer.trickle(raw_frame(6, 0, 0, b"trickled"))
        seen.append(peer.want(PingFrame, flag="ACK").opaque_data)

    with http2_client(story) as (server, client):
        client.h2.ping(b"11111111")
        client.request()
        client.h2.reset_stream(1, INTERNAL_ERROR)
        client.h2.ping(b"22222222")
        client.flush()
        assert [b"are you?", b"trickled"] == [client.want(h2.events.PingReceived).ping_data for _ in range(2)]
        server.settle()
        assert [INTERNAL_ERROR, b"11111111", b"22222222", b"are you?", b"trickled"] == seen


def test_over_ends_a_story_quietly() -> None:
    """A client that leaves ends the story, and that is no failure."""
    reached: list[str] = []

    def story(peer: Http2Peer) -> None:
        try:
            peer.read_request()
        except Over:
            reached.append("over")
            raise

    with http2_client(story) as (server, client):
        server.settle()
        client.socket.close()
        server.settle()
    assert ["over"] == reached
