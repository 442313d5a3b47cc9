"""Which public keys are acceptable, for accounts and for certificates (BR 6.1.5, 6.1.6).

Sizes come first: nothing here, and nothing after it, works on numbers that an attacker made large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from policy import der
from policy.model.errors import ErrorKind, ServerError
from policy.moduli import weakness_of_modulus

AccountKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
CertificateKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
KeyKind: TypeAlias = Literal["ec", "rsa"]

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
# BR 6.1.6 wants an odd exponent from the first of these up; each bit of it costs verifiers time,
# and some can't handle more than 32.
MIN_RSA_EXPONENT = 65537
MAX_RSA_EXPONENT = 2**32 - 1
# The points of small order on Curve25519 in Edwards form, as they are encoded (the sign bit
# cleared): a key among them verifies signatures that nobody made.
_FIELD = 2**255 - 19
_ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER_Y = frozenset({0, 1, _FIELD - 1, _FIELD, _FIELD + 1, _ORDER_8_Y, _FIELD - _ORDER_8_Y})
# AlgorithmIdentifiers by their content: RFC 3279, section 2.3.1 and RFC 5480, section 2.1.1.
_RSA_ALGORITHMS = frozenset(
    bytes.fromhex(text) for text in ("06092a864886f70d0101010500", "06092a864886f70d010101")
)
_EC_ALGORITHMS = frozenset(
    bytes.fromhex("06072a8648ce3d0201" + curve)
    for curve in ("06082a8648ce3d030107", "06052b81040022", "06052b81040023")
)
_ALLOWED = "use RSA, or ECDSA on the named curves P-256, P-384 or P-521"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRules:
    """Which of the acceptable keys a profile takes. ``curves`` are named as the library names
    them; a narrower choice than all is possible, a wider one raises ValueError."""

    kinds: frozenset[KeyKind] = frozenset({"ec", "rsa"})
    curves: frozenset[str] = CURVES
    min_rsa_bits: int = MIN_RSA_BITS
    max_rsa_bits: int = MAX_RSA_BITS

    def __post_init__(self) -> None:
        if not self.curves <= CURVES:
            raise ValueError(f"unknown curves: {', '.join(sorted(self.curves - CURVES))}")
        if self.min_rsa_bits < MIN_RSA_BITS or self.max_rsa_bits > MAX_RSA_BITS:
            raise ValueError(f"RSA keys have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
        if self.min_rsa_bits > self.max_rsa_bits:
            raise ValueError("the least size of RSA keys is above the most")

    def refusal_of(self, key: CertificateKey) -> str | None:
        """Why certificates of the profile don't carry the key; None if they may."""
        if (weakness := _weakness_of_certificate_key(key)) is not None:
            return weakness
        if kind_of(key) not in self.kinds:
            return f"it is an {kind_of(key).upper()} key"
        if isinstance(key, ec.EllipticCurvePublicKey):
            return None if key.curve.name in self.curves else f"the curve is {key.curve.name}"
        if not self.min_rsa_bits <= key.key_size <= self.max_rsa_bits:
            return f"the RSA modulus has {key.key_size} bits"
        return None


def kind_of(key: CertificateKey) -> KeyKind:
    """The type of the key, as key usages depend on it."""
    return "rsa" if isinstance(key, rsa.RSAPublicKey) else "ec"


def check_account_key(key: AccountKey) -> None:
    """Raises ServerError(BAD_PUBLIC_KEY) for a key that no account may have."""
    reason = _weakness_of_account_key(key)
    if reason is not None:
        raise ServerError(ErrorKind.BAD_PUBLIC_KEY, f"The account key is refused: {reason}.")


def check_certificate_key(key: object) -> None:
    """Raises ServerError(BAD_CSR) for a key that no certificate may carry."""
    reason = _weakness_of_certificate_key(key)
    if reason is not None:
        raise _refused(reason)


def parse_certificate_key(spki: bytes) -> CertificateKey:
    """The key in the DER of a SubjectPublicKeyInfo, good enough for a certificate.

    Its algorithm and its numbers are looked at before the library may load it. Raises
    ServerError(BAD_CSR).
    """
    try:
        if (reason := _weakness_of_encoded_key(spki)) is not None:
            raise _refused(reason)
        key = load_der_public_key(spki)
    except ValueError as error:
        raise _refused("it is not well-formed, or no point of its curve") from error
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    return key


def _weakness_of_encoded_key(spki: bytes) -> str | None:
    (_, algorithm), (_, bits) = der.values(der.whole(spki, der.SEQUENCE))
    if algorithm in _RSA_ALGORITHMS:
        (_, modulus), (_, exponent) = der.values(der.whole(bits[1:], der.SEQUENCE))
        return weakness_of_rsa(der.positive_integer(modulus), der.positive_integer(exponent))
    return None if algorithm in _EC_ALGORITHMS else _ALLOWED


def _weakness_of_account_key(key: AccountKey) -> str | None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        y = int.from_bytes(key.public_bytes_raw(), "little") & ((1 << 255) - 1)
        return "its point has a small order" if y in _LOW_ORDER_Y else None
    return _weakness_of_certificate_key(key)


def _weakness_of_certificate_key(key: object) -> str | None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            return f"the curve is {key.curve.name}, use P-256, P-384 or P-521"
        return None
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return weakness_of_rsa(numbers.n, numbers.e)
    return _ALLOWED


def weakness_of_rsa(modulus: int, exponent: int) -> str | None:
    """What is wrong with an RSA key; None for an acceptable one."""
    bits = modulus.bit_length()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS or bits % 8:
        return (
            f"the RSA modulus has {bits} bits, allowed are {MIN_RSA_BITS} to {MAX_RSA_BITS} "
            "in steps of 8"
        )
    if not (MIN_RSA_EXPONENT <= exponent <= MAX_RSA_EXPONENT and exponent & 1):
        return "the RSA exponent must be 65537, or another odd number above it of at most 32 bits"
    return weakness_of_modulus(modulus)


def _refused(reason: str) -> ServerError:
    return ServerError(ErrorKind.BAD_CSR, f"The CSR's public key is refused: {reason}.")
