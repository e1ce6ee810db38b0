"""Certificates that only these tests trust."""

from __future__ import annotations

import hashlib
import ssl
import threading
from pathlib import Path

import attrs
import trustme
from cryptography import x509
from cryptography.x509.name import _ASN1Type

SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


@attrs.frozen
class Certificate:
    """A certificate and its key, as PEM files."""

    cert_file: Path
    key_file: Path


class Certificates:
    """
    A certificate authority in a folder, made once and used by every server.

    Attributes:
        ca_file: The one certificate a client has to trust.

        server: What servers show: good for localhost, 127.0.0.1 and ::1.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._clients: dict[str, Certificate] = {}
        self._authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)
        self.server = self._issue("server", *SERVER_NAMES)

    def client(self, name: str = "client") -> Certificate:
        """Give the client certificate of *name*; it is issued once."""
        with self._lock:
            if name not in self._clients:
                self._clients[name] = self._issue(f"client-{name}", f"{name}@example.org")
            return self._clients[name]

    def client_context(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        """
        Make a fresh context that trusts this authority and no other.

        Args:
            certificate: What the client shows of itself, if anything.
        """
        # Not `create_default_context`: that one reads SSL_CERT_FILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca_file)
        if certificate is not None:
            context.load_cert_chain(certificate.cert_file, certificate.key_file)
        return context

    def server_context(self) -> ssl.SSLContext:
        """Make a fresh context for a server in this process."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.cert_file, self.server.key_file)
        return context

    def _issue(self, stem: str, *names: str) -> Certificate:
        issued = self._authority.issue_cert(*names)
        certificate = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        certificate.cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(certificate.key_file)
        return certificate


def hashed_directory(ca_file: Path, folder: Path) -> str:
    """Put a CA where OpenSSL looks for it: under the hash of its subject, in canonical form."""
    folder.mkdir()
    subject = x509.load_pem_x509_certificate(ca_file.read_bytes()).subject
    canonical = x509.Name(
        x509.NameAttribute(attribute.oid, str(attribute.value).lower(), _type=_ASN1Type.UTF8String)
        for attribute in subject
    )
    digest = hashlib.sha1(canonical.public_bytes()[2:], usedforsecurity=False).digest()
    (folder / f"{int.from_bytes(digest[:4], 'little'):08x}.0").write_bytes(ca_file.read_bytes())
    return str(folder)
