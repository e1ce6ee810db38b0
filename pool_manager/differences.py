"""What came between two snapshots of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

import attrs

GROWS: Final = {"grows": True}  # the metadata of fields that are counters


class _Part(Protocol):
    """What a snapshot has several of."""

    @property
    def key(self) -> object: ...

    def since(self, earlier: Any) -> object: ...  # noqa: ANN401 - one of the same


def grown(now: attrs.AttrsInstance, earlier: attrs.AttrsInstance) -> dict[str, Any]:
    """Give the counters of *now*, counted from *earlier*."""
    return {
        field.name: _less(getattr(now, field.name), getattr(earlier, field.name))
        for field in attrs.fields(type(now))
        if "grows" in field.metadata
    }


def _less(now: Any, earlier: Any) -> Any:  # noqa: ANN401 - of any field
    if hasattr(now, "since"):
        return now.since(earlier)
    if isinstance(now, Mapping):
        by_cause = cast("Mapping[str, int]", now)
        return {cause: more for cause, number in by_cause.items() if (more := number - earlier.get(cause, 0))}
    if isinstance(now, tuple):
        parts = cast("tuple[_Part, ...]", now)
        then: dict[object, Any] = {part.key: part for part in earlier}
        return tuple(part.since(then[part.key]) if part.key in then else part for part in parts)
    return now - earlier
