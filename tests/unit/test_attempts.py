"""When a request is sent again: tables and properties, without a clock."""

from __future__ import annotations

import math
import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import Retries
from pool_manager.core.replay import IDEMPOTENT
from pool_manager.core.retrying import FREE, WINDOW, Attempts, Budget, Budgets, Outcome, retry_after
from pool_manager.policies import ERRORS

RNG = random.Random(0)
LEAVES = sorted(name for name, below in ERRORS.items() if below == {name})

policies = st.builds(
    Retries,
    attempts=st.integers(1, 20),
    initial=st.floats(0, 10),
    maximum=st.floats(0, 60),
    max_retry_after=st.floats(0, 600),
    timeout=st.floats(0, 600),
    budget=st.floats(0, 2),
)
outcomes = st.builds(
    Outcome, status=st.sampled_from([408, 429, 503]), retry_after=st.one_of(st.none(), st.floats(0, 1000))
)


def delay(outcome: Outcome, policy: Retries | None = None, **how: Any) -> float | None:
    """Decide about the first attempt of a request that may be repeated."""
    attempts = Attempts(policy=policy or Retries(), **{"safe": True, "repeatable": True, "begun": 0.0} | how)
    return attempts.delay(outcome, 0.0, Budget(math.inf), RNG)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 425, 429, 500, 501, 502, 503, 504])
def test_which_answers_are_tried_again(status: int) -> None:
    """The five of the default, of a request that is safe to repeat; and whatever was asked for."""
    again = delay(Outcome(status=status)) is not None
    assert again == (status in {408, 429, 502, 503, 504})
    assert delay(Outcome(status=status), safe=False) is None
    assert delay(Outcome(status=status), Retries(statuses=[status])) is not None
    assert delay(Outcome(status=status), Retries(statuses=[])) is None


@pytest.mark.parametrize("error", LEAVES)
def test_which_errors_are_tried_again(error: str) -> None:
    """What may pass; and of an unsafe request, only what cannot have reached a server."""
    passing = {"ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError", "WriteTimeout"}
    assert (delay(Outcome(error=error)) is not None) == (error in passing | {"RemoteProtocolError"})
    unsent = error in {"ConnectError", "ConnectTimeout"}
    assert (delay(Outcome(error=error), Retries(errors=["TransportError"]), safe=False) is not None) == unsent
    assert delay(Outcome(error=error), Retries(errors=[])) is None
    for above, below in ERRORS.items():
        again = delay(Outcome(error=error), Retries(errors=[above]))
        assert (again is not None) == (error in below)


@pytest.mark.parametrize(
    "outcome", [Outcome(status=503), Outcome(error="ReadError"), Outcome(error="ConnectError")]
)
def test_a_body_that_is_gone_is_never_sent_again(outcome: Outcome) -> None:
    """Whatever the method, the error and the policy."""
    assert delay(outcome, repeatable=False) is None


def test_the_methods_are_those_of_the_rfc() -> None:
    """What `Retries` repeats by default is what replays repeat, by whatever case it is written in."""
    assert Retries().methods == IDEMPOTENT
    assert Retries(methods=["post", "Get"]).methods == {"POST", "GET"}


@given(policies, st.lists(outcomes, max_size=30), st.floats(0, 30), st.integers())
def test_attempts_stay_in_their_bounds(
    policy: Retries, coming: list[Outcome], took: float, seed: int
) -> None:
    """
    No policy is exceeded: not in number, nor in time; and no server is asked sooner than it said.

    A pause is at most `maximum` where the server says nothing, and at most `max_retry_after` where it does.
    """
    attempts = Attempts(policy=policy, safe=True, repeatable=True, begun=0.0)
    budget, rng, now = Budget(policy.budget), random.Random(seed), 0.0
    for number, outcome in enumerate(coming, 1):
        now += took
        pause = attempts.delay(outcome, now, budget, rng)
        if pause is None:
            assert attempts.sent == number
            return
        asked = outcome.retry_after
        backed_off = min(policy.maximum, policy.initial * 2.0 ** (number - 1))
        if asked is None:
            assert backed_off / 2 <= pause <= backed_off
        else:
            assert asked <= policy.max_retry_after
            assert asked <= pause <= max(backed_off, policy.max_retry_after)
            assert pause <= max(backed_off, 1.1 * asked)
        now += pause
        assert now <= policy.timeout
        assert attempts.sent == number + 1 <= policy.attempts


