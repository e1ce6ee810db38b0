"""A connection that is no longer HTTP, whichever runtime it is of: whose errors it raises."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from pool_manager.core.messages import TransportFailure


class Upgraded:
    """
    What is left to be read and written after a 101, or in a tunnel.

    Attributes:
        translate: Makes its errors those of whoever holds it; the face sets it.
    """

    def __init__(self) -> None:
        self.translate: Callable[[TransportFailure], Exception] = lambda error: error

    @contextlib.contextmanager
    def translated(self) -> Generator[None]:
        """Have what fails within raise an error of the holder's."""
        try:
            yield
        except TransportFailure as error:
            raise self.translate(error) from error.__cause__
