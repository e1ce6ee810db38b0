"""
What a pool may do: said once, checked once, never changed.

`PoolConfig` holds what makes sharing unsafe if it differs, and is the sharing
key itself: equal configs share connections, others never do. `Limits` and
`Lane` say how far a pool may grow. A value that cannot work raises
`ConfigError` when the object is made, not when the first request fails.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import socket
import ssl
from collections.abc import Iterable
from typing import Final, Literal, Protocol, TypeAlias, cast

import attrs
import httpx

from pool_manager import checks
from pool_manager.errors import ConfigError

__all__ = ["Lane", "Limits", "PoolConfig", "Proxy"]

SocketOption: TypeAlias = tuple[int, int, int | bytes]
TrustStore: TypeAlias = Literal["both", "certifi", "system"]
Cert: TypeAlias = str | tuple[str, str] | tuple[str, str, str]

_MAX_PORT: Final = 65535
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


def _keepalive_options() -> tuple[SocketOption, ...]:
    """
    Socket options that find a silently dead peer within about three minutes.

    A NAT or load balancer drops an idle flow without a word; without these the
    next request hangs for its whole read timeout.
    """
    options: list[SocketOption] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # TCP_KEEPALIVE is macOS's name for the idle time; not every platform has each of them.
    for name, value in (
        ("TCP_KEEPIDLE", 45),
        ("TCP_KEEPALIVE", 45),
        ("TCP_KEEPINTVL", 30),
        ("TCP_KEEPCNT", 4),
    ):
        number = getattr(socket, name, None)
        if number is not None:
            options.append((socket.IPPROTO_TCP, number, value))
    return tuple(options)


def _to_options(value: Iterable[SocketOption] | None) -> tuple[SocketOption, ...]:
    if value is None:
        return _keepalive_options()
    try:
        return tuple(tuple(option) for option in value)  # type: ignore[misc]  # the validator looks at the shape
    except TypeError:
        raise checks.refuse("socket_options", value, "triples (level, name, value)") from None


class HeadersLike(Protocol):
    """What `httpx.Headers` and `httpx2.Headers` have in common."""

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Pairs as they go on the wire."""
        ...


class ProxyLike(Protocol):
    """What `httpx.Proxy` and `httpx2.Proxy` have in common."""

    @property
    def url(self) -> object:
        """Where it is, without credentials."""
        ...

    @property
    def headers(self) -> HeadersLike:
        """Headers for it alone."""
        ...

    @property
    def raw_auth(self) -> tuple[bytes, bytes] | None:
        """User and password."""
        ...

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS to the proxy itself."""
        ...


def _proxy_url(value: object) -> str:
    """Give the one spelling of a proxy's URL: as httpx normalises it."""
    try:
        url = httpx.URL(value) if isinstance(value, str) else None
    except httpx.InvalidURL:
        url = None
    if url is None or url.scheme not in _PROXY_SCHEMES or not url.host or url.userinfo:
        raise _not_a_proxy(value)
    if url.port is not None and not 0 < url.port <= _MAX_PORT:
        raise _not_a_proxy(value)
    if url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigError(f"proxy {url.scheme}://{url.host} needs socksio: pip install 'httpx[socks]'")
    return str(url)


def _not_a_proxy(value: object) -> ConfigError:
    return checks.refuse("proxy", _masked(value), f"a URL with one of {', '.join(_PROXY_SCHEMES)}")


def _masked(url: object) -> object:
    """The URL as it may appear in an error: whoever reads the log is not the proxy."""
    if not isinstance(url, str) or "@" not in url:
        return url
    scheme = next((f"{scheme}://" for scheme in _PROXY_SCHEMES if url.startswith(f"{scheme}://")), "")
    return f"{scheme}***@{url.rpartition('@')[2]}"


@attrs.frozen(kw_only=True)
class Proxy:
    """
    A proxy as a sharing key: where it is, and who we are to it.

    Attributes:
        url: ``scheme://host:port`` without credentials; http, https, socks5 or socks5h.

        auth: User and password for the proxy, as bytes; never shown in a repr.

        headers: Extra headers for the proxy alone, as raw pairs; never shown in a repr.

        ssl_context: TLS to the proxy itself, for an https proxy.
    """

    url: str = attrs.field(converter=_proxy_url)
    auth: tuple[bytes, bytes] | None = attrs.field(default=None, repr=False, validator=checks.pair)
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(default=(), repr=False, validator=checks.pairs)
    ssl_context: ssl.SSLContext | None = attrs.field(default=None, validator=checks.context)

    @classmethod
    def parse(cls, value: Proxy | ProxyLike | str) -> Proxy:
        """
        Read a proxy from a URL, credentials and all, or from an `httpx.Proxy` or `httpx2.Proxy`.

        Raises:
            ConfigError: The URL is not that of a proxy, or SOCKS is asked for and
                `socksio` is not installed.
        """
        if isinstance(value, Proxy):
            return value
        try:
            theirs = cast(ProxyLike, value) if hasattr(value, "raw_auth") else httpx.Proxy(str(value))
            url, auth, headers, context = theirs.url, theirs.raw_auth, theirs.headers.raw, theirs.ssl_context
        except (ValueError, AttributeError, httpx.InvalidURL):
            raise _not_a_proxy(value) from None
        if isinstance(url, httpx.URL) and not url.host:
            raise _not_a_proxy(value)  # here, where it is known how it was written
        return cls(url=str(url), auth=auth, headers=tuple(headers), ssl_context=context)


