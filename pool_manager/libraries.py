"""
Which of the two libraries something is made of, and what a type checker is to know of them.

Told by identity (a module object, a class in the MRO), never by name: after
`httpx2.alias_httpx()` the name `httpx` means another library.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import httpx

if TYPE_CHECKING:
    import httpx2

    class HttpxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
        """A pooled transport of httpx, for threads and loops."""

    class Httpx2Transport(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
        """A pooled transport of httpx2, for threads and loops."""


class HttpxLike(Protocol):
    """The module `httpx`, as a type."""

    @property
    def BaseTransport(self) -> type[httpx.BaseTransport]:  # noqa: N802 - the library's name
        """Tell it from the other."""
        ...


class Httpx2Like(Protocol):
    """The module `httpx2`, as a type."""

    @property
    def BaseTransport(self) -> type[httpx2.BaseTransport]:  # noqa: N802 - the library's name
        """Tell it from the other."""
        ...


def known() -> Iterator[ModuleType]:
    """The libraries that clients in this process can be made of. A module not imported has no clients."""
    yield httpx
    for name in ("httpx2", "httpx"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "AsyncClient"):
            yield module


def library_of(kind: type) -> tuple[ModuleType, bool] | None:
    """Tell which library's client *kind* is, and whether an async one; None if it is no client."""
    for library in known():
        if issubclass(kind, library.Client):
            return library, False
        if issubclass(kind, library.AsyncClient):
            return library, True
    return None


def kind_of(error: BaseException) -> str | None:
    """Give the name that both libraries have for a transport error; None if *error* is none of theirs."""
    for library in known():
        if isinstance(error, library.TransportError):
            for kind in type(error).__mro__:
                name: str = kind.__name__
                if getattr(library, name, None) is kind:
                    return name
    return None
