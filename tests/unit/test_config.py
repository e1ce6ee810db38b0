"""Configuration: what cannot work is refused by name, and equal settings are equal keys."""

from __future__ import annotations

import ipaddress
import math
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

import attrs
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import ConfigError, Lane, Limits, PollingConfig, PoolConfig, PoolManager, Proxy
from pool_manager.policies import Retries

LIBRARIES: Final = (httpx, httpx2)
SECRET: Final = "hunter2"  # noqa: S105 - nobody's
HERE: Final = __file__  # a file that exists
CONTEXT: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
KEEPALIVE: Final = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

COUNTS: Final = {
    "max_connections": 1,
    "max_connections_per_origin": 1,
    "max_keepalive_connections": 0,
    "max_pending": 0,
    "max_requests_per_connection": 1,
    "max_streams_per_connection": 1,
    "max_h2_connections_per_origin": 1,
    "max_connecting_per_origin": 1,
}
TIMES: Final = ("keepalive_expiry", "queue_timeout", "max_connection_age", "linger", "leak_threshold")

NOT_COUNTS: Final[tuple[object, ...]] = (True, False, -1, 1.5, 2.0, math.nan, -math.inf, "5", None, [])
NOT_TIMES: Final[tuple[object, ...]] = (True, False, -0.001, -1, math.nan, -math.inf, "5", None, [], 1j)
NOT_TEXTS: Final[tuple[object, ...]] = ("", 5, None, b"bytes")
NOT_OPTIONS: Final[tuple[object, ...]] = (
    5, "abc", [5], [KEEPALIVE[:2]], [(*KEEPALIVE, 4)], [("SOL", 1, 1)],
    [(1, 2, "x")], [(1, 2, None)], [(1, 2, 1.5)], [(1, 2, [])],
)  # fmt: skip

# Field, a value it must refuse, and what the message says it may be.
BAD_CONFIGS: Final[list[tuple[str, object, str]]] = [
    *[
        (field, value, "True or False")
        for field in ("http1", "http2", "trust_env")
        for value in (1, 0, "yes", None)
    ],
    ("verify", "/no/such/ca.pem", "existing CA file or directory"),
    ("verify", "/no/such/ca.pem:/nor/such", "existing CA file or directory"),
    ("verify", "", "path"),
    ("verify", None, "a path or an ssl.SSLContext"),
    ("verify", 1, "a path or an ssl.SSLContext"),
    ("verify", b"/etc", "a path or an ssl.SSLContext"),
    ("verify", ssl.SSLContext, "a path or an ssl.SSLContext"),
    ("cert", "/no/such/cert.pem", "existing certificate or key"),
    ("cert", (HERE, "/no/such/key.pem"), "existing certificate or key"),
    ("cert", "", "existing certificate or key"),
    ("cert", str(Path(HERE).parent), "existing certificate or key"),
    ("cert", (HERE, str(Path(HERE).parent)), "existing certificate or key"),
    ("cert", 5, "a path, or (cert, key)"),
    ("cert", (), "a path, or (cert, key)"),
    ("cert", (HERE, HERE, SECRET, SECRET), "a path, or (cert, key)"),
    ("cert", [HERE, HERE, SECRET], "a path, or (cert, key)"),
    ("cert", (HERE, HERE, SECRET.encode()), "a path, or (cert, key)"),
    *[
        ("trust_store", value, "'both', 'certifi' or 'system'")
        for value in ("mozilla", "", "Both", None, True, ["both"])
    ],
    *[
        ("proxy", value, "a URL with one of http, https, socks5, socks5h")
        for value in (5, "", "proxy:3128", "ftp://proxy", "http://", "http:///x", b"http://proxy", object())
    ],
    *[("proxy", f"http://{place}", "a URL") for place in ("[::1", "proxy:port", "proxy:99999", "proxy:-1")],
    *[
        ("local_address", value, "an IP address")
        for value in ("localhost", "", 5, "300.0.0.1", "127.0.0.1:80", True, ipaddress.ip_address("::1"))
    ],
    *[("uds", value, "a non-empty string") for value in ("", 5, b"/run/x.sock", Path("/run/x.sock"))],
    *[("socket_options", value, "triples (level, name, value)") for value in NOT_OPTIONS],
]  # fmt: skip
BAD_LIMITS: Final[list[tuple[str, object, str]]] = [
    *[
        (field, value, f"a whole number, {least} or more, or math.inf")
        for field, least in COUNTS.items()
        for value in (*NOT_COUNTS, least - 1)
    ],
    *[(field, value, "seconds, 0 or more (math.inf for no limit)") for field in TIMES for value in NOT_TIMES],
]
BAD_LANES: Final[list[tuple[str, object, str]]] = [
    *[("name", value, "a non-empty string") for value in NOT_TEXTS],
    *[("paths", (value,), "a non-empty string") for value in NOT_TEXTS],
    *[("paths", value, "a sequence of path suffixes") for value in ("/uploads", 5, None)],
    *[
        (field, value, "a whole number, 1 or more, or math.inf")
        for field in ("max_connections_per_origin", "max_in_flight")
        for value in (*NOT_COUNTS, 0)
    ],
]
BAD_PROXIES: Final[list[tuple[str, object, str]]] = [
    *[("url", value, "proxy") for value in (5, None, "", "proxy:3128", "ftp://proxy", "http://", "http://proxy:no")],
    ("url", f"http://user:{SECRET}@proxy", "proxy"),  # a URL is printed: credentials go into `auth`
    *[("auth", value, "auth") for value in (SECRET, ("user", SECRET), (b"user",), (b"a", b"b", b"c"), 5)],
    *[("headers", value, "headers") for value in ("X: y", (("X", "y"),), ((b"X",),), 5)],
    *[("ssl_context", value, "ssl_context") for value in (True, "/etc/ssl", 5)],
]  # fmt: skip

