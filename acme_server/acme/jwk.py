"""Public keys as JSON Web Keys (RFC 7517, RFC 7518, RFC 8037).

Shape and size are checked before any arithmetic: an embedded key is the first thing a stranger
can make us compute with, and a library that is handed a private member may try to use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from acme_server.acme import base64url
from policy.keys import MAX_RSA_BITS, AccountKey
from policy.model.errors import ErrorKind, ServerError

# The public exponents in use have 17 bits; larger ones only make verification slow.
_MAX_EXPONENT_BYTES = 4
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class _Verifier(Protocol):
    def __call__(self, signature: bytes, signed: bytes) -> None:
        """Raises InvalidSignature."""
        ...


@dataclass(frozen=True, slots=True)
class Jwk:
    """A public key that can be handled safely; whether policy accepts it is another question.

    ``canonical`` is the JSON of RFC 7638, section 3, ``thumbprint`` its SHA-256, and
    ``algorithm`` the one JWS algorithm that this key is used with.
    """

    key: AccountKey
    algorithm: str
    canonical: bytes
    thumbprint: bytes
    _verify: _Verifier

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether ``signature``, in the form of JWS, is this key's over ``signed``."""
        try:
            self._verify(signature, signed)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Curve:
    algorithm: str
    curve: ec.EllipticCurve
    size: int
    signature_algorithm: ec.ECDSA


_CURVES: Mapping[str, _Curve] = {
    "P-256": _Curve("ES256", ec.SECP256R1(), 32, ec.ECDSA(hashes.SHA256())),
    "P-384": _Curve("ES384", ec.SECP384R1(), 48, ec.ECDSA(hashes.SHA384())),
    "P-521": _Curve("ES512", ec.SECP521R1(), 66, ec.ECDSA(hashes.SHA512())),
}
SIGNATURE_ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "RS256")


def parse_jwk(members: object, *, algorithm: str | None = None) -> Jwk:
    """The public key in a parsed JSON object; ``algorithm`` is what it is to be used with.

    Members that are not of its type are ignored (RFC 7517, section 4). Raises ServerError:
    MALFORMED for a wrong shape or use, BAD_PUBLIC_KEY for a key that can't be accepted.
    """
    if not isinstance(members, dict):
        raise _malformed("must be a JSON object")
    if not _PRIVATE_MEMBERS.isdisjoint(members):
        raise _refused(
            "The jwk contains private key material; consider that key compromised "
            "and send only its public part"
        )
    kind = _text(members, "kty")
    if kind == "EC":
        jwk = _elliptic(members)
    elif kind == "RSA":
        jwk = _rsa(members)
    elif kind == "OKP":
        jwk = _edwards(members)
    else:
        raise _refused("The key must be of type EC, RSA or OKP")
    _check_use(members, jwk, algorithm)
    return jwk


def _elliptic(members: Mapping[str, Any]) -> Jwk:
    name = _text(members, "crv")
    curve = _CURVES.get(name)
    if curve is None:
        raise _refused(f"The curve must be one of {', '.join(_CURVES)}")
    x, y = _octets(members, "x"), _octets(members, "y")
    if len(x) != curve.size or len(y) != curve.size:
        raise _refused(f"The coordinates of a {name} key have {curve.size} bytes each")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, b"\x04" + x + y)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused(f"The coordinates are not a point of {name}") from error

    def verify(signature: bytes, signed: bytes) -> None:
        if len(signature) != 2 * curve.size:
            raise InvalidSignature
        r = int.from_bytes(signature[: curve.size])
        s = int.from_bytes(signature[curve.size :])
        key.verify(encode_dss_signature(r, s), signed, curve.signature_algorithm)

    canonical = f'{{"crv":"{name}","kty":"EC","x":"{members["x"]}","y":"{members["y"]}"}}'
    return _jwk(key, curve.algorithm, canonical, verify)


def _rsa(members: Mapping[str, Any]) -> Jwk:
    modulus, exponent = _octets(members, "n"), _octets(members, "e")
    if modulus[:1] in (b"", b"\x00") or exponent[:1] in (b"", b"\x00"):
        raise _malformed('must have "n" and "e" without leading zero bytes')
    if len(modulus) * 8 > MAX_RSA_BITS or len(exponent) > _MAX_EXPONENT_BYTES:
        raise _refused(f"An RSA key has at most {MAX_RSA_BITS} bits, and a small exponent")
    try:
        key = RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused("The numbers are not an RSA public key, or too small for one") from error
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()

    def verify(signature: bytes, signed: bytes) -> None:
        if len(signature) != len(modulus):
            raise InvalidSignature
        key.verify(signature, signed, scheme, digest)

    canonical = f'{{"e":"{members["e"]}","kty":"RSA","n":"{members["n"]}"}}'
    return _jwk(key, "RS256", canonical, verify)


def _edwards(members: Mapping[str, Any]) -> Jwk:
    if _text(members, "crv") != "Ed25519":
        raise _refused("The curve of an OKP key must be Ed25519")
    x = _octets(members, "x")
    if len(x) != 32:
        raise _refused("An Ed25519 key has 32 bytes")
    try:
        key = Ed25519PublicKey.from_public_bytes(x)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused("The bytes are not an Ed25519 key") from error

    def verify(signature: bytes, signed: bytes) -> None:
        key.verify(signature, signed)

    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{members["x"]}"}}'
    return _jwk(key, "EdDSA", canonical, verify)


def _jwk(key: AccountKey, algorithm: str, canonical: str, verify: _Verifier) -> Jwk:
    # Every value was decoded, so none holds anything that JSON would escape, and the encodings
    # are the only ones of their bytes: equal keys have equal thumbprints.
    octets = canonical.encode("ascii")
    return Jwk(key, algorithm, octets, hashlib.sha256(octets).digest(), verify)


def _check_use(members: Mapping[str, Any], jwk: Jwk, algorithm: str | None) -> None:
    """What the key says about its own use must not forbid what it is used for (RFC 7517, 4)."""
    if members.get("alg", jwk.algorithm) != jwk.algorithm:
        raise _malformed(f'must not have an "alg" other than {jwk.algorithm}')
    if members.get("use", "sig") != "sig":
        raise _malformed('must not have a "use" other than "sig"')
    operations = members.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _malformed('must not have "key_ops" without "verify"')
    if algorithm is not None and algorithm != jwk.algorithm:
        raise _refused(f"This key signs with {jwk.algorithm}, not with {algorithm}")


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise _malformed(f'must have a string member "{name}"')
    return value


def _octets(members: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64url.decode(_text(members, name))
    except ValueError as error:
        raise _malformed(f'must have base64url without padding in "{name}"') from error


def _malformed(rule: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, f"The jwk {rule}.")


def _refused(reason: str) -> ServerError:
    return ServerError(ErrorKind.BAD_PUBLIC_KEY, f"{reason}.")
