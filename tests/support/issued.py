"""What a client got, judged by tools that had no part in making it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from support.inspection import public_key_of_private_key, verify_chain


@dataclass(frozen=True, slots=True)
class Issued:
    """A chain, leaf first, and the leaf's private key, as PEM files."""

    chain: Path
    key: Path

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate as it is now; a renewal changes it."""
        return x509.load_pem_x509_certificates(self.chain.read_bytes())[0]

    def check(self, roots: Path, *names: str) -> x509.Certificate:
        """The leaf: a valid certificate of a TLS server below ``roots``, for just ``names``."""
        verify_chain(self.chain, self.chain, roots)
        leaf = self.leaf
        assert sorted(_names(leaf)) == sorted(names)
        # Read by openssl: GnuTLS leaves leading zeros of a private key out now and then.
        public = public_key_of_private_key(self.key).encode()
        assert leaf.public_key() == load_pem_public_key(public)
        _check_purpose(leaf)
        _check_validity(leaf)
        return leaf


def _names(leaf: x509.Certificate) -> list[str]:
    extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert all(isinstance(name, x509.DNSName) for name in extension.value)
    return extension.value.get_values_for_type(x509.DNSName)


def _check_purpose(leaf: x509.Certificate) -> None:
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key_usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert key_usage.digital_signature
    assert not key_usage.key_cert_sign
    assert not key_usage.crl_sign


def _check_validity(leaf: x509.Certificate) -> None:
    """It is valid now, and for the 90 days of the defaults (RFC 5280 counts the last second)."""
    assert leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc + timedelta(seconds=1)
    assert timedelta(days=89) < lifetime <= timedelta(days=90)