# Two values for each field that make two configs different.
DIFFERENT: Final[Mapping[str, tuple[object, object]]] = {
    "http1": (True, False),
    "http2": (True, False),
    "verify": (True, False),
    "cert": (None, HERE),
    "trust_store": ("both", "system"),
    "trust_env": (True, False),
    "proxy": (None, "http://proxy"),
    "local_address": (None, "127.0.0.1"),
    "uds": (None, "/run/x.sock"),
    "socket_options": (None, ()),
}


def refusal(make: Callable[..., object], **kwargs: object) -> str:
    """Give the message of the `ConfigError` that *make* raises."""
    with pytest.raises(ConfigError) as caught:
        make(**kwargs)
    return str(caught.value)


def config_of(**kwargs: object) -> PoolConfig:
    """Make a config of values whose types the test has chosen."""
    return PoolConfig(**cast(Any, kwargs))


# What is refused


@pytest.mark.parametrize(("field", "value", "allowed"), BAD_CONFIGS)
def test_a_config_refuses_by_name(field: str, value: object, allowed: str) -> None:
    """A bad value of a `PoolConfig` is a `ConfigError` with the field and what it may be."""
    message = refusal(PoolConfig, **{field: value})
    assert message.startswith(f"{field} must be ")
    assert allowed in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, value, _ in BAD_CONFIGS if isinstance(value, bool | int | str | None)],
)
def test_a_config_says_what_the_value_was(field: str, value: object) -> None:
    """A refused plain value stands in the message, unless it may hold a password."""
    message = refusal(PoolConfig, **{field: value})
    if field == "proxy":
        assert str(value) in message
    elif field != "socket_options" and (field != "cert" or isinstance(value, str)):
        assert message.endswith(f", not {value!r}")


@pytest.mark.parametrize(("field", "value", "allowed"), BAD_LIMITS)
def test_limits_refuse_by_name(field: str, value: object, allowed: str) -> None:
    """A bad value of a `Limits` is a `ConfigError` with the field, what it was and what it may be."""
    assert refusal(Limits, **{field: value}) == f"{field} must be {allowed}, not {value!r}"


@pytest.mark.parametrize(("field", "value", "allowed"), BAD_LANES)
def test_a_lane_refuses_by_name(field: str, value: object, allowed: str) -> None:
    """A bad value of a `Lane` is a `ConfigError` with the field, what it was and what it may be."""
    message = refusal(Lane, **({"name": "uploads"} | {field: value}))
    shown = value[0] if isinstance(value, tuple) else value
    assert message == f"{field} must be {allowed}, not {shown!r}"


@pytest.mark.parametrize(("field", "value", "allowed"), BAD_PROXIES)
def test_a_proxy_refuses_by_name(field: str, value: object, allowed: str) -> None:
    """A bad value of a `Proxy` is a `ConfigError` with the field, and without a password."""
    message = refusal(Proxy, **({"url": "http://proxy"} | {field: value}))
    assert re.search(rf"\b({field}|{allowed}) must be ", message)
    assert SECRET not in message


