"""
The head of a request as an HPACK block (RFC 9113, 8.3.1; RFC 7541).

Rule 1: a block is made without a memory: what the static table knows by its index, all else as literals
that no table is to keep. So a block is the same on each connection, nothing has to be undone when a
request is not sent after all, and a header that was encoded once need not be again.
Rule 2: no table on the way may keep what opens doors: such headers are "never indexed" (RFC 7541, 7.1.3),
and we do not keep them either.
Rule 3: what HTTP/1.1 refuses is refused here, in the same words: a request must not become fit by the
protocol that a server happens to speak. What only HTTP/1.1 has is dropped, as by httpcore and h2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import attrs
from hpack.table import HeaderTable

from pool_manager.core.http1_events import local_error
from pool_manager.core.http1_requests import (
    MAX_KEPT,
    check_encoding,
    check_promises,
    checked_length,
    checked_method,
    checked_name,
    checked_target,
    checked_value,
    is_secret,
)
from pool_manager.core.messages import Request

_NEVER_INDEXED: Final = 0x10
_PATH: Final = b"\x04"  # a literal, its name from the static table
_ROOT: Final = b"\x84"

_FULL: Final = {pair: index for index, pair in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_NAMES: Final = {name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}

# Web sockets have a scheme of their own; what carries them is HTTP (RFC 8441, 5).
_SCHEMES: Final = {"http": b"http", "https": b"https", "ws": b"http", "wss": b"https"}


@attrs.define
class RequestBlock:
    """
    A head and what it promises.

    Attributes:
        length: Bytes of the body that is to follow, if that is known.
    """

    data: bytes = attrs.field(default=b"", repr=False)  # whatever authorises it
    length: int | None = None
    authority: bytes = b""
    hosts: int = 0
    framings: int = 0


def request_block(request: Request) -> RequestBlock:
    """
    Encode the head of *request*.

    Raises:
        TransportFailure: "LocalProtocolError"; says what was wrong.
    """
    block = RequestBlock()
    fields: list[bytes] = []
    for name, value in request.headers:
        special = _special(name)
        if special is not None:
            fields.append(special(block, name, value))
        elif len(value) <= MAX_KEPT:
            fields.append(_kept_field(name, value))
        else:
            fields.append(_field(name, value))
    check_promises(block.hosts, block.framings)
    if request.method == "CONNECT":
        pseudo = _tunnel(checked_target(request.target))
    else:
        pseudo = _pseudo(request.method, request.scheme, block.authority) + _path(request)
    block.data = b"".join((pseudo, *fields))
    return block


def _path(request: Request) -> bytes:
    target = checked_target(request.target)
    if target == b"/":
        return _ROOT
    if not target.startswith(b"/") and (target != b"*" or request.method != "OPTIONS"):
        raise local_error("Illegal target for HTTP/2: a path has to begin with a slash")
    return _PATH + _string(target)


@lru_cache(maxsize=1024)
def _pseudo(method: str, scheme: str, authority: bytes) -> bytes:
    """Encode what begins every request but CONNECT."""
    if scheme not in _SCHEMES:
        raise local_error(f"Illegal scheme {scheme!r}")
    return (
        _literal(b":method", checked_method(method))
        + _literal(b":scheme", _SCHEMES[scheme])
        + _literal(b":authority", authority)
    )


def _tunnel(target: bytes) -> bytes:
    """Encode what begins a CONNECT: no scheme, no path (RFC 9113, 8.5)."""
    return _literal(b":method", b"CONNECT") + _literal(b":authority", target)


# Fields


def _field(name: bytes, value: bytes) -> bytes:
    return _literal(checked_name(name), checked_value(name, value))


_kept_field = lru_cache(maxsize=4096)(_field)


def _literal(name: bytes, value: bytes, kind: int = 0) -> bytes:
    """Encode a field, its name in lower case; *kind* says how tables on the way are to treat it."""
    if not kind and (name, value) in _FULL:
        return bytes((0x80 | _FULL[name, value],))
    index = _NAMES.get(name)
    if index is None:
        return bytes((kind,)) + _string(name) + _string(value)
    return _integer(index, kind, 0x0F) + _string(value)


def _string(data: bytes) -> bytes:
    """Encode a string as it is: Huffman's code would save the wire a quarter, and cost more than all else."""
    return _integer(len(data), 0, 0x7F) + data


def _integer(number: int, kind: int, most: int) -> bytes:
    """Encode a number behind the bits of *kind* (RFC 7541, 5.1)."""
    if number < most:
        return bytes((kind | number,))
    digits = [kind | most]
    number -= most
    while number > 0x7F:  # noqa: PLR2004
        digits.append(0x80 | number & 0x7F)
        number >>= 7
    digits.append(number)
    return bytes(digits)


# Headers that are more than a header


def _host(block: RequestBlock, name: bytes, value: bytes) -> bytes:
    block.authority = checked_value(name, value)
    block.hosts += 1
    return b""


def _length(block: RequestBlock, name: bytes, value: bytes) -> bytes:
    block.length = checked_length(value)
    block.framings += 1
    return _field(name, value)


def _encoding(block: RequestBlock, _: bytes, value: bytes) -> bytes:
    check_encoding(value)
    block.framings += 1
    return b""


def _te(_: RequestBlock, name: bytes, value: bytes) -> bytes:
    checked_value(name, value)
    return _kept_field(b"te", b"trailers") if value.lower() == b"trailers" else b""


def _drop(_: RequestBlock, name: bytes, value: bytes) -> bytes:
    checked_value(name, value)
    return b""


def _secret(_: RequestBlock, name: bytes, value: bytes) -> bytes:
    return _literal(checked_name(name), checked_value(name, value), _NEVER_INDEXED)


_SPECIAL: Final[dict[bytes, Callable[[RequestBlock, bytes, bytes], bytes]]] = {
    b"host": _host,
    b"content-length": _length,
    # RFC 9113, 8.2.2
    b"connection": _drop,
    b"http2-settings": _drop,
    b"keep-alive": _drop,
    b"proxy-connection": _drop,
    b"te": _te,
    b"transfer-encoding": _encoding,
    b"upgrade": _drop,
}


@lru_cache(maxsize=1024)
def _special(name: bytes) -> Callable[[RequestBlock, bytes, bytes], bytes] | None:
    lower = checked_name(name)
    special = _SPECIAL.get(lower)
    return _secret if special is None and is_secret(lower) else special
