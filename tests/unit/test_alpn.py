"""Our protocols on a context of the caller's, which stays as it is: handshakes in memory."""

from __future__ import annotations

import gc
import socket
import ssl
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trustme

from pool_manager import PoolConfig
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.alpn import Offering
from pool_manager.runtimes.tls import ContextCache, offering
from tests.support.certificates import Certificates, hashed_directory

REFUSED: Final = r"(?i)certificate.verify.failed"
BOTH: Final = ["h2", "http/1.1"]
CIPHER: Final = "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.fixture
def contexts() -> ContextCache:
    """Give the cache of a manager."""
    return ContextCache()


@pytest.fixture
def server(certificates: Certificates) -> ssl.SSLContext:
    """Give a server that speaks both protocols and prefers HTTP/2."""
    context = certificates.server_context()
    context.set_alpn_protocols(BOTH)
    return context


def shake(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let a client and a server shake hands; give both ends."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)
    waiting = list(ends)
    while waiting:
        for end in [*waiting]:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    return ends


def selected(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """Tell which protocol a server selects; None if the client offers none."""
    return shake(client, server)[1].selected_alpn_protocol()


# What is offered


@pytest.mark.parametrize("of", ["ours", "the caller's"])
@pytest.mark.parametrize(
    ("http1", "http2", "offered"), [(True, True, BOTH), (True, False, BOTH[1:]), (False, True, BOTH[:1])]
)
def test_the_configured_protocols_are_offered(
    certificates: Certificates,
    contexts: ContextCache,
    *,
    of: str,
    http1: bool,
    http2: bool,
    offered: list[str],
) -> None:
    """A server that prefers either protocol gets it if the config allows it, and no other."""
    verify = str(certificates.ca_file) if of == "ours" else certificates.client_context()
    client = offering(PoolConfig(verify=verify, http1=http1, http2=http2), contexts)
    for preferred in BOTH:
        server = certificates.server_context()
        server.set_alpn_protocols([preferred])
        assert selected(client, server) == (preferred if preferred in offered else None)


def test_the_caller_s_context_offers_nothing(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext
) -> None:
    """A context of the caller's is the same after we used it: on its own it offers no protocol."""
    theirs = certificates.client_context()
    before = settings(theirs)
    assert selected(offering(PoolConfig(verify=theirs), contexts), server) == "h2"
    assert selected(theirs, server) is None
    assert settings(theirs) == before


def test_the_caller_s_own_list_stays(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext
) -> None:
    """What the caller's context offers is his on his connections, and ours on ours."""
    theirs = certificates.client_context()
    theirs.set_alpn_protocols(["http/1.1"])
    assert selected(offering(PoolConfig(verify=theirs), contexts), server) == "h2"
    assert selected(theirs, server) == "http/1.1"


@pytest.mark.parametrize("of", ["ours", "the caller's"])
def test_pools_that_share_a_context(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext, of: str
) -> None:
    """Pools of other protocols on one context, and whoever sets a list on it, do not change each other."""
    theirs = certificates.client_context()
    verify = str(certificates.ca_file) if of == "ours" else theirs
    new = PoolConfig(verify=verify, http1=False)
    old = PoolConfig(verify=verify, http2=False)
    begun = offering(new, contexts)
    for _ in range(2):
        assert selected(offering(new, contexts), server) == "h2"
        assert selected(offering(old, contexts), server) == "http/1.1"
        for config in (new, old):
            contexts.get(config).set_alpn_protocols(["http/1.1", "h2"])  # whoever has it may
    assert selected(begun, server) == "h2"


def test_contexts_of_ours_offer_by_themselves(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext
) -> None:
    """Also without `offering`, a context that was built for a config offers its protocols."""
    for http1, expected in ((True, "h2"), (False, "h2")):
        config = PoolConfig(verify=str(certificates.ca_file), http1=http1)
        assert selected(contexts.get(config), server) == expected


# All else is as the caller has it


def test_a_client_certificate_is_shown(certificates: Certificates, contexts: ContextCache) -> None:
    """The caller's client certificate is shown to a server that demands one."""
    server = certificates.server_context()
    server.load_verify_locations(certificates.ca_file)
    server.verify_mode = ssl.CERT_REQUIRED
    theirs = certificates.client_context(certificates.client("ann"))
    shown = shake(offering(PoolConfig(verify=theirs), contexts), server)[1].getpeercert()
    assert shown is not None
    assert shown["subjectAltName"] == (("email", "ann@example.org"),)


@pytest.mark.parametrize("how", ["file", "directory"])
def test_only_the_caller_s_authorities_count(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext, tmp_path: Path, how: str
) -> None:
    """A server is verified by the caller's CAs, read at once or when needed, and by no others."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    config = PoolConfig(verify=theirs)
    with pytest.raises(ssl.SSLCertVerificationError, match=REFUSED):
        shake(offering(config, contexts), server)
    if how == "file":
        theirs.load_verify_locations(certificates.ca_file)
    else:
        theirs.load_verify_locations(capath=hashed_directory(certificates.ca_file, tmp_path / "authorities"))
    assert selected(offering(config, contexts), server) == "h2"
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(other)
    with pytest.raises(ssl.SSLCertVerificationError, match=REFUSED):
        shake(offering(config, contexts), other)


@pytest.mark.parametrize("name", ["other.example", "127.0.0.2", "::2"])
def test_another_name_is_refused(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext, name: str
) -> None:
    """A certificate of another name, or of another IP address, is refused."""
    config = PoolConfig(verify=certificates.client_context())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)(hostname|IP address) mismatch"):
        shake(offering(config, contexts), server, name)
    for good in ("localhost", "127.0.0.1", "::1"):
        shake(offering(config, contexts), server, good)


def test_verification_may_be_off(contexts: ContextCache, server: ssl.SSLContext) -> None:
    """A context that verifies nobody, or no name, does so."""
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    config = PoolConfig(verify=careless)
    with pytest.raises(ssl.SSLCertVerificationError, match=REFUSED):
        shake(offering(config, contexts), server, "other.example")
    careless.verify_mode = ssl.CERT_NONE
    assert shake(offering(config, contexts), server, "other.example")[0].version() == "TLSv1.3"


def test_a_name_need_not_be_checked(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext
) -> None:
    """With `check_hostname` off, a certificate of any name counts, but not of any authority."""
    theirs = certificates.client_context()
    theirs.check_hostname = False
    shake(offering(PoolConfig(verify=theirs), contexts), server, "other.example")


def test_ciphers_and_versions_are_the_caller_s(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext
) -> None:
    """The caller's TLS version and ciphers are used, also when they change between two connections."""
    theirs = certificates.client_context()
    config = PoolConfig(verify=theirs)
    assert shake(offering(config, contexts), server)[0].version() == "TLSv1.3"
    theirs.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(offering(config, contexts), server)[0].version() == "TLSv1.2"
    theirs.set_ciphers(":".join(CIPHER))
    cipher = shake(offering(config, contexts), server)[0].cipher()
    assert cipher is not None
    assert cipher[0] in CIPHER
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol|alert"):
        shake(offering(config, contexts), server)


def test_revocation_is_checked_if_the_caller_says_so(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext
) -> None:
    """`verify_flags` count: a server is refused where a list of revoked certificates is due and missing."""
    theirs = certificates.client_context()
    theirs.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    with pytest.raises(ssl.SSLCertVerificationError, match="CRL"):
        shake(offering(PoolConfig(verify=theirs), contexts), server)


def test_keys_are_logged_once(
    certificates: Certificates, contexts: ContextCache, server: ssl.SSLContext, tmp_path: Path
) -> None:
    """The caller's `keylog_filename` gets the keys of our connections, each once."""
    theirs = certificates.client_context()
    log = tmp_path / "keys"
    theirs.keylog_filename = str(log)
    shake(offering(PoolConfig(verify=theirs), contexts), server)
    theirs.keylog_filename = str(tmp_path / "others")
    lines = [line for line in log.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0")]
    assert len(lines) == 1


def test_a_class_for_connections_is_used(certificates: Certificates, contexts: ContextCache) -> None:
    """The caller's `sslobject_class` is what connections are made of."""

    class Own(ssl.SSLObject):
        pass

    theirs = certificates.client_context()
    theirs.sslobject_class = Own
    connection = offering(PoolConfig(verify=theirs), contexts).wrap_bio(
        ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost"
    )
    assert type(connection) is Own
    assert connection.context is theirs


def settings(context: ssl.SSLContext) -> dict[str, object]:
    """Give what can be read of a context."""
    names = [name for name in dir(ssl.SSLContext) if isinstance(getattr(ssl.SSLContext, name), property)]
    names += ["check_hostname", "post_handshake_auth", "keylog_filename", "security_level"]
    return {name: getattr(context, name) for name in names}


def tls_1_2_by_options(context: ssl.SSLContext) -> None:
    """Refuse TLS 1.3 the old way."""
    context.options |= ssl.OP_NO_TLSv1_3


def no_tickets(context: ssl.SSLContext) -> None:
    """Set and clear an option."""
    context.options = (context.options | ssl.OP_NO_TICKET) & ~ssl.OP_NO_COMPRESSION


def old_versions(context: ssl.SSLContext) -> None:
    """Allow what is deprecated."""
    context.minimum_version = ssl.TLSVersion.TLSv1


def verify_or_not(context: ssl.SSLContext) -> None:
    """Verify names and certificates if it was off, and the other way round."""
    was_on, context.check_hostname = context.check_hostname, False
    context.verify_mode = ssl.CERT_NONE if was_on else ssl.CERT_REQUIRED
    context.check_hostname = not was_on


def set_to(name: str, value: object) -> Callable[[ssl.SSLContext], None]:
    """Make a change of one setting."""

    def change(context: ssl.SSLContext) -> None:
        setattr(context, name, value)

    change.__name__ = name
    return change


CHANGES = [
    tls_1_2_by_options,
    no_tickets,
    old_versions,
    verify_or_not,
    set_to("hostname_checks_common_name", False),  # noqa: FBT003 - a value like any
    set_to("post_handshake_auth", True),  # noqa: FBT003 - as above
    set_to("verify_flags", ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_TRUSTED_FIRST),
    set_to("minimum_version", ssl.TLSVersion.TLSv1_3),
    set_to("maximum_version", ssl.TLSVersion.TLSv1_2),
]


@pytest.mark.parametrize("protocol", [ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_setting_counts(
    contexts: ContextCache, change: Callable[[ssl.SSLContext], None], protocol: Any
) -> None:
    """Each setting of the caller's is that of our connections, whenever it is changed; with no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = ssl.SSLContext(protocol)
        config = PoolConfig(verify=theirs)
        first = offering(config, contexts)
        assert settings(first) == settings(theirs)
        assert offering(config, contexts) is first
        change(theirs)
        assert settings(first) != settings(theirs)
    assert settings(offering(config, contexts)) == settings(theirs)


def test_a_context_of_one_version(contexts: ContextCache, server: ssl.SSLContext) -> None:
    """A context made for one TLS version, as was done of old, speaks that one."""
    with pytest.warns(DeprecationWarning, match="PROTOCOL_TLSv1_2"):
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLSv1_2)
    ours = shake(offering(PoolConfig(verify=theirs), contexts), server)[0]
    assert (ours.version(), ours.selected_alpn_protocol()) == ("TLSv1.2", "h2")


# Contexts that are more than a context


def test_a_context_of_a_class_of_its_own_is_used_as_it_is(contexts: ContextCache) -> None:
    """A subclass may have a `wrap_bio` of its own: it is used, and offers what it offers."""

    class Own(ssl.SSLContext):
        pass

    theirs = Own(ssl.PROTOCOL_TLS_CLIENT)
    assert offering(PoolConfig(verify=theirs), contexts) is theirs


INJECTED = """
import ssl, sys, warnings
early, ca_file = ssl.create_default_context(), sys.argv[1]
early.load_verify_locations(ca_file)
import truststore
if sys.argv[2] == "first":
    truststore.inject_into_ssl()
from pool_manager import PoolConfig
from pool_manager.runtimes.tls import ContextCache, offering
truststore.extract_from_ssl()
config = PoolConfig(verify=early)
truststore.inject_into_ssl()
contexts = ContextCache()
late = ssl.create_default_context()
assert type(late) is truststore.SSLContext
assert offering(PoolConfig(verify=late), contexts) is late
context = offering(config, contexts)
connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="a.example")
assert connection.context is early
print("fine")
"""


@pytest.mark.parametrize("when", ["first", "last"])
def test_truststore_may_be_injected(certificates: Certificates, when: str) -> None:
    """After `truststore.inject_into_ssl()`, whenever that was, contexts of both kinds work."""
    done = subprocess.run(
        [sys.executable, "-c", INJECTED, str(certificates.ca_file), when],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_sockets_are_refused(certificates: Certificates, contexts: ContextCache) -> None:
    """`wrap_socket` says what to use, rather than shake hands without the caller's CAs and certificates."""
    context = offering(PoolConfig(verify=certificates.client_context()), contexts)
    assert type(context) is Offering
    with socket.socket() as ours, pytest.raises(TypeError, match="wrap_bio alone"):
        context.wrap_socket(ours)


# The cache


def test_what_is_not_needed_is_collected(contexts: ContextCache) -> None:
    """The cache keeps neither a config nor its context alive."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    config = PoolConfig(verify=theirs)
    offering(config, contexts)
    left = weakref.ref(theirs), weakref.ref(config)
    del theirs, config
    gc.collect()
    assert [reference() for reference in left] == [None, None]


def test_equal_configs_share_what_is_offered(contexts: ContextCache) -> None:
    """Whoever asks with an equal config gets the same object, until the cache is cleared."""
    config = PoolConfig(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    first = offering(config, contexts)
    assert offering(attrs.evolve(config), contexts) is first
    contexts.clear()
    assert offering(config, contexts) is not first


def test_what_cannot_be_read(contexts: ContextCache, tmp_path: Path) -> None:
    """A file of CAs that holds none is a ConnectError, with its cause."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nobody")
    config = PoolConfig(verify=str(nonsense))
    assert not contexts.has(config)
    with pytest.raises(TransportFailure, match="no TLS context can be made") as caught:
        offering(config, contexts)
    assert caught.value.kind == "ConnectError"
    assert isinstance(caught.value.__cause__, OSError)
    assert not contexts.has(config)
    assert contexts.has(PoolConfig(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))
