"""Certificates for tls-alpn-01, right and wrong in chosen ways, and TLS servers with them."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from validators.challengecertificates import ACME_IDENTIFIER

PrivateKey = ec.EllipticCurvePrivateKey
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def common_name(text: str) -> x509.Name:
    """A name with nothing but a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def octet_string(octets: bytes) -> bytes:
    """The DER of a short OCTET STRING."""
    return bytes([0x04, len(octets)]) + octets


@dataclass(kw_only=True)
class ChallengeCertificate:
    """What to put into a certificate; the defaults prove control of ``names``."""

    names: Sequence[x509.GeneralName | str]
    digest: bytes
    is_critical: bool = True
    extension: x509.ObjectIdentifier = ACME_IDENTIFIER
    value: bytes | None = None
    more: Iterable[tuple[x509.ExtensionType, bool]] = ()
    issuer: str | None = None
    serial_number: int = field(default_factory=x509.random_serial_number)
    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    signing_key: PrivateKey | None = None

    def build(self) -> x509.Certificate:
        """The certificate, signed by ``signing_key`` or itself."""
        subject = common_name("ACME challenge")
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(common_name(self.issuer) if self.issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(self.serial_number)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=7))
        )
        if self.names:
            names = [general_name(name) for name in self.names]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        value = octet_string(self.digest) if self.value is None else self.value
        builder = builder.add_extension(
            x509.UnrecognizedExtension(self.extension, value), critical=self.is_critical
        )
        for extension, critical in self.more:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.signing_key or self.key, hashes.SHA256())

    def der(self) -> bytes:
        """The certificate as DER."""
        return self.build().public_bytes(serialization.Encoding.DER)


def general_name(name: x509.GeneralName | str) -> x509.GeneralName:
    """A dNSName, or with ``ip:`` an iPAddress, unless it is a general name already."""
    if not isinstance(name, str):
        return name
    if name.startswith("ip:"):
        return x509.IPAddress(ip_address(name.removeprefix("ip:")))
    return x509.DNSName(name)


def serving(
    certificate: ChallengeCertificate,
    *,
    protocols: Sequence[str] = ("acme-tls/1",),
    chain: Sequence[x509.Certificate] = (),
) -> ssl.SSLContext:
    """A server's context that presents ``certificate`` and after it ``chain``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    key = certificate.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = [made.public_bytes(serialization.Encoding.PEM) for made in (certificate.build(), *chain)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "pem")
        path.write_bytes(key + b"".join(pem))
        context.load_cert_chain(path)
    return context
