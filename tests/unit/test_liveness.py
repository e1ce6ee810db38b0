"""Whether anybody is there (rule 14): told with literal times and numbers of frames."""

from __future__ import annotations

import math

import pytest

from pool_manager.core.http2_frames import ENHANCE_YOUR_CALM
from pool_manager.core.liveness import PING_AFTER, PING_PATIENCE, SUSPICION, Liveness, Sign

NOW = 1_000.0


@pytest.fixture
def watching() -> Liveness:
    """Give a connection on which streams were opened at NOW, after 5 frames."""
    liveness = Liveness()
    liveness.watch(NOW, 5)
    return liveness


def test_a_connection_without_requests_is_asked_nothing() -> None:
    """No look is due, and nothing is suspected, until a request is there."""
    liveness = Liveness()
    assert (liveness.due, liveness.is_watching) == (math.inf, False)
    assert not liveness.has_heard(7)


def test_silence_asks_and_any_frame_answers(watching: Liveness) -> None:
    """After thirty seconds without a frame; then the watch goes on from there."""
    assert watching.due == NOW + PING_AFTER
    assert watching.look(NOW + PING_AFTER, 5, streams=True) is Sign.SILENT
    assert watching.is_asked
    assert watching.due == NOW + PING_AFTER + PING_PATIENCE
    assert not watching.has_heard(5)
    assert watching.has_heard(6)
    watching.take_answer(NOW + 31, 6, streams=True)
    assert not watching.is_asked
    assert watching.due == NOW + 31 + PING_AFTER
    assert watching.look(NOW + 31 + PING_AFTER, 6, streams=True) is Sign.SILENT


def test_where_frames_come_nobody_asks(watching: Liveness) -> None:
    """Each look begins anew."""
    for look in range(1, 4):
        assert watching.look(NOW + look * PING_AFTER, 5 + look, streams=True) is Sign.NOTHING
        assert watching.due == NOW + (look + 1) * PING_AFTER


def test_a_look_ends_the_watch_where_requests_have_ended(watching: Liveness) -> None:
    """An idle connection is not kept awake."""
    assert watching.look(NOW + PING_AFTER, 5, streams=False) is Sign.NOTHING
    assert not watching.is_watching


def test_an_answer_ends_the_watch_where_requests_have_ended(watching: Liveness) -> None:
    """It is not looked at again."""
    watching.ask(NOW, 5)
    watching.take_answer(NOW + 1, 6, streams=False)
    assert not watching.is_watching


def test_nobody_answers(watching: Liveness) -> None:
    """The connection is dead, and nobody looks again."""
    watching.look(NOW + PING_AFTER, 5, streams=True)
    assert watching.look(watching.due, 5, streams=True) is Sign.DEAD
    assert not watching.is_watching


def test_an_answer_that_only_the_look_finds(watching: Liveness) -> None:
    """It is as good as one that was noticed at once."""
    watching.look(NOW + PING_AFTER, 5, streams=True)
    due = watching.due
    assert watching.look(due, 6, streams=True) is Sign.ALIVE
    assert not watching.is_asked
    assert watching.due == due + PING_AFTER


def test_a_request_that_waited_in_vain_asks_with_less_patience(watching: Liveness) -> None:
    """Without an answer the connection is doubtful, and not dead: others may have better luck."""
    watching.suspect()
    assert watching.is_suspected
    watching.ask(NOW + 3, 5, suspicious=True)
    assert not watching.is_suspected
    assert watching.due == NOW + 3 + SUSPICION
    assert watching.look(watching.due, 5, streams=True) is Sign.DOUBTFUL
    assert not watching.is_watching


def test_nothing_is_suspected_while_the_server_is_asked(watching: Liveness) -> None:
    """The answer to the one question is enough."""
    watching.ask(NOW, 5)
    watching.suspect()
    assert not watching.is_suspected


def test_a_question_of_patience_after_one_of_suspicion(watching: Liveness) -> None:
    """What the first was does not count for the second."""
    watching.ask(NOW, 5, suspicious=True)
    watching.take_answer(NOW, 6, streams=True)
    watching.look(watching.due, 6, streams=True)
    assert watching.look(watching.due, 6, streams=True) is Sign.DEAD


def test_a_look_before_it_is_due_shows_nothing(watching: Liveness) -> None:
    """Clocks of timers differ from ours by a little."""
    assert watching.look(NOW + PING_AFTER - 0.001, 5, streams=True) is Sign.NOTHING
    assert watching.due == NOW + PING_AFTER


@pytest.mark.parametrize(
    ("code", "debug", "after"),
    [
        (ENHANCE_YOUR_CALM, b"too_many_pings", 2 * PING_AFTER),
        (ENHANCE_YOUR_CALM, b"too many streams", PING_AFTER),
        (0, b"ping", PING_AFTER),
    ],
)
def test_a_server_that_is_asked_too_often(code: int, debug: bytes, after: float) -> None:
    """It is asked half as often from then on."""
    liveness = Liveness()
    liveness.take_goaway(code, debug)
    liveness.watch(NOW, 0)
    assert liveness.due == NOW + after
