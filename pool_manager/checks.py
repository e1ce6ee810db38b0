"""Validators for `config`: each refuses with the field, what it was and what it may be."""

from __future__ import annotations

import ipaddress
import math
import os
import ssl
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import attrs

from pool_manager.errors import ConfigError

_Attribute: TypeAlias = "attrs.Attribute[Any]"  # of whatever field it stands beside

_MOST_CERT_PARTS: Final = 3  # certificate, key, password


def refuse(field: str, value: object, allowed: str) -> ConfigError:
    """The one form of a `ConfigError`: the field, what it was, what it may be."""
    return ConfigError(f"{field} must be {allowed}, not {value!r}")


def flag(_: object, attribute: _Attribute, value: object) -> None:
    """Accept True and False alone: 1 and "yes" would make equal-looking configs differ."""
    if not isinstance(value, bool):
        raise refuse(attribute.name, value, "True or False")


def text(_: object, attribute: _Attribute, value: object) -> None:
    """Accept a non-empty string."""
    if not isinstance(value, str) or not value:
        raise refuse(attribute.name, value, "a non-empty string")


class Count:
    """Accept a whole number of at least *minimum*, or `math.inf` for no limit."""

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum

    def __call__(self, _: object, attribute: _Attribute, value: object) -> None:
        """Refuse True too: it is an int to Python, and never meant as one here."""
        if value != math.inf and (type(value) is not int or value < self._minimum):
            raise refuse(attribute.name, value, f"a whole number, {self._minimum} or more, or math.inf")


def seconds(_: object, attribute: _Attribute, value: object) -> None:
    """Accept a time in seconds; `math.inf` means no limit, NaN is refused."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise refuse(attribute.name, value, "seconds, 0 or more (math.inf for no limit)")


def verify(_: object, attribute: _Attribute, value: object) -> None:
    """Accept what httpx calls `verify`; a path must be there (a directory list: one of it)."""
    if isinstance(value, str):
        if not any(part and Path(part).exists() for part in value.split(os.pathsep)):
            raise refuse(attribute.name, value, "the path of an existing CA file or directory")
    elif not isinstance(value, bool | ssl.SSLContext):
        raise refuse(attribute.name, value, "True, False, a path or an ssl.SSLContext")


def cert(_: object, attribute: _Attribute, value: object) -> None:
    """Accept None, a path, or (cert, key[, password]) whose files exist."""
    if value is None:
        return
    parts = cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,))
    paths = [part for part in parts if isinstance(part, str)]
    if not 1 <= len(parts) <= _MOST_CERT_PARTS or len(paths) != len(parts):
        # Not shown: the third part is a password.
        raise ConfigError(
            f"{attribute.name} must be a path, or (cert, key) or (cert, key, password), as strings"
        )
    for path in paths[:2]:
        if not Path(path).is_file():
            raise refuse(attribute.name, path, "the path of an existing certificate or key")


def trust_store(_: object, attribute: _Attribute, value: object) -> None:
    """Accept the name of a set of CAs."""
    if value not in ("both", "certifi", "system"):  # a tuple: what is asked may not hash
        raise refuse(attribute.name, value, "'both', 'certifi' or 'system'")


def options(_: object, attribute: _Attribute, value: tuple[object, ...]) -> None:
    """Accept what `socket.setsockopt` takes: two numbers and a number or bytes."""
    for option in value:
        match option:
            case (int(), int(), int() | bytes()):
                pass
            case _:
                raise refuse(attribute.name, option, "triples (level, name, value)")


def pairs(_: object, attribute: _Attribute, value: object) -> None:
    """Accept a tuple of pairs of bytes. What it was is not shown: it may be a secret."""
    if not isinstance(value, tuple) or not all(is_pair(pair) for pair in cast("tuple[object, ...]", value)):
        raise ConfigError(f"{attribute.name} must be pairs of bytes")


def pair(_: object, attribute: _Attribute, value: object) -> None:
    """Accept None or a pair of bytes. What it was is not shown: it is a secret."""
    if value is not None and not is_pair(value):
        raise ConfigError(f"{attribute.name} must be a pair of bytes")


def is_pair(value: object) -> bool:
    """Whether *value* is a tuple of two bytes objects."""
    match value:
        case (bytes(), bytes()):
            return isinstance(value, tuple)
        case _:
            return False


def context(_: object, attribute: _Attribute, value: object) -> None:
    """Accept None or a TLS context."""
    if value is not None and not isinstance(value, ssl.SSLContext):
        raise refuse(attribute.name, value, "an ssl.SSLContext")


def address(_: object, attribute: _Attribute, value: object) -> None:
    """Accept None or an IP address."""
    if value is None:
        return
    try:
        ipaddress.ip_address(value if isinstance(value, str) else repr(value))
    except ValueError:
        raise refuse(attribute.name, value, "an IP address of this machine") from None
