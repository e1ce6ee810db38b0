"""For how long a request waits, and for what: tables of literal times."""

from __future__ import annotations

import math

import pytest

from pool_manager.core.messages import Request, Seconds
from pool_manager.core.waits import too_late, wait_of
from tests.support.scheduling import START, World


@pytest.mark.parametrize(
    ("timeouts", "begun", "after", "expected"),
    [
        ({"pool": 5.0, "connect": 3.0}, None, 1, (4.0, False)),
        ({"pool": 5.0, "connect": 3.0}, None, 5, (0.0, False)),
        ({"pool": None, "connect": 3.0}, None, 1, (math.inf, False)),
        ({}, None, 1, (math.inf, False)),
        ({"pool": 5.0, "connect": None}, 0, 1, (4.0, True)),  # the dial may end, and it be in the queue again
        ({"pool": 5.0, "connect": None}, 0, 6, (math.inf, True)),  # it was in the queue for less
        ({"pool": 5.0, "connect": 3.0}, 0, 1, (2.0, True)),
        ({"pool": 5.0, "connect": 3.0}, 2, 3, (2.0, True)),
        ({"pool": 1.0, "connect": 3.0}, 0, 2, (1.0, True)),
        ({"pool": 1.0, "connect": 3.0}, 0, 3, (0.0, True)),
        ({"pool": 9.0, "connect": 3.0}, 0, 4, (-1.0, True)),
        ({"pool": None, "connect": None}, 0, 9, (math.inf, True)),
    ],
)
def test_the_pool_timeout_in_the_queue_and_that_to_connect_during_a_dial(
    timeouts: dict[str, Seconds], begun: float | None, after: float, expected: tuple[float, bool]
) -> None:
    """Whichever counts; while a dial is under way, one looks again when the pool timeout would be over."""
    ticket = World().request().ticket
    wait = wait_of(ticket, None if begun is None else START + begun, timeouts, START + after)
    assert expected == wait
    assert wait.is_over == (expected[0] <= 0)


@pytest.mark.parametrize(
    ("begun", "kind", "message"),
    [
        (START, "ConnectTimeout", "no connection to a.test in 3.0 s"),
        (None, "PoolTimeout", "no connection came free in 2.0 s"),
    ],
)
def test_too_late(begun: float | None, kind: str, message: str) -> None:
    """The error is that of the time which is over, and says how long it was."""
    request = Request(
        method="GET",
        scheme="https",
        host="a.test",
        port=None,
        target=b"/",
        headers=[],
        body=b"",
        timeouts={"pool": 2.0, "connect": 3.0},
        lane="default",
        lease="test",
        extensions={},
    )
    failure = too_late(request, wait_of(World().request().ticket, begun, request.timeouts, START + 9))
    assert (kind, message) == (failure.kind, str(failure))
