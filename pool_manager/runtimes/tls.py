"""
TLS contexts: built at the first request that needs one, once for each distinct setting.

Loading a set of CAs takes 20-40 ms and most of a megabyte; it is what makes an
ordinary client slow to make.

A context of the caller's is never changed, yet HTTP/2 has to be offered on our
connections: `offering` gives what offers our protocols and is his context in
all else.
"""

from __future__ import annotations

import platform
import ssl
import threading
import weakref
from pathlib import Path
from typing import TypeAlias

import certifi

from pool_manager.config import PoolConfig
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.alpn import Offering, Plain
from pool_manager.runtimes.forks import COMPUTING

_Key: TypeAlias = tuple[object, ...]


def offering(config: PoolConfig, contexts: ContextCache) -> ssl.SSLContext:
    """
    Give what a connection of a pool with *config* is encrypted by: offers what the config allows.

    Raises:
        TransportFailure: A file of CAs or a certificate cannot be read.
    """
    try:
        return contexts.offering(config)
    except OSError as error:  # ssl.SSLError is one: a file of certificates that is none
        raise TransportFailure("ConnectError", f"no TLS context can be made: {error}") from error


def protocols(config: PoolConfig) -> list[str]:
    """Name what ALPN offers (RFC 7301, 3.1), the preferred one first."""
    return ["h2"] * config.http2 + ["http/1.1"] * config.http1


class ContextCache:
    """
    The contexts of one manager, kept until `clear`.

    A lock for each key: two threads that need the same context build it once,
    and nobody waits for the context of somebody else.
    """

    def __init__(self) -> None:
        self._contexts: dict[_Key, ssl.SSLContext] = {}
        self._building: dict[_Key, threading.Lock] = {}
        # A config refers to its context, never the other way: both can be collected.
        self._offerings: weakref.WeakKeyDictionary[PoolConfig, Offering] = weakref.WeakKeyDictionary()

    def has(self, config: PoolConfig) -> bool:
        """Whether `get` and `offering` give at once, with no file to read."""
        return not isinstance(config.verify, bool | str) or _key(config) in self._contexts

    def get(self, config: PoolConfig) -> ssl.SSLContext:
        """
        Give the context for *config*, building it if nobody has yet.

        Raises:
            OSError, ssl.SSLError: A file of CAs or a certificate cannot be read.
        """
        if not isinstance(config.verify, bool | str):
            return config.verify  # "is it an ssl.SSLContext" has two answers, see `alpn.Plain`
        key = _key(config)
        context = self._contexts.get(key)
        if context is None:
            with self._building.setdefault(key, threading.Lock()):
                context = self._contexts.get(key)
                if context is None:
                    with COMPUTING:
                        context = self._contexts[key] = _build(config)
        return context

    def offering(self, config: PoolConfig) -> ssl.SSLContext:
        """
        Give the context for *config*, with its protocols on offer and no others.

        Ours are treated as the caller's. A context with a `wrap_bio` of its own (truststore's)
        is used as it is: what it offers is its owner's business.

        Raises:
            OSError, ssl.SSLError: As `get`.
        """
        context = self.get(config)
        if type(context) is not Plain:
            return context
        offer = self._offerings.get(config)
        if offer is None or not offer.still_mirrors(context):
            offer = self._offerings[config] = Offering.of(context, protocols(config))
        return offer

    def clear(self) -> None:
        """Forget every context: certificates on disk were renewed, or this is a forked child."""
        # Replaced, not emptied: another thread, or one that fork left behind, may be building.
        self._contexts = {}
        self._building = {}
        self._offerings = weakref.WeakKeyDictionary()


def _key(config: PoolConfig) -> _Key:
    # ALPN is set on the context, so that protocols are part of what it is.
    return (config.verify, config.cert, config.trust_store, config.http1, config.http2)


def _build(config: PoolConfig) -> ssl.SSLContext:
    if config.verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(config.verify, str):
        is_file = Path(config.verify).is_file()
        context = ssl.create_default_context(
            cafile=config.verify if is_file else None, capath=None if is_file else config.verify
        )
    else:
        context = _with_store(config.trust_store)
    if config.cert is not None:
        context.load_cert_chain(*((config.cert,) if isinstance(config.cert, str) else config.cert))
    context.set_alpn_protocols(protocols(config))
    return context


def _with_store(store: str) -> ssl.SSLContext:
    if store == "certifi":
        return ssl.create_default_context(cafile=certifi.where())
    context = _system_context()
    if store == "both":
        context.load_verify_locations(cafile=certifi.where())
        # httpx's contexts allow this from Python 3.13 on, httpx2's are not strict: what either
        # accepted before must verify on the pool that both share.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _system_context() -> ssl.SSLContext:
    """
    Trust what this machine trusts.

    macOS and Windows keep their CAs where OpenSSL does not look: `truststore`
    (it comes with httpx2) asks the system. Elsewhere OpenSSL's own paths are
    it; they are named, since `load_default_certs` would read ``SSL_CERT_FILE``
    also where ``trust_env=False`` forbids it.
    """
    if platform.system() in ("Darwin", "Windows"):
        try:
            import truststore  # noqa: PLC0415 - there with httpx2 only
        except ImportError:
            return ssl.create_default_context()
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    cafile = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    capath = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if cafile or capath:
        context.load_verify_locations(cafile, capath)
    return context