@pytest.mark.parametrize(
    ("made", "table"),
    [(PoolConfig, BAD_CONFIGS), (Limits, BAD_LIMITS), (Lane, BAD_LANES), (Proxy, BAD_PROXIES)],
    ids=["PoolConfig", "Limits", "Lane", "Proxy"],
)
def test_no_field_is_forgotten(made: type[attrs.AttrsInstance], table: list[tuple[str, object, str]]) -> None:
    """Every field of every class of settings has bad values in these tables."""
    assert {field for field, _, _ in table} == {field.name for field in attrs.fields(made)}


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"http1": False, "http2": False}, ("http1", "http2")),
        ({"cert": HERE, "verify": CONTEXT}, ("cert", "verify", "load_cert_chain")),
        ({"proxy": "http://proxy", "uds": "/run/x.sock"}, ("proxy", "uds")),
        ({"proxy": "http://proxy", "local_address": "127.0.0.1"}, ("proxy", "local_address")),
    ],
)
def test_settings_that_exclude_each_other(kwargs: dict[str, object], named: tuple[str, ...]) -> None:
    """Two settings that cannot go together are a `ConfigError` that names both."""
    message = refusal(PoolConfig, **kwargs)
    assert all(name in message for name in named)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config", 5), ("config", {"http2": False}), ("limits", 5), ("limits", {"max_connections": 1}),
        ("lanes", 5), ("lanes", ["uploads"]), ("lanes", [Lane("a"), Lane("a")]), ("lanes", [Lane("default")]),
        ("name", 5),
    ],
)  # fmt: skip
def test_a_manager_refuses_by_name(field: str, value: object) -> None:
    """A bad argument of a `PoolManager` is a `ConfigError` that names it."""
    assert refusal(PoolManager, **{field: value}).startswith(f"{field} must ")


@pytest.mark.parametrize("made", [PoolConfig, Limits, Lane, Proxy])
def test_settings_cannot_be_changed(made: type[attrs.AttrsInstance]) -> None:
    """Settings are frozen: a key does not change under those who share by it."""
    settings = made(**{"Lane": {"name": "a"}, "Proxy": {"url": "http://proxy"}}.get(made.__name__, {}))
    for field in attrs.fields(made):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(settings, field.name, None)


def test_settings_are_named() -> None:
    """Settings are given by keyword; only a lane's name may stand alone."""
    for made, values in ((PoolConfig, (True,)), (Limits, (5,)), (Proxy, ("http://p",)), (Lane, ("a", ()))):
        with pytest.raises(TypeError, match="positional"):
            cast(Any, made)(*values)
    assert Lane("uploads") == Lane(name="uploads")


# Equal settings are equal keys


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(PoolConfig)])
def test_every_field_tells_configs_apart(field: str) -> None:
    """Two configs that differ in one field are unequal; with that field equal they are one key."""
    first, second = DIFFERENT[field]
    one, other = config_of(**{field: first}), config_of(**{field: second})
    assert one != other
    assert len({one, other, config_of(**{field: second})}) == 2


@pytest.mark.parametrize("field", [*COUNTS, *TIMES])
def test_every_limit_tells_limits_apart(field: str) -> None:
    """Two `Limits` that differ in one field are unequal; with that field equal they are one key."""
    odd = cast(Any, {field: 17})
    assert Limits(**odd) != Limits()
    assert {Limits(**odd), Limits(**odd), Limits()} == {Limits(**odd), Limits()}


def test_contexts_compare_by_identity() -> None:
    """Two TLS contexts of equal settings are two keys; the same one is one."""
    twin = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert PoolConfig(verify=CONTEXT) == PoolConfig(verify=CONTEXT)
    assert PoolConfig(verify=CONTEXT) != PoolConfig(verify=twin)
    assert len({PoolConfig(verify=CONTEXT), PoolConfig(verify=CONTEXT), PoolConfig(verify=twin)}) == 2


def test_a_proxy_password_is_part_of_the_key() -> None:
    """Who we are to a proxy tells configs apart, and so do the headers it gets."""
    proxies = [
        Proxy.parse("http://proxy"),
        Proxy.parse("http://user:a@proxy"),
        Proxy.parse("http://user:b@proxy"),
        Proxy.parse("http://proxy:3128"),
        Proxy.parse("https://proxy"),
        Proxy(url="http://proxy", headers=((b"X-Tenant", b"a"),)),
        Proxy(url="http://proxy", ssl_context=CONTEXT),
    ]
    assert len({PoolConfig(proxy=proxy) for proxy in proxies}) == len(proxies)


