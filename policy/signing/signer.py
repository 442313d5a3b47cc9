"""Signers: who holds a private key and signs bytes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from policy.signing import der

SignerKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_ECDSA_SHA256 = der.sequence(der.object_identifier("1.2.840.10045.4.3.2"))
_ECDSA_SHA384 = der.sequence(der.object_identifier("1.2.840.10045.4.3.3"))
_RSA_SHA256 = der.sequence(der.object_identifier("1.2.840.113549.1.1.11"), b"\x05\x00")
_ED25519 = der.sequence(der.object_identifier("1.3.101.112"))
# By the curve's name: the algorithm, and how it is used. Deterministic as in RFC 6979.
_ECDSA: Mapping[str, tuple[bytes, ec.ECDSA]] = {
    "secp256r1": (_ECDSA_SHA256, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)),
    "secp384r1": (_ECDSA_SHA384, ec.ECDSA(hashes.SHA384(), deterministic_signing=True)),
}
_PKCS1 = (padding.PKCS1v15(), hashes.SHA256())


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
    """A private key in memory. ECDSA by RFC 6979, RSA by PKCS #1 v1.5 and Ed25519: each gives
    the same signature for the same bytes. Raises ValueError for another key."""

    def __init__(self, key: SignerKey) -> None:
        self._key = key
        self._public_key = key.public_key()
        self.spki = self._public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.algorithm = _algorithm_of(self._public_key)
        self.is_deterministic = True
        self.is_quick = not isinstance(key, rsa.RSAPrivateKey)

    @classmethod
    def from_der(cls, private_key: bytes) -> SoftwareSigner:
        """The signer of a private key in unencrypted PKCS #8. Raises ValueError."""
        key = load_der_private_key(private_key, password=None)
        if not isinstance(key, SignerKey):
            raise ValueError("CA keys are ECDSA, RSA or Ed25519 keys")
        return cls(key)

    def to_der(self) -> bytes:
        """The private key in unencrypted PKCS #8; to be sealed at once."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """The signature, verified with the public key before anybody sees it.

        Raises SigningFailed.
        """
        signature = self._signature_over(message)
        _verify(self._public_key, message, signature)
        return signature

    def _signature_over(self, message: bytes) -> bytes:
        key = self._key
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, *_PKCS1)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(message, _ECDSA[key.curve.name][1])
        return key.sign(message)


def check_signature(spki: bytes, algorithm: bytes, message: bytes, signature: bytes) -> None:
    """What stands between a signer and the world: the signature must be the issuer's.

    ``spki`` is from the issuer's certificate, not from the signer; ``algorithm`` is the DER
    AlgorithmIdentifier that the message names. Raises SigningFailed.
    """
    key = load_der_public_key(spki)
    if not isinstance(key, _PublicKey) or _algorithm_of(key) != algorithm:
        raise SigningFailed("the algorithm is not that of the issuer's key")
    _verify(key, message, signature)


def _algorithm_of(key: _PublicKey) -> bytes:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA_SHA256
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _ED25519
    if key.curve.name not in _ECDSA:
        raise ValueError(f"no CA keys on the curve {key.curve.name}")
    return _ECDSA[key.curve.name][0]


def _verify(key: _PublicKey, message: bytes, signature: bytes) -> None:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, *_PKCS1)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, _ECDSA[key.curve.name][1])
        else:
            key.verify(signature, message)
    except InvalidSignature as error:
        raise SigningFailed("the signature does not verify with the issuer's key") from error


def generate_signer(key_type: str) -> SoftwareSigner:
    """A signer with a fresh key: ``ec-p256``, ``ec-p384``, ``ed25519``, ``rsa-2048``,
    ``rsa-3072`` or ``rsa-4096``. Raises ValueError for another."""
    if key_type == "ec-p256":
        return SoftwareSigner(ec.generate_private_key(ec.SECP256R1()))
    if key_type == "ec-p384":
        return SoftwareSigner(ec.generate_private_key(ec.SECP384R1()))
    if key_type == "ed25519":
        return SoftwareSigner(ed25519.Ed25519PrivateKey.generate())
    if key_type in ("rsa-2048", "rsa-3072", "rsa-4096"):
        bits = int(key_type.removeprefix("rsa-"))
        return SoftwareSigner(rsa.generate_private_key(public_exponent=65537, key_size=bits))
    raise ValueError(f"unknown CA key type {key_type}")


def check_determinism(signer: Signer) -> None:
    """The self-test at start: recovery may only sign again what comes out the same.

    Raises SigningFailed for a signer that says it is deterministic and is not, or whose
    signatures are not of the key that it names.
    """
    message = b"acme-server start-up self-test"
    signature = signer.sign(message)
    check_signature(signer.spki, signer.algorithm, message, signature)
    if signer.is_deterministic and signer.sign(message) != signature:
        raise SigningFailed("a signer that should be deterministic is not")
