"""What a socket of threads tells of a peer that should have kept silent."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from pool_manager.runtimes.on_threads.wires import READABLE, Wire


@pytest.fixture(params=["tcp", "unix"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Wire, socket.socket]]:
    """Two ends of one connection: ours, and the peer's."""
    if request.param == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    with theirs:
        wire = Wire(ours)
        yield wire, theirs
        wire.close()


def test_silence_is_told_again_and_again(ends: tuple[Wire, socket.socket]) -> None:
    """There is nothing as long as the peer sends nothing, also after what it was asked for was read."""
    wire, theirs = ends
    for answer in (b"one", b"two"):
        assert wire.receive_unasked() is None
        assert wire.receive_unasked() is None
        theirs.sendall(answer)
        assert answer == wire.receive(1)


def test_what_came_unasked_is_given(ends: tuple[Wire, socket.socket]) -> None:
    """Whether it comes before the first look, or after many: never is it taken for read."""
    wire, theirs = ends
    for number in range(3):
        theirs.sendall(b"unasked")
        assert wire.wait(READABLE, 1)
        assert b"unasked" == wire.receive_unasked()
        for _ in range(number):
            assert wire.receive_unasked() is None


def test_a_part_that_was_left_is_given(
    ends: tuple[Wire, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of is not taken for read as a whole."""
    wire, theirs = ends
    assert wire.receive_unasked() is None
    theirs.sendall(b"abcd")
    with monkeypatch.context() as patch:
        patch.setattr("pool_manager.runtimes.on_threads.wires.SIZE", 3)
        assert b"abc" == wire.receive(1)
    assert b"d" == wire.receive_unasked()


def test_the_end_is_given(ends: tuple[Wire, socket.socket]) -> None:
    """A peer that has closed is found out, by its FIN alone."""
    wire, theirs = ends
    assert wire.receive_unasked() is None
    theirs.shutdown(socket.SHUT_WR)
    assert wire.wait(READABLE, 1)
    assert b"" == wire.receive_unasked()


def test_a_reset_is_told(ends: tuple[Wire, socket.socket]) -> None:
    """A connection that was reset is broken, or at its end, and never just silent."""
    wire, theirs = ends
    assert wire.receive_unasked() is None
    wire.send_now(b"never read")  # with that in its buffer a socket closes by a reset
    theirs.close()
    assert wire.wait(READABLE, 1)
    with contextlib.suppress(ConnectionError):
        assert b"" == wire.receive_unasked()
