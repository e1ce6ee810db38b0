"""What the client is like that an SDK makes by itself: a pooled one is to have its timeouts and redirects."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import attrs

from pool_manager.libraries import library_of


@attrs.frozen
class OwnClient:
    """
    An SDK's own client, as far as it differs from its library's.

    Attributes:
        library: What it is made of.

        timeout: Its timeouts, as the library has them.

        follow_redirects: Whether it does.
    """

    library: ModuleType
    timeout: object
    follow_redirects: bool

    @classmethod
    def of(cls, sdk_class: type, make: Callable[[], Any]) -> OwnClient:
        """
        Tell what *sdk_class* makes, of a client that it has made: once for each class.

        The code that says so is the SDK's, and says it nowhere else. Making one connects to nothing.

        Args:
            sdk_class: The SDK's class.

            make: Gives an SDK's own client, one that is not used for anything else.
        """
        known = _known.get(sdk_class)
        if known is None:
            made = make()
            found = library_of(cast("type[object]", type(made)))
            assert found is not None, f"{sdk_class.__name__} makes a client of neither library"
            known = _known[sdk_class] = cls(found[0], made.timeout, made.follow_redirects)
            if not found[1]:
                made.close()  # one of an event loop, unused, has nothing to close
        return known

    def kind(self, *, is_async: bool) -> type[Any]:
        """Give the library's class of clients."""
        kind: type[Any] = self.library.AsyncClient if is_async else self.library.Client
        return kind


_known: weakref.WeakKeyDictionary[type, OwnClient] = weakref.WeakKeyDictionary()
