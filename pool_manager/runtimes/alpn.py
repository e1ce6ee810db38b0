"""
ALPN on a context that is not ours to change.

Which protocols are offered is a setting of a context, and the only way Python
has to say it. A context of the caller's must stay as it is, and two pools that
share it may offer different protocols.

OpenSSL copies the settings of a context to each connection made from it
(`SSL_new`), the ALPN list among them. Certificates, CAs and ciphers it looks up
during the handshake, in the context that the connection has by then. So a
connection is made from a context of ours, whose settings mirror the caller's,
and moved to the caller's before its first byte (`SSL_set_SSL_CTX`, by which
servers answer to SNI).
"""

from __future__ import annotations

import ssl
import warnings
from types import GetSetDescriptorType
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from pool_manager.runtimes.forks import Connection

if TYPE_CHECKING:
    Plain: TypeAlias = ssl.SSLContext
else:
    # Also where `truststore.inject_into_ssl` has put another in the place of the standard class.
    Plain = next(kind for kind in ssl.SSLContext.__mro__ if kind.__module__ == "ssl")

# What a connection copies from its context, as far as it can be read. The rest (curves, callbacks
# for pre-shared keys) cannot, and is as OpenSSL has it by default.
_NAMES: Final = (
    "options",
    "verify_flags",
    "verify_mode",
    "check_hostname",  # after verify_mode, without which it cannot be on
    "_host_flags",  # what `hostname_checks_common_name` is about
    "minimum_version",
    "maximum_version",
    "post_handshake_auth",
)
# As the class in C has them: the properties of `ssl.SSLContext` recurse for ever after `inject_into_ssl`.
_SETTINGS: Final[tuple[GetSetDescriptorType, ...]] = tuple(vars(Plain.__base__)[name] for name in _NAMES)


class Offering(Plain):
    """Offers protocols of its own, and is the context it mirrors in all else."""

    _mirrored: ssl.SSLContext
    _settings: tuple[object, ...]

    @classmethod
    def of(cls, context: ssl.SSLContext, offered: list[str]) -> Offering:
        """Mirror *context*, an instance of `Plain` itself, with *offered* for its ALPN list."""
        with warnings.catch_warnings():
            # A caller who uses TLS 1.0 was warned when he asked for it.
            warnings.simplefilter("ignore", DeprecationWarning)
            offer = cls(context.protocol)
            offer._mirror(context)
        offer.set_alpn_protocols(offered)
        return offer

    def _mirror(self, context: ssl.SSLContext) -> None:
        self._mirrored = context
        self._settings = _settings_of(context)
        self.check_hostname = False  # with it, verify_mode could not be off
        for setting, value in zip(_SETTINGS, self._settings, strict=True):
            # Only what differs: a context for one TLS version alone refuses any word about versions.
            if setting.__get__(self) != value:
                setting.__set__(self, value)

    def still_mirrors(self, context: ssl.SSLContext) -> bool:
        """Whether this is *context*, and as it is now: its owner may change it at any time."""
        return self._mirrored is context and self._settings == _settings_of(context)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as `ssl` has it
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Make a connection from this context, and move it to the one that is mirrored."""
        theirs = self._mirrored.sslobject_class
        self.sslobject_class = Connection if theirs is ssl.SSLObject else theirs
        connection = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        connection.context = self._mirrored
        return connection

    def wrap_socket(self, *_: object, **__: object) -> NoReturn:
        """Refuse: the inherited one may shake hands before the move, without the caller's certificates."""
        raise TypeError("this context makes connections by wrap_bio alone")


def _settings_of(context: ssl.SSLContext) -> tuple[object, ...]:
    return tuple(setting.__get__(context) for setting in _SETTINGS)
