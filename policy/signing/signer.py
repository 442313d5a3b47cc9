"""Signers: who holds a private key and signs bytes with it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from policy.signing import der

SignerKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_ECDSA_SHA256 = der.sequence(der.object_identifier("1.2.840.10045.4.3.2"))
_ECDSA_SHA384 = der.sequence(der.object_identifier("1.2.840.10045.4.3.3"))
_RSA_SHA256 = der.sequence(der.object_identifier("1.2.840.113549.1.1.11"), b"\x05\x00")


class SigningFailed(Exception):
    """The signer gave no signature, or one that its own public key does not verify."""


class Signer(Protocol):
    """A private key, wherever it is kept."""

    @property
    def algorithm(self) -> bytes:
        """The DER AlgorithmIdentifier of its signatures."""
        ...

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo of its public key."""
        ...

    @property
    def is_deterministic(self) -> bool:
        """Whether signing the same bytes again gives the same signature."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether signing is shorter than handing it to a thread."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature as it stands in a certificate. Raises SigningFailed."""
        ...


class SoftwareSigner:
    """A private key in memory. ECDSA by RFC 6979, RSA by PKCS #1 v1.5: both deterministic."""

    def __init__(self, key: SignerKey) -> None:
        self._key = key
        self.spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.is_deterministic = True
        self.is_quick = isinstance(key, ec.EllipticCurvePrivateKey)
        if isinstance(key, rsa.RSAPrivateKey):
            self.algorithm = _RSA_SHA256
        elif key.curve.name == "secp256r1":
            self.algorithm = _ECDSA_SHA256
            self._ecdsa = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        elif key.curve.name == "secp384r1":
            self.algorithm = _ECDSA_SHA384
            self._ecdsa = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
        else:
            raise ValueError(f"no CA keys on the curve {key.curve.name}")

    @classmethod
    def from_der(cls, private_key: bytes) -> SoftwareSigner:
        """The signer of a private key in unencrypted PKCS #8. Raises ValueError."""
        key = load_der_private_key(private_key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("CA keys are ECDSA or RSA keys")
        return cls(key)

    def to_der(self) -> bytes:
        """The private key in unencrypted PKCS #8; to be sealed at once."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """The signature, verified with the public key before anybody sees it.

        Raises SigningFailed.
        """
        try:
            if isinstance(self._key, rsa.RSAPrivateKey):
                signature = self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())
                self._key.public_key().verify(
                    signature, message, padding.PKCS1v15(), hashes.SHA256()
                )
            else:
                signature = self._key.sign(message, self._ecdsa)
                self._key.public_key().verify(signature, message, self._ecdsa)
        except (ValueError, InvalidSignature) as error:
            raise SigningFailed("the signature does not verify with the issuer's key") from error
        return signature


def generate_signer(key_type: str) -> SoftwareSigner:
    """A signer with a fresh key: ``ec-p256``, ``ec-p384``, ``rsa-2048``, ``rsa-3072`` or
    ``rsa-4096``. Raises ValueError for another."""
    if key_type == "ec-p256":
        return SoftwareSigner(ec.generate_private_key(ec.SECP256R1()))
    if key_type == "ec-p384":
        return SoftwareSigner(ec.generate_private_key(ec.SECP384R1()))
    if key_type in ("rsa-2048", "rsa-3072", "rsa-4096"):
        bits = int(key_type.removeprefix("rsa-"))
        return SoftwareSigner(rsa.generate_private_key(public_exponent=65537, key_size=bits))
    raise ValueError(f"unknown CA key type {key_type}")


def check_determinism(signer: Signer) -> None:
    """The self-test at start: recovery may only sign again what comes out the same.

    Raises SigningFailed for a signer that says it is deterministic and is not.
    """
    message = b"acme-server start-up self-test"
    if signer.is_deterministic and signer.sign(message) != signer.sign(message):
        raise SigningFailed("a signer that should be deterministic is not")
