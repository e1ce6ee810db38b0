"""What the rounds of a poll mean, without a clock: how long, how often, and which errors end one."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import PollingConfig
from pool_manager.core.polling import BUFFER, Failure, Rounds
from pool_manager.policies import ERRORS

times = st.floats(0, 1000, allow_nan=False)
configs = st.builds(
    PollingConfig,
    timeout=st.floats(0.001, 1000),
    interval=st.floats(0.001, 100),
    max_attempts=st.one_of(st.just(math.inf), st.integers(1, 50)),
    max_hold=st.floats(0, 100),
)


def rounds(config: PollingConfig | None = None, *, reached: bool = False) -> Rounds:
    """Begin a poll at 0."""
    made = Rounds(config or PollingConfig(), 0.0, random.Random(0))
    if reached:
        made.answered()
    return made


@given(configs, st.lists(st.floats(0, 40), min_size=1, max_size=60), st.integers())
def test_the_rounds_of_a_poll(config: PollingConfig, lengths: list[float], seed: int) -> None:
    """
    Holds, pauses and their number stay in their bounds.

    No hold is longer than is honoured or than is left, the client waits longer than the server, no round
    follows an early one at once, none begins too late, and there are never too many.
    """
    made, now = Rounds(config, 0.0, random.Random(seed)), 0.0
    for number, length in enumerate(lengths, 1):
        this = made.begin(now)
        assert number == this.number <= config.max_attempts
        assert 0 <= this.hold <= config.max_hold
        assert this.hold <= max(0.0, config.timeout - now)
        assert this.timeout == this.hold + BUFFER
        now += length
        pause = made.pause(this, now)
        if pause is None:
            assert number == config.max_attempts or now + 1.5 * config.interval >= config.timeout
            return
        if now - this.begun < max(this.hold, config.interval):
            assert 0.5 * config.interval <= pause <= 1.5 * config.interval
        else:
            assert pause == 0
        now += pause
        assert now < config.timeout


def test_a_server_that_answers_at_once_is_not_asked_at_once() -> None:
    """However fast rounds end, there are no more of them than half an interval allows."""
    made, now = rounds(PollingConfig(timeout=60, interval=1)), 0.0
    for number in range(1, 1000):
        pause = made.pause(made.begin(now), now)
        if pause is None:
            assert number <= 120
            return
        now += pause
    pytest.fail("it would poll for ever")


def test_jitter_differs() -> None:
    """Who lost a server together does not come back together."""
    pauses = {Rounds(PollingConfig(), 0.0, random.Random(seed)) for seed in range(9)}
    assert len({made.pause(made.begin(0), 0) for made in pauses}) == 9


def test_a_round_that_was_held_is_followed_at_once() -> None:
    """Where the server held the request to the end, nothing more is waited."""
    made = rounds(PollingConfig(max_hold=20, interval=1))
    assert made.pause(made.begin(0), 20.01) == 0
    assert made.pause(made.begin(30), 49.9) != 0


def test_the_last_hold_is_what_is_left() -> None:
    """The server is told to answer when the poll is over."""
    made = rounds(PollingConfig(timeout=50, max_hold=30))
    assert [made.begin(now).hold for now in (0, 30, 49.5, 60)] == [30, 20, 0.5, 0]


ENDS = {
    "ReadTimeout",
    "WriteTimeout",
    "PoolTimeout",
    "ReadError",
    "WriteError",
    "CloseError",
    "RemoteProtocolError",
}
UNREACHABLE = {"ConnectError", "ConnectTimeout"}


@pytest.mark.parametrize("kind", sorted(name for name, below in ERRORS.items() if below == {name}))
def test_which_errors_end_a_round(kind: str) -> None:
    """A client timeout or a lost connection does; what is no use to repeat does not, first round or not."""
    assert (kind in ENDS) == rounds().is_over_by(Failure(kind))
    assert (kind in ENDS | UNREACHABLE) == rounds(reached=True).is_over_by(Failure(kind))


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 429, 500, 502, 503, 504])
def test_which_answers_end_a_round(status: int) -> None:
    """A 408 does; any other failure is the caller's."""
    assert (status == 408) == rounds().is_over_by(Failure(status=status))


def test_a_server_that_is_gone_for_a_moment_is_waited_for() -> None:
    """Where a round reached it before, even one that failed, a refused connection is the end of a round."""
    made = rounds()
    assert not made.is_over_by(Failure("ConnectError"))
    assert made.is_over_by(Failure("ReadError"))
    assert made.is_over_by(Failure("ConnectError"))


@pytest.mark.parametrize(
    ("config", "now", "verdict"),
    [
        (PollingConfig(timeout=9), 9.0, "not so after 9.0 of 9 s (1 rounds)"),
        (PollingConfig(timeout=9), 8.5, "not so after 8.5 of 9 s (1 rounds)"),
        (PollingConfig(max_attempts=1), 3.0, "not so after 1 rounds"),
    ],
)
def test_why_it_is_over(config: PollingConfig, now: float, verdict: str) -> None:
    """The words of `PollingTimeout` say which bound was met."""
    made = rounds(config)
    made.begin(0)
    assert verdict == made.verdict(now)