def test_spelling_does_not_tell_configs_apart() -> None:
    """Lists and tuples, whole and fractional seconds, None and the default are the same setting."""
    assert config_of(socket_options=[list(KEEPALIVE)]) == config_of(socket_options=(KEEPALIVE,))
    assert config_of(socket_options=None) == PoolConfig()
    assert Limits(keepalive_expiry=60) == Limits(keepalive_expiry=60.0)
    assert Lane("a", paths=cast(Any, ["/b"])) == Lane("a", paths=("/b",))


def test_keepalive_is_on_by_default() -> None:
    """A silently dead peer is found: TCP keepalive is among the default socket options."""
    assert KEEPALIVE in PoolConfig().socket_options


valid_configs = st.builds(
    PoolConfig,
    http1=st.just(True),  # noqa: FBT003 - a strategy
    http2=st.booleans(),
    verify=st.sampled_from([True, False, CONTEXT]),
    trust_store=st.sampled_from(["both", "certifi", "system"]),
    trust_env=st.booleans(),
    local_address=st.none() | st.ip_addresses().map(str),
    uds=st.none() | st.text(min_size=1),
    socket_options=st.none() | st.lists(st.tuples(st.integers(), st.integers(), st.integers() | st.binary())),
)


@given(valid_configs, valid_configs)
def test_configs_are_equal_when_every_field_is(one: PoolConfig, other: PoolConfig) -> None:
    """Whatever configs hold, they are equal exactly when every field is, and then hash equal."""
    twin = PoolConfig(**{field.name: getattr(one, field.name) for field in attrs.fields(PoolConfig)})
    assert (twin, hash(twin)) == (one, hash(one))
    same = all(getattr(one, field.name) == getattr(other, field.name) for field in attrs.fields(PoolConfig))
    assert (one == other) is same


@given(st.sampled_from([*COUNTS, *TIMES]), st.one_of(st.integers(), st.floats(), st.booleans(), st.text()))
def test_what_a_limit_takes(field: str, value: object) -> None:
    """A count takes whole numbers from its least on, a time any from zero, both infinity; never NaN."""
    kinds = {int} if field in COUNTS and value != math.inf else {int, float}
    if type(value) in kinds and cast(float, value) >= COUNTS.get(field, 0):
        assert getattr(Limits(**cast(Any, {field: value})), field) == value
    else:
        refusal(Limits, **{field: value})


# What the libraries call these things


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, Limits(
            max_connections=math.inf, max_connections_per_origin=math.inf,
            max_keepalive_connections=math.inf, keepalive_expiry=5.0,
        )),
        ({"max_connections": 7, "max_keepalive_connections": 3, "keepalive_expiry": None}, Limits(
            max_connections=7, max_connections_per_origin=7,
            max_keepalive_connections=3, keepalive_expiry=math.inf,
        )),
        ({"max_connections": 1, "max_keepalive_connections": 0, "keepalive_expiry": 0}, Limits(
            max_connections=1, max_connections_per_origin=1,
            max_keepalive_connections=0, keepalive_expiry=0.0,
        )),
    ],
)  # fmt: skip
def test_limits_of_both_libraries_are_converted(
    library: ModuleType, theirs: dict[str, object], ours: Limits
) -> None:
    """A library's `Limits` means what it says there; None means no limit."""
    assert Limits.parse(library.Limits(**theirs)) == ours


def test_limits_of_our_own_stay() -> None:
    """Our own `Limits` are taken as they are, and a stranger is refused."""
    limits = Limits(max_connections=3)
    assert Limits.parse(limits) is limits
    assert "httpx2.Limits" in refusal(Limits.parse, value=object())


PROXY_URLS: Final = (
    "http://proxy", "http://proxy:3128", "http://proxy:3128/", "http://proxy:80", "https://proxy:443",
    "https://proxy:80", "HTTP://proxy", "http://PROXY.Example", "http://[::1]:3128", "http://127.0.0.1:8080",
    "http://bücher.example:3128", "socks5://proxy:1080", "socks5h://user:word@proxy",
    "http://user:word@proxy:3128", "http://user@proxy", "http://:word@proxy", "http://@proxy", "http://user:@proxy",
    "http://us%20er:p%40ss%2Fw%C3%B6rd@proxy", "http://user:a:b@proxy",
)  # fmt: skip


