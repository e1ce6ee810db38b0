"""
What may be said of a request in a log or an error: method, scheme, host, port and path.

Never its query, its userinfo, or the value of a header: any header may be a key. Messages of other people's
code may quote them, so what a request is known to hold is looked for in a message and struck out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

STRUCK: Final = "***"

# Headers that say nothing about who asks. All others are taken for secret.
_HARMLESS: Final = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection"),
        *(b"content-encoding", b"content-length", b"content-type", b"expect", b"host", b"pragma"),
        *(b"te", b"transfer-encoding", b"upgrade", b"user-agent"),
    }
)

# Shorter pieces are words of any message, and no secret.
_SHORTEST: Final = 4

_USERINFO: Final = re.compile(r"(?<=://)[^\s/?#]*@")
_QUERY: Final = re.compile(r"(?<=\S)\?[^\s'\"]+")
_PIECES: Final = re.compile(rb"[^\s;,=&\"]+")
_MOST_REPRS: Final = 2

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def described(method: str, scheme: str, host: str, port: int | None, target: bytes) -> str:
    """Name a request in one line."""
    path = target.partition(b"?")[0].partition(b"#")[0].decode("ascii", "backslashreplace")
    if "://" in path:  # the absolute form (RFC 9112, 3.2.2) has an authority, and with it perhaps userinfo
        path = _USERINFO.sub(f"{STRUCK}@", path)
    place = f"[{host}]" if ":" in host else host
    return _one_line(f"{method} {scheme}://{place}{'' if port is None else f':{port}'}{path}")


def secrets_of(headers: Iterable[tuple[bytes, bytes]], target: bytes, userinfo: bytes = b"") -> list[bytes]:
    """Give what a request holds that nobody is to read: whole values and the pieces they are made of."""
    values = [value for name, value in headers if name.lower() not in _HARMLESS]
    values += [target.partition(b"?")[2], userinfo, *userinfo.split(b":")]
    found = {*values, *(unquote_to_bytes(value) for value in values)}
    found |= {piece for value in found for piece in (*_PIECES.findall(value), *_values_in(value))}
    found |= {unquote_to_bytes(piece) for piece in found}
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)


def _values_in(pairs: bytes) -> Iterator[bytes]:
    """Give what is behind the first equals signs, in a cookie and in a query, whatever else it holds."""
    for separator in (b";", b"&"):
        for pair in pairs.split(separator):
            yield pair.partition(b"=")[2].strip()


def redacted(message: str, secrets: Iterable[bytes]) -> str:
    """Strike out of *message* what is secret, however it is spelled there; it is one line then."""
    for secret in secrets:
        for spelling in _spellings(secret):
            message = message.replace(spelling, STRUCK)
    return _one_line(_QUERY.sub(f"?{STRUCK}", _USERINFO.sub(f"{STRUCK}@", message)))


def without(cause: BaseException | None, secrets: Iterable[bytes]) -> BaseException | None:
    """Give *cause*, or None if it, or what it came from, would tell any of *secrets*."""
    secrets, one = [*secrets], cause
    while one is not None:
        told = f"{one} {one!r}"
        if any(spelling in told for secret in secrets for spelling in _spellings(secret)):
            return None
        one = one.__cause__ or one.__context__
    return cause


def _spellings(secret: bytes) -> set[str]:
    """As text, and as Python writes bytes and text in a repr, or in the repr of a text with a repr in it."""
    texts = {
        secret.decode("latin-1"),
        secret.decode("utf-8", "replace"),
        secret.decode("utf-8", "surrogateescape"),
    }
    found = texts | {secret.decode("ascii", "backslashreplace")}
    for _ in range(_MOST_REPRS):
        found |= {spelling for text in found for spelling in _escaped(text)}
    return {spelling for spelling in found if len(spelling) >= _SHORTEST}


def _escaped(text: str) -> Iterator[str]:
    """Escape *text* as a repr does; whether quotes are escaped depends on what else is between them."""
    for told in (
        repr(f'"{text}')[2:-1],
        repr(text.encode("utf-8", "surrogateescape") + b'"')[2:-2],
        ascii(f'"{text}')[2:-1],
    ):
        plain = told.replace("\\'", "'")
        yield plain
        yield plain.replace("'", "\\'")


def _one_line(text: str) -> str:
    """Leave no line break to forge a line of a log with."""
    return _CONTROL.sub(" ", text)
