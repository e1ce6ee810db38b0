"""What this process runs on: libraries, TLS, limits."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
from collections.abc import Iterator
from typing import Final

import attrs
import certifi

from pool_manager import switch
from pool_manager.config import Limits

# The oldest that this package works with; None for any.
_LIBRARIES: Final = {"httpx": (0, 28, 1), "httpx2": (2, 16), "h2": (4, 2), "h11": (0, 16)}
_OPTIONAL: Final = {
    "httptools": "HTTP/1.1 is read by h11, at several times the cost",
    "uvloop": "asyncio's own loop is used",
    "trio": "asyncio and threads alone",
}
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@attrs.frozen
class Fact:
    """
    One thing that was found.

    Attributes:
        name: What of.

        value: What was found. Holds no secret.

        problem: Why something will not work; None if all is well.
    """

    name: str
    value: str
    problem: str | None = None


def facts() -> Iterator[Fact]:
    """Give what was found."""
    yield Fact("Python", f"{platform.python_implementation()} {platform.python_version()}")
    yield Fact("pool-manager", importlib.metadata.version("pool-manager"))
    yield from (_library(name, oldest) for name, oldest in _LIBRARIES.items())
    for name, without in _OPTIONAL.items():
        yield Fact(name, version_of(name) or f"not installed: {without}")
    yield Fact("TLS", ssl.OPENSSL_VERSION)
    yield (
        Fact("ALPN", "yes")
        if ssl.HAS_ALPN
        else Fact("ALPN", "no", "without ALPN there is no HTTP/2 over TLS")
    )
    yield _store()
    yield _descriptors()
    named = [name for name in _PROXIES if name in os.environ or name.lower() in os.environ]
    yield Fact("proxies of the environment", ", ".join(named) or "none")
    yield Fact(switch.VARIABLE, "set: install() and run do nothing" if switch.disabled() else "not set")


def version_of(name: str) -> str | None:
    """Give the version of what is installed, None if it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(name: str, oldest: tuple[int, ...]) -> Fact:
    version = version_of(name)
    if version is None:
        return Fact(name, "not installed", None if name == "httpx2" else "pool_manager requires it")
    numbers = tuple(int(part) for part in version.split(".")[: len(oldest)] if part.isdecimal())
    is_old = numbers < oldest
    return Fact(name, version, f"too old: {'.'.join(map(str, oldest))} is needed" if is_old else None)


def _store() -> Fact:
    """Tell where CAs come from: certifi, the system, or the files that the environment names."""
    named = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    missing = [name for name in named if not os.path.exists(os.environ[name])]  # noqa: PTH110 - a list of dirs, too
    if missing:
        return Fact("TLS store", ", ".join(named), f"{', '.join(missing)} names no file")
    if named:
        return Fact("TLS store", f"as {', '.join(named)} says")
    paths = ssl.get_default_verify_paths()
    system = paths.cafile or paths.capath or "none found"
    return Fact(
        "TLS store", f"certifi {version_of('certifi')} ({certifi.where()}) and the system's ({system})"
    )


def _descriptors() -> Fact:
    """Tell how many files and sockets may be open."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return Fact("file descriptors", "no limit known")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = Limits().max_connections
    is_low = soft != resource.RLIM_INFINITY and soft < wanted
    problem = f"a pool may open {wanted} connections: raise the limit (ulimit -n), or lower Limits"
    return Fact("file descriptors", f"{soft} (at most {hard})", problem if is_low else None)