@pytest.mark.parametrize("url", PROXY_URLS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_is_one_key_however_given(library: ModuleType, url: str) -> None:
    """A proxy given as a string, a URL or a `Proxy` of either library is the same key."""
    given_as = [url, library.URL(url), library.Proxy(url), Proxy.parse(url)]
    proxies = [PoolConfig(proxy=cast(Any, value)).proxy for value in given_as]
    assert proxies == [proxies[2]] * len(proxies)


words = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=8)


@given(
    user=words, word=words, port=st.integers(1, 65535), scheme=st.sampled_from(["http", "https", "socks5"])
)
def test_credentials_survive(user: str, word: str, port: int, scheme: str) -> None:
    """Whatever the credentials are, both libraries' `Proxy` and ours agree on them byte for byte."""
    ours = Proxy.parse(httpx.Proxy(f"{scheme}://proxy:{port}", auth=(user, word)))
    assert ours.auth == (user.encode(), word.encode())
    assert ours == Proxy.parse(httpx2.Proxy(f"{scheme}://proxy:{port}", auth=(user, word)))
    if re.search("%[0-9A-Fa-f]{2}", f"{user} {word}"):
        return  # httpx takes such a one for quoted already
    quoted = httpx.URL(f"{scheme}://proxy:{port}").copy_with(username=user, password=word)
    assert ours == Proxy.parse(str(quoted)) == Proxy.parse(httpx.Proxy(quoted))


def test_lanes_as_presets() -> None:
    """The presets are lanes with a name and path suffixes, and take what other lanes take."""
    assert Lane.long_poll() == Lane(
        "polling", paths=("/wait_for_status",), max_connections_per_origin=math.inf
    )
    assert Lane.transfer() == Lane("transfer", paths=("/upload_file", "/download_file"))
    assert Lane.long_poll("p", paths=["/wait"], max_in_flight=3).paths == ("/wait",)
    for preset in (Lane.long_poll, Lane.transfer):
        with pytest.raises(ConfigError, match="paths must be a sequence of path suffixes"):
            preset(paths="/wait")


GOOD_POLICIES = [
    (PollingConfig, {}),
    (PollingConfig, {"timeout": math.inf, "max_hold": 0, "max_attempts": 1}),
    (Retries, {}),
    (Retries, {"attempts": 1, "budget": math.inf, "timeout": math.inf, "initial": 0}),
    (Retries, {"methods": ["post"], "statuses": [500], "errors": ["TransportError"]}),
    (Retries, {"methods": (), "statuses": (), "errors": ()}),
]
BAD_POLICIES: list[tuple[Any, str, object]] = [
    *((PollingConfig, "timeout", bad) for bad in (0, -1, math.nan, True, "3", None)),
    *((PollingConfig, "interval", bad) for bad in (0, math.inf, math.nan, False, "1")),
    *((PollingConfig, "max_attempts", bad) for bad in (0, 1.5, True, None)),
    *((PollingConfig, "max_hold", bad) for bad in (-1, math.inf, math.nan, True)),
    *((Retries, "attempts", bad) for bad in (0, 1.5, True, None)),
    *((Retries, "methods", bad) for bad in ("GET", [""], [3], None, 3)),
    *((Retries, "statuses", bad) for bad in (503, [200], [399], [600], [True], ["503"], None)),
    *((Retries, "errors", bad) for bad in ("ReadError", ["OSError"], [ValueError], None)),
    *((Retries, name, bad) for name in ("initial", "maximum", "max_retry_after") for bad in (-1, math.inf)),
    *((Retries, "timeout", bad) for bad in (-1, math.nan, None)),
    *((Retries, "budget", bad) for bad in (-0.1, math.nan, True, "0.2")),
]


@pytest.mark.parametrize(("kind", "fields"), GOOD_POLICIES)
def test_policies_are_values(kind: Any, fields: dict[str, Any]) -> None:
    """They can be made, compared and hashed."""
    assert kind(**fields) == kind(**fields)
    assert hash(kind(**fields)) == hash(kind(**fields))


@pytest.mark.parametrize(("kind", "field", "bad"), BAD_POLICIES)
def test_bad_policies_are_refused(kind: Any, field: str, bad: object) -> None:
    """A bad value is a `ConfigError` with the field and what it was."""
    with pytest.raises(ConfigError, match=f"^{field} must be .*, not {re.escape(repr(bad))}$"):
        kind(**{field: bad})