def _to_proxy(value: object) -> Proxy | None:
    return None if value is None else Proxy.parse(value)  # type: ignore[arg-type]  # it says what it may be


@attrs.frozen(kw_only=True, cache_hash=True)
class PoolConfig:
    """
    How a pool connects. Equal configs share connections; others never do.

    Attributes:
        http1: Allow HTTP/1.1.

        http2: Allow HTTP/2, chosen by ALPN. With ``http1=False`` it is used on
            ``http://`` too, by prior knowledge.

        verify: True, False, the path of a CA file or directory, or an
            `ssl.SSLContext`, which compares by identity.

        cert: Client certificate: a path, ``(cert, key)`` or ``(cert, key, password)``.

        trust_store: Which CAs `verify=True` means: "certifi" (httpx's choice),
            "system" (httpx2's choice) or "both", so that a host which verified
            before verifies on the shared pool.

        trust_env: Honour ``HTTP_PROXY`` and its kin, ``NO_PROXY``, ``SSL_CERT_FILE``
            and ``SSL_CERT_DIR``.

        proxy: A proxy for every request; a URL, `httpx.Proxy` or `Proxy`.

        local_address: The IP address to connect from.

        uds: The path of a Unix domain socket to connect to instead.

        socket_options: Triples for `socket.setsockopt`; TCP keepalive by default.

    Raises:
        ConfigError: A value cannot be used; the message names the field.
    """

    http1: bool = attrs.field(default=True, validator=checks.flag)
    http2: bool = attrs.field(default=True, validator=checks.flag)
    verify: bool | str | ssl.SSLContext = attrs.field(default=True, validator=checks.verify)
    cert: Cert | None = attrs.field(default=None, validator=checks.cert, repr=False)
    trust_store: TrustStore = attrs.field(default="both", validator=checks.trust_store)
    trust_env: bool = attrs.field(default=True, validator=checks.flag)
    proxy: Proxy | None = attrs.field(default=None, converter=_to_proxy)
    local_address: str | None = attrs.field(default=None, validator=checks.address)
    uds: str | None = attrs.field(default=None, validator=attrs.validators.optional(checks.text))
    socket_options: tuple[SocketOption, ...] = attrs.field(
        default=None, converter=_to_options, validator=checks.options
    )

    def __attrs_post_init__(self) -> None:
        if not (self.http1 or self.http2):
            raise ConfigError("http1 and http2 must not both be False: no protocol would be left")
        if self.cert is not None and isinstance(self.verify, ssl.SSLContext):
            raise ConfigError(
                "cert must be None when verify is an ssl.SSLContext: call its load_cert_chain() instead"
            )
        if self.proxy is not None and (self.uds is not None or self.local_address is not None):
            raise ConfigError(
                "proxy must be None when uds or local_address is given: a proxy is reached over TCP"
            )

    def with_environment(self) -> PoolConfig:
        """
        This config with the CAs that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` name.

        What the environment says becomes part of the sharing key, as plain as
        if it had been passed: another trust store never shares.

        Raises:
            ConfigError: The variable names a path that does not exist.
        """
        if self.trust_env and self.verify is True:
            for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
                if path := os.environ.get(variable):
                    return _with_authorities(self, variable, path)
        return self


@functools.lru_cache(maxsize=64)  # each client asks: one object for all keeps clients small
def _with_authorities(config: PoolConfig, variable: str, path: str) -> PoolConfig:
    try:
        return attrs.evolve(config, verify=path)
    except ConfigError as error:
        raise ConfigError(f"{variable}: {error}") from None


class LimitsLike(Protocol):
    """What `httpx.Limits` and `httpx2.Limits` have in common; None means no limit."""

    @property
    def max_connections(self) -> int | None: ...
    @property
    def max_keepalive_connections(self) -> int | None: ...
    @property
    def keepalive_expiry(self) -> float | None: ...


