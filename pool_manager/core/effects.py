"""What a scheduler wants done. The runtime does it after each call, in order."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from pool_manager.core.origins import Connection, Ticket


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


Effect: TypeAlias = Wake | Dial | Close