def test_the_pauses_double_and_differ() -> None:
    """0.5 s, 1 s, 2 s ... up to the maximum, less up to a half of each by chance."""
    policy = Retries(attempts=2000, timeout=math.inf, budget=math.inf)
    attempts = Attempts(policy=policy, safe=True, repeatable=True, begun=0.0)
    pauses = [attempts.delay(Outcome(status=503), 0.0, Budget(math.inf), RNG) for _ in range(1500)]
    for pause, most in zip(pauses[:6], (0.5, 1, 2, 4, 8, 8), strict=True):
        assert pause is not None
        assert most / 2 <= pause <= most
    assert len(set(pauses)) == len(pauses)
    assert max(filter(None, pauses)) <= policy.maximum


@given(
    st.floats(0, 2),
    st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300),
)
def test_the_budget_is_a_share_of_what_there_was_lately(
    share: float, story: list[tuple[float, bool]]
) -> None:
    """Never more retries in ten seconds than ten and the share; and never fewer are allowed than that."""
    budget, now = Budget(share), 0.0
    requests: deque[float] = deque()
    retries: deque[float] = deque()
    for pause, is_retry in story:
        now += pause
        if not is_retry:
            budget.note(now)
            requests.append(now)
            continue
        # What is as old as the window within the length of a slot may count or not.
        surely = (
            sum(one > now - WINDOW + 1 for one in requests),
            sum(one > now - WINDOW - 1 for one in retries),
        )
        perhaps = (
            sum(one > now - WINDOW - 1 for one in requests),
            sum(one > now - WINDOW + 1 for one in retries),
        )
        if budget.take(now):
            retries.append(now)
            assert perhaps[1] < FREE + share * perhaps[0]
        else:
            assert surely[1] >= FREE + share * surely[0]


def test_a_server_that_is_down_is_not_asked_ever_more() -> None:
    """Of a thousand requests that fail in ten seconds 210 are sent again, and not two thousand."""
    policy, budget, sent = Retries(), Budget(0.2), 0
    for number in range(1000):
        now = number / 100
        budget.note(now)
        attempts = Attempts(policy=policy, safe=True, repeatable=True, begun=now)
        while attempts.delay(Outcome(status=503), now, budget, RNG) is not None:
            pass
        assert attempts.denied == (attempts.sent < 3)
        sent += attempts.sent
    assert sent == 1000 + FREE + 200


def test_origins_have_budgets_of_their_own() -> None:
    """One that is down uses up nobody else's, and those that were not asked for long are forgotten."""
    budgets = Budgets(0)
    for _ in range(FREE):
        assert budgets.of("down").take(0)
    assert not budgets.of("down").take(0)
    assert budgets.of("up").take(0)
    for number in range(2000):
        budgets.of(number)
    assert budgets.of("down").take(0)


NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("9" * 400, math.inf),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 07:00:00 GMT", 0),
        *((bad, None) for bad in (None, "", "-1", "1e3", "inf", "nan", "soon", "\u0661", "1, 2", "1 2")),
        *((bad, None) for bad in ("Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT")),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    """Seconds and each of the three forms of a date (RFC 9110, 5.6.7); of nonsense there is none."""
    assert retry_after(value, None, NOW) == seconds


def test_a_date_is_counted_from_the_servers_own() -> None:
    """A clock of ours that is an hour off makes nobody wait an hour."""
    in_a_minute, now = "Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"
    assert retry_after(in_a_minute, now, NOW + 3600) == 60
    assert retry_after(in_a_minute, "nonsense", NOW) == 60


@given(st.text(), st.text())
def test_no_header_breaks_it(value: str, date: str) -> None:
    """Whatever a server sends, it is a number of seconds or nothing."""
    read = retry_after(value, date, NOW)
    assert read is None or read >= 0