@attrs.frozen(kw_only=True, cache_hash=True)
class Limits:
    """
    How far a pool may grow, and how long it may keep a caller waiting.

    Counts are whole numbers, times are seconds; `math.inf` means no limit.

    Attributes:
        max_connections: Connections of one pool, those being opened included.

        max_connections_per_origin: The same for one scheme, host and port.

        max_keepalive_connections: Idle connections of one pool that are kept.

        keepalive_expiry: Seconds an idle connection is kept.

        max_pending: Requests that may wait before new ones are turned away.

        queue_timeout: Seconds a request may wait for a connection when its own
            pool timeout is None: many SDKs would wait for ever.

        max_connection_age: Seconds until a connection takes no new request, idle or not; up to a twentieth
            less, so that those made together do not go together. The next dial looks the name up anew.

        max_requests_per_connection: Requests until a connection takes no new one.

        max_streams_per_connection: Requests at once on one HTTP/2 connection.

        max_h2_connections_per_origin: HTTP/2 connections to one origin.

        max_connecting_per_origin: Connections being opened at once to one origin.

        linger: Seconds between the last lease going and the pool closing.

        leak_threshold: Seconds for which a lease or a response may be held before the log says so, once,
            with where it was taken. Looked at when the manager is called; nothing runs for it.
    """

    max_connections: float = attrs.field(default=1000, validator=checks.Count(1))
    max_connections_per_origin: float = attrs.field(default=100, validator=checks.Count(1))
    max_keepalive_connections: float = attrs.field(default=100, validator=checks.Count(0))
    keepalive_expiry: float = attrs.field(default=60.0, validator=checks.seconds)
    max_pending: float = attrs.field(default=10_000, validator=checks.Count(0))
    queue_timeout: float = attrs.field(default=60.0, validator=checks.seconds)
    max_connection_age: float = attrs.field(default=math.inf, validator=checks.seconds)
    max_requests_per_connection: float = attrs.field(default=math.inf, validator=checks.Count(1))
    max_streams_per_connection: float = attrs.field(default=100, validator=checks.Count(1))
    max_h2_connections_per_origin: float = attrs.field(default=10, validator=checks.Count(1))
    max_connecting_per_origin: float = attrs.field(default=32, validator=checks.Count(1))
    linger: float = attrs.field(default=0.0, validator=checks.seconds)
    leak_threshold: float = attrs.field(default=math.inf, validator=checks.seconds)

    @classmethod
    def parse(cls, value: Limits | LimitsLike) -> Limits:
        """
        Take *value* as it is, or convert an `httpx.Limits` or `httpx2.Limits`.

        Those know one origin's worth of connections only, so their
        `max_connections` bounds both the pool and each origin.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(value, Limits):
            return value
        try:
            total, idle, expiry = (
                value.max_connections,
                value.max_keepalive_connections,
                value.keepalive_expiry,
            )
        except AttributeError:
            raise checks.refuse(
                "limits", value, "pool_manager.Limits, httpx.Limits or httpx2.Limits"
            ) from None
        return cls(
            max_connections=math.inf if total is None else total,
            max_connections_per_origin=math.inf if total is None else total,
            max_keepalive_connections=math.inf if idle is None else idle,
            keepalive_expiry=math.inf if expiry is None else expiry,
        )


def _to_paths(value: Iterable[str]) -> tuple[str, ...]:
    # A string is an iterable of strings, too, but never meant as one.
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise checks.refuse("paths", value, "a sequence of path suffixes")
    return tuple(value)


@attrs.frozen
class Lane:
    """
    A bulkhead: its requests use connections of their own and hold up no other lane.

    Attributes:
        name: What a request names in ``extensions={"pool_manager": {"lane": ...}}``.

        paths: Path suffixes whose requests take this lane by themselves.

        max_connections_per_origin: Connections of this lane to one origin.

        max_in_flight: Requests of this lane at once in one pool; others wait.
    """

    name: str = attrs.field(validator=checks.text)
    paths: tuple[str, ...] = attrs.field(
        default=(), converter=_to_paths, validator=attrs.validators.deep_iterable(checks.text), kw_only=True
    )
    max_connections_per_origin: float = attrs.field(default=100, validator=checks.Count(1), kw_only=True)
    max_in_flight: float = attrs.field(default=math.inf, validator=checks.Count(1), kw_only=True)

    @classmethod
    def long_poll(
        cls,
        name: str = "polling",
        *,
        paths: Iterable[str] = ("/wait_for_status",),
        max_connections_per_origin: float = math.inf,
        max_in_flight: float = math.inf,
    ) -> Lane:
        """
        Make a lane for requests that the server holds: as many as the pool's limits allow, moving little.

        Under its own name it is the one that `wait_for_status` takes.
        """
        return cls(
            name,
            paths=paths,
            max_connections_per_origin=max_connections_per_origin,
            max_in_flight=max_in_flight,
        )

    @classmethod
    def transfer(
        cls,
        name: str = "transfer",
        *,
        paths: Iterable[str] = ("/upload_file", "/download_file"),
        max_connections_per_origin: float = 100,
        max_in_flight: float = math.inf,
    ) -> Lane:
        """
        Make a lane for long bodies, up and down: no short answer stands behind them on a connection.

        What moves fills the wire and the processor; `max_in_flight` says how much of both.
        """
        return cls(
            name,
            paths=paths,
            max_connections_per_origin=max_connections_per_origin,
            max_in_flight=max_in_flight,
        )
