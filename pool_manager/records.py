"""What is told with each answer."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RequestRecord"]


class RequestRecord(NamedTuple):  # each answer has one: as frozen attrs it would cost three times as much
    """
    How one response came about: ``response.extensions["pool_manager"]``.

    Attributes:
        connection_id: Which connection of the pool carried it; counts from 1.

        http_version: "HTTP/1.1", "HTTP/2" ...

        reused: Whether the connection had carried a request before.

        idle_for: Seconds the connection had been idle; 0.0 on a new or busy one.

        queued_for: Seconds the request waited for a connection.

        connect_time: Seconds spent on opening the connection; 0.0 if it was there.

        attempts: How often the request was sent: 1 unless it was safe to repeat.

        lane: The lane it took.

        lease: The name of the lease it came by.

        retries: How often it was sent before since its client asked for that (`Retries`); each time it may
            have taken several attempts.
    """

    connection_id: int
    http_version: str
    reused: bool
    idle_for: float
    queued_for: float
    connect_time: float
    attempts: int
    lane: str
    lease: str
    retries: int = 0
