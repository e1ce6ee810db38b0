"""What a scheduler wants done. The runtime does it after each call, in order."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from pool_manager.core.origins import Connection, Ticket
from pool_manager.events import Event, What


@attrs.frozen
class Wake:
    """Tell who holds the ticket: it has its `connection` now, or its `error`."""

    ticket: Ticket


@attrs.frozen
class Dial:
    """Open the connection, then report `dialed` or `dial_failed`."""

    connection: Connection


@attrs.frozen
class Close:
    """Close the connection, or give up dialing it. No report is awaited."""

    connection: Connection


@attrs.define
class Tell:
    """Tell listeners of *event*, by their method of that name; once, though it be done twice."""

    what: What
    event: Event
    told: bool = False


Effect: TypeAlias = Wake | Dial | Close | Tell
