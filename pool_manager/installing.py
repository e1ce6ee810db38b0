"""
Every client on the pool without a line of its own: `PoolManager.install`.

Both libraries make a client's transports in two of its methods, and nowhere else.
Hooked there, all the rest of a client stays the library's own work: mounts,
proxies of the environment, subclasses, what it says of itself. A client that is
given a transport asks for none, and so keeps it. The two names are private to the
libraries, which both have them; a client class that has a method of its own under
one of them is not touched.

What the pool cannot carry, or refuses, is left to the library: its errors are in
its own words.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, TracebackType
from typing import Any, Final, Self, cast, final

import attrs

from pool_manager import switch
from pool_manager.config import Limits, PoolConfig
from pool_manager.errors import ConfigError, PoolClosed
from pool_manager.libraries import known, library_of
from pool_manager.making import Maker, Terms, name_of
from pool_manager.transports import Face, PoolTransport, face_of

_log = logging.getLogger(__name__)

# What the hooked methods are called with, and what each is where nobody says anything.
_UNSAID: Final[Mapping[str, object]] = {
    "verify": True,
    "cert": None,
    "trust_env": True,
    "http1": True,
    "http2": False,
    "proxy": None,
}

_lock = threading.Lock()
_installed: tuple[Installation, ...] = ()  # the last one decides; replaced as a whole, read without the lock
_hooked: list[_Hook] = []


@final
class Installation:
    """
    What `install` gives: holds until it is undone, by `uninstall` or at the end of a `with`.

    Clients that were made meanwhile stay on the pool.
    """

    def __init__(self, maker: Maker, config: PoolConfig | None) -> None:
        self.maker: Final = maker
        # A client that says nothing of HTTP/2 expects the library's own, HTTP/1.1.
        default = attrs.evolve(maker.config, http1=True, http2=False) if config is None else config
        self._config: Final = maker.checked(default)
        self._limits: Final = maker.limits

    @property
    def active(self) -> bool:
        """Whether it holds."""
        return self in _installed

    def uninstall(self) -> None:
        """Have clients made as before, unless something else is installed, too. Safe to repeat."""
        global _installed  # noqa: PLW0603 - the libraries are there once for the process
        with _lock:
            _installed = tuple(other for other in _installed if other is not self)
            if not _installed:
                _remove_hooks()

    def transport(self, client: object, said: Mapping[str, object]) -> PoolTransport | None:
        """Make a transport for *client*, which was made with what is *said*; None if the pool cannot."""
        found = library_of(type(client))
        unknown = said.keys() - _UNSAID.keys() - {"limits", "transport"}
        if found is None or unknown:
            return None
        face, is_async = face_of(found[0]), found[1]
        try:
            return self._make(face, name_of(type(client)), said, is_async=is_async)
        except (ConfigError, PoolClosed) as error:
            _log.debug("a client is not pooled: %s", error)
            return None

    def _make(self, face: Face, name: str, said: Mapping[str, object], *, is_async: bool) -> PoolTransport:
        own = {key: said[key] for key in _UNSAID.keys() & said.keys() if said[key] != _UNSAID[key]}
        if "proxy" in own:
            own = {**own, "proxy": face.proxy(own["proxy"]), "uds": None, "local_address": None}
        config = attrs.evolve(self._config, **cast(Any, own))
        limits = cast("Limits | None", said.get("limits"))
        if limits is None or limits == face.library._config.DEFAULT_LIMITS:
            limits = self._limits
        terms = Terms(name=name, config=config, installed=True)
        tenancy = self.maker.take(terms, Limits.parse(limits), reopens=True)
        try:
            tenancy.join(is_async=is_async)
            # Which proxy a URL needs is what the client's own mounts tell.
            return self.maker.transport(face, tenancy, tenancy.share, owns=True, routes={})
        except BaseException:
            tenancy.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.uninstall()


def install(maker: Maker, config: PoolConfig | None) -> Installation:
    """
    Have every client pooled by *maker* from now on; nothing at all where the kill switch is on.

    Raises:
        ConfigError: *config* is none.
    """
    global _installed  # noqa: PLW0603 - as in `uninstall`
    made = Installation(maker, config)
    if switch.disabled():
        return made
    libraries = _libraries()  # imports, which are nothing to do under a lock
    with _lock:
        if not _installed:
            _hooked.extend(_put_hooks(libraries))
        _installed = (*_installed, made)
    return made


def uninstall(maker: Maker) -> None:
    """Undo every installation of *maker*'s."""
    for installation in _installed:
        if installation.maker is maker:
            installation.uninstall()


def _libraries() -> list[ModuleType]:
    """Give both libraries, the second one imported here: a client made later may be of it."""
    if importlib.util.find_spec("httpx2") is not None:
        importlib.import_module("httpx2")
    return list(known())


@attrs.frozen(eq=False)
class _Hook:
    """A method of a library's, and what stands in for it."""

    kind: type
    name: str
    original: Callable[..., Any]
    stand_in: Callable[..., Any]

    @classmethod
    def put(cls, kind: type, name: str) -> _Hook:
        original = cast("Callable[..., Any]", vars(kind)[name])
        made = cls(kind, name, original, _hook(original, takes_proxy="proxy" in name))
        setattr(kind, name, made.stand_in)
        return made

    def remove(self) -> None:
        """Put the original back, unless somebody has wrapped the hook: it does nothing any more."""
        if vars(self.kind)[self.name] is self.stand_in:
            setattr(self.kind, self.name, self.original)


def _put_hooks(libraries: list[ModuleType]) -> Iterator[_Hook]:
    places = {
        # Where it is written: some tools put a subclass in the place of a library's class.
        (next(kind for kind in client.__mro__ if name in vars(kind)), name)
        for library in libraries
        for client in (library.Client, library.AsyncClient)
        for name in ("_init_transport", "_init_proxy_transport")
    }
    return (_Hook.put(kind, name) for kind, name in places)


def _remove_hooks() -> None:
    while _hooked:
        _hooked.pop().remove()


def _hook(original: Callable[..., Any], *, takes_proxy: bool) -> Callable[..., Any]:
    """Make the method that stands in for *original*."""

    @functools.wraps(original)
    def make_transport(client: Any, *args: Any, **kwargs: Any) -> Any:
        said = {"proxy": args[0], **kwargs} if takes_proxy and len(args) == 1 else kwargs
        installed = _installed
        as_the_library_calls = len(args) == takes_proxy and kwargs.get("transport") is None
        pooled = installed[-1].transport(client, said) if installed and as_the_library_calls else None
        return original(client, *args, **kwargs) if pooled is None else pooled

    return make_transport
