"""How the classes of a generated SDK are recognised: by their arguments, and by the modules around them."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Mapping

_log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1024)  # reading signatures takes longer than making a client
def arguments(kind: type) -> Mapping[str, inspect.Parameter]:
    """Give what the class's own constructor takes; nothing if it has none."""
    try:
        return inspect.signature(kind.__dict__.get("__init__", object.__init__)).parameters
    except (TypeError, ValueError):  # no signature, as many classes of C have none
        return {}


def takes(sdk_class: type, name: str) -> bool:
    """Whether an argument *name* reaches the constructor of *sdk_class*, or through it that of a base."""
    for kind in sdk_class.__mro__:
        if "__init__" in vars(kind):
            found = arguments(kind)
            if name in found:
                return True
            if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found.values()):
                return False
    return False


def outwards(module: str, name: str, within: str = "") -> object | None:
    """
    Look *name* up in *module*, then in each package around it: openai.lib.azure, openai.lib, openai.

    Args:
        module: Where to begin.

        name: What to look for.

        within: A module inside each of those in which it is to be, "core.client_wrapper".
    """
    while module:
        found: object | None = getattr(sys.modules.get(f"{module}.{within}".rstrip(".")), name, None)
        if found is not None:
            return found
        module = module.rpartition(".")[0]
    return None


def chose(sdk_class: type, name: str, kwargs: Mapping[str, object]) -> bool:
    """Whether the caller has passed a client of their own as *name*: told once, since it is not pooled."""
    if kwargs.get(name) is None:
        return False
    _log.warning("%s has a %s of its own and is not pooled", sdk_class.__name__, name)
    return True
