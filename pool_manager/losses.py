"""What was lost: collected by Python before anybody closed it. Told as a `ResourceWarning`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

# Who wants to know besides; called in finalisers, and so at any time and inside of anything.
listeners: Final[list[Callable[[str], object]]] = []


def tell(what: object, advice: str = "") -> None:
    """Warn that *what* was lost. For finalisers: it waits for nothing."""
    message = f"unclosed {what}{advice}"
    for listener in listeners:
        listener(message)
    warnings.warn(message, ResourceWarning, stacklevel=2, source=what)
