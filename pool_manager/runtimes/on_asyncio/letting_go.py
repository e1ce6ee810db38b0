"""Ways to let go of a socket that asyncio does not know. Its private names are touched here alone."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Final

# `_SSLProtocolTransport._force_close` hands `_abort` an argument too many, up to 3.11.7 and 3.12.1 at least.
_IS_BROKEN: Final = sys.version_info < (3, 13)


def sever(transport: Any) -> None:  # noqa: ANN401 - asyncio's or uvloop's, and what is within
    """Close the socket at once, and without the loop's help if the loop is over. Never raises."""
    with contextlib.suppress(Exception):
        try:
            transport.abort()
        except RuntimeError:
            # The loop is closed: asyncio has set the transport aside but can call nothing back.
            bottom = transport
            while (tls := getattr(bottom, "_ssl_protocol", None)) is not None:  # one in another, by a proxy
                bottom = tls._transport  # noqa: SLF001
            sock, bottom._sock = bottom._sock, None  # noqa: SLF001 - no public way closes it
            sock.close()


def mend(transport: Any) -> None:  # noqa: ANN401 - as above
    """Have TLS tell of an error of TLS inside it, and close: older Pythons raise a TypeError instead."""

    def close(_: object) -> None:
        transport.abort()

    if _IS_BROKEN and hasattr(transport, "_ssl_protocol"):
        transport._force_close = close  # noqa: SLF001 - no public way tells
