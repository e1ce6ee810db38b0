"""For how long a request waits for a connection, and what it says when that was too long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from pool_manager.core.messages import Request, Seconds, TransportFailure
from pool_manager.core.origins import Ticket


class Wait(NamedTuple):
    """
    How the wait of a request stands.

    Attributes:
        seconds: When to ask again at the latest; nothing is left if it is not above 0.

        dialing: It waits for a dial, and the time to connect counts; else for somebody else, and the pool
            timeout counts (rule 19).
    """

    seconds: float
    dialing: bool

    @property
    def is_over(self) -> bool:
        """Whether it was too long."""
        return self.seconds <= 0


def wait_of(ticket: Ticket, dial_begun: float | None, timeouts: Mapping[str, Seconds], now: float) -> Wait:
    """
    Say how long *ticket* may go on waiting.

    Args:
        ticket: Has no connection.

        dial_begun: What `Scheduler.dial_begun` says.

        timeouts: Those of the request.

        now: Seconds.
    """
    # A whole timeout comes out as what was put in: deadlines of equal length are cheaper than of many.
    in_queue = _or_inf(timeouts.get("pool")) - (now - ticket.asked)
    if dial_begun is None:
        return Wait(in_queue, dialing=False)
    left = _or_inf(timeouts.get("connect")) - (now - dial_begun)
    if 0 < in_queue < left:
        left = in_queue  # the dial may have ended by then, and who waits be in the queue again
    return Wait(left, dialing=True)


def too_late(request: Request, wait: Wait) -> TransportFailure:
    """Say which time is over."""
    if wait.dialing:
        seconds = request.timeouts.get("connect")
        return TransportFailure("ConnectTimeout", f"no connection to {request.host} in {seconds} s")
    return TransportFailure("PoolTimeout", f"no connection came free in {request.timeouts.get('pool')} s")


def _or_inf(seconds: Seconds) -> float:
    return math.inf if seconds is None else seconds
