"""
Who holds which connection, and who waits, in words: for `PoolManager.dump`.

Seen in one move, like a `Picture`, and put into words after it. It may be looked at in the middle of another
move, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pool_manager.core.messages import Request
from pool_manager.core.origins import Connection, LaneState, Origin, OriginKey, Phase, Ticket


class _Claim(NamedTuple):
    """A request that holds something, or waits for it."""

    request: Request | None
    seconds: float

    def __str__(self) -> str:
        lease = f" of lease {self.request.lease!r}" if self.request is not None else ""
        return f"{self.request or 'a request'}{lease}, for {self.seconds:.1f} s"


class _Held(NamedTuple):
    """A connection, and who holds it."""

    number: int
    phase: Phase
    multiplexed: bool
    requests: int
    age: float
    claims: list[_Claim]

    def __str__(self) -> str:
        if self.phase is Phase.DIALING:
            return f"connection {self.number}: connecting for {self.age:.1f} s"
        state = "draining" if self.phase is Phase.DRAINING else "active" if self.claims else "idle"
        version = "HTTP/2" if self.multiplexed else "HTTP/1.1"
        return (
            f"connection {self.number}: {state}, {version}, {self.age:.1f} s old, requests: {self.requests}"
        )


class CloseUp:
    """
    What there was to be seen of each connection at one instant.

    Args:
        origins: Those that are in use.

        lanes: All lanes.

        now: Seconds.
    """

    def __init__(self, origins: Iterable[Origin], lanes: Iterable[LaneState], now: float) -> None:
        kept_out: dict[Origin, list[Ticket]] = {}
        for lane in lanes:
            for ticket in [*lane.queue]:
                kept_out.setdefault(ticket.origin, []).append(ticket)
        self._seen: list[tuple[OriginKey, list[_Held], list[_Claim], list[_Claim]]] = [
            (
                origin.key,
                [_held(connection, now) for connection in [*origin.connections]],
                [_claim(ticket, now) for ticket in [*origin.waiters]],
                [_claim(ticket, now) for ticket in kept_out.get(origin, ())],
            )
            for origin in [*origins]
        ]

    def lines(self) -> Iterator[str]:
        """Put it into words, line by line, indented by what belongs to what."""
        for key, connections, waiting, kept_out in self._seen:
            yield f"{key.scheme}://{key.host}:{key.port}, lane {key.lane}"
            for held in connections:
                yield f"  {held}"
                yield from (f"    held by {claim}" for claim in held.claims)
            yield from (f"  waiting: {claim}" for claim in waiting)
            yield from (f"  waiting for the lane: {claim}" for claim in kept_out)


def _held(connection: Connection, now: float) -> _Held:
    begun = connection.begun if connection.phase is Phase.DIALING else connection.opened
    return _Held(
        number=connection.number,
        phase=connection.phase,
        multiplexed=connection.multiplexed,
        requests=connection.requests,
        age=now - begun,
        claims=[_claim(ticket, now) for ticket in [*connection.tickets]],
    )


def _claim(ticket: Ticket, now: float) -> _Claim:
    return _Claim(ticket.request, now - ticket.asked)
