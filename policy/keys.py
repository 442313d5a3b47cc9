"""Which public keys are acceptable, for accounts and for certificates (BR 6.1.5, 6.1.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from policy.model.errors import ErrorKind, ServerError

AccountKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
CertificateKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_SMALL_PRIMES = tuple(
    n for n in range(3, 752, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2))
)
_SMALL_PRIMES_PRODUCT = math.prod(_SMALL_PRIMES)
# The points of small order on Curve25519 in Edwards form, as they are encoded (the sign bit
# cleared): a key among them verifies signatures that nobody made.
_FIELD = 2**255 - 19
_ORDER_8_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER_Y = frozenset({0, 1, _FIELD - 1, _FIELD, _FIELD + 1, _ORDER_8_Y, _FIELD - _ORDER_8_Y})


def check_account_key(key: AccountKey) -> None:
    """Raises ServerError(BAD_PUBLIC_KEY) for a key that no account may have."""
    reason = _weakness_of_account_key(key)
    if reason is not None:
        raise ServerError(ErrorKind.BAD_PUBLIC_KEY, f"The account key is refused: {reason}.")


def check_certificate_key(key: object) -> None:
    """Raises ServerError(BAD_CSR) for a key that no certificate may carry."""
    reason = _weakness_of_certificate_key(key)
    if reason is not None:
        raise ServerError(ErrorKind.BAD_CSR, f"The CSR's public key is refused: {reason}.")


def _weakness_of_account_key(key: AccountKey) -> str | None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        y = int.from_bytes(key.public_bytes_raw(), "little") & ((1 << 255) - 1)
        return "its point has a small order" if y in _LOW_ORDER_Y else None
    return _weakness_of_certificate_key(key)


def _weakness_of_certificate_key(key: object) -> str | None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            return f"the curve is {key.curve.name}, use P-256, P-384 or P-521"
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return weakness_of_rsa(key.public_numbers().n, key.public_numbers().e)
    return "use RSA, or ECDSA on P-256, P-384 or P-521"


def weakness_of_rsa(modulus: int, exponent: int) -> str | None:
    """What is wrong with an RSA key; None for an acceptable one. The size comes first, so that
    nothing below works on numbers that an attacker made large."""
    bits = modulus.bit_length()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS or bits % 8:
        return (
            f"the RSA modulus has {bits} bits, allowed are {MIN_RSA_BITS} to {MAX_RSA_BITS} "
            "in steps of 8"
        )
    # BR 6.1.6 wants an odd exponent from 65537 up; nobody uses another, and each costs time.
    if exponent != 65537:
        return "the RSA exponent must be 65537"
    return next((reason for check in _MODULUS_CHECKS if (reason := check(modulus))), None)


def _small_factor(modulus: int) -> str | None:
    if modulus % 2 == 0 or math.gcd(modulus, _SMALL_PRIMES_PRODUCT) != 1:
        return "the RSA modulus has a small factor"
    return None


# What is found in the modulus alone; each returns a reason or None.
_MODULUS_CHECKS: tuple[Callable[[int], str | None], ...] = (_small_factor,)
