"""What is left of a request or of its answer when nobody waits for it any more."""

from __future__ import annotations

from typing import Final

from pool_manager.core.http1 import Http1Connection

# Rule 16: an answer that nobody wants is read to its end if that is near, so that the connection lives on. Go
# reads as much, in as many seconds.
MAX_DRAINED: Final = 256 * 1024
DRAIN_TIME: Final = 0.05

_FIRST_REFUSAL: Final = 400


def is_worth_reading(http: Http1Connection) -> bool:
    """Tell whether the rest of an answer is short, as far as is known, and the connection of use after it."""
    left = http.body_left
    return http.is_reusable and (left is None or left <= MAX_DRAINED)


def refuses_the_rest(status: int) -> bool:
    """Tell whether a final answer that comes before the request was complete makes the rest needless."""
    return status >= _FIRST_REFUSAL  # RFC 9112, 9.3: it will not be acted upon
