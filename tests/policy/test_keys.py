"""Public keys: which are acceptable, and that a large one costs nothing."""

from __future__ import annotations

import math

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.keys import (
    KeyRules,
    check_account_key,
    check_certificate_key,
    kind_of,
    parse_certificate_key,
    weakness_of_rsa,
)
from policy.model.errors import ErrorKind, ServerError
from policy.signing import der
from support.csrs import ec_key, ec_spki, rsa_key, rsa_spki, spki_of

GOOD_MODULUS = rsa_key().public_key().public_numbers().n
# Where a prime below 752 divides: BR 6.1.6 wants none.
SMALL_PRIMES = [n for n in range(2, 752) if all(n % d for d in range(2, math.isqrt(n) + 1))]
FIELD = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
OTHER_ORDER_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
LOW_ORDER_POINTS = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (FIELD - 1).to_bytes(32, "little"),
    FIELD.to_bytes(32, "little"),
    (FIELD + 1).to_bytes(32, "little"),
    bytes.fromhex(ORDER_8),
    bytes.fromhex(OTHER_ORDER_8),
]


def _odd_number_of(bits: int) -> int:
    """An odd number of that size without small factors; no key, but nothing says so."""
    number = 1 << bits - 1 | 1
    while math.gcd(number, math.prod(SMALL_PRIMES)) != 1:
        number += 2
    return number


def _certificate_refusal(spki: bytes) -> str:
    with pytest.raises(ServerError) as refusal:
        parse_certificate_key(spki)
    assert refusal.value.kind is ErrorKind.BAD_CSR
    return refusal.value.detail


@pytest.mark.parametrize("bits", [2048, 2056, 3072, 4096])
def test_rsa_modulus_of_a_good_size_is_accepted(bits: int) -> None:
    assert weakness_of_rsa(_odd_number_of(bits), 65537) is None


@pytest.mark.parametrize(
    "bits", [1, 512, 1024, 2040, 2047, 2049, 2052, 4095, 4097, 4104, 8192, 16384, 65536, 300_000]
)
def test_rsa_modulus_of_another_size_is_weak(bits: int) -> None:
    assert f"has {bits} bits" in str(weakness_of_rsa(1 << bits - 1 | 1, 65537))


def test_size_is_judged_before_anything_is_computed_with_the_number() -> None:
    class Enormous(int):
        def __mod__(self, other: object) -> int:
            raise AssertionError("computed with a number of any size")

    assert "has 16384 bits" in str(weakness_of_rsa(Enormous(1 << 16383), Enormous(3)))


@pytest.mark.parametrize(
    "exponent", [0, 1, 2, 3, 17, 65535, 65536, 65538, 2**32, 2**32 + 1, 2**64 + 1, 2**2047 + 1]
)
def test_rsa_exponent_that_is_even_small_or_large_is_weak(exponent: int) -> None:
    assert "exponent" in str(weakness_of_rsa(GOOD_MODULUS, exponent))


@pytest.mark.parametrize("exponent", [65537, 65539, 2**32 - 1])
def test_odd_rsa_exponent_from_65537_up_is_accepted(exponent: int) -> None:
    assert weakness_of_rsa(GOOD_MODULUS, exponent) is None


@pytest.mark.parametrize("prime", SMALL_PRIMES)
def test_rsa_modulus_with_a_small_factor_is_weak(prime: int) -> None:
    modulus = _odd_number_of(2056 - prime.bit_length()) * prime
    modulus <<= 2056 - modulus.bit_length() if prime == 2 else 0
    while modulus.bit_length() % 8:
        modulus *= prime

    assert "small factor" in str(weakness_of_rsa(modulus, 65537))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_key_on_a_nist_curve_is_accepted_everywhere(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)

    check_account_key(key.public_key())
    check_certificate_key(key.public_key())
    assert parse_certificate_key(spki_of(key)) == key.public_key()
    assert kind_of(key.public_key()) == "ec"


def test_rsa_key_is_accepted_everywhere() -> None:
    key = rsa_key()

    check_account_key(key.public_key())
    check_certificate_key(key.public_key())
    assert parse_certificate_key(spki_of(key)) == key.public_key()
    assert kind_of(key.public_key()) == "rsa"


def test_ed25519_is_for_accounts_only() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()

    check_account_key(key)
    with pytest.raises(ServerError, match="use RSA, or ECDSA"):
        check_certificate_key(key)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert "use RSA, or ECDSA" in _certificate_refusal(spki)


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=bytes.hex)
def test_ed25519_point_of_small_order_is_refused(point: bytes, sign: int) -> None:
    octets = point[:31] + bytes((point[31] | sign,))
    key = ed25519.Ed25519PublicKey.from_public_bytes(octets)

    with pytest.raises(ServerError) as refusal:
        check_account_key(key)

    assert refusal.value.kind is ErrorKind.BAD_PUBLIC_KEY


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP256K1(), ec.BrainpoolP256R1()])
def test_key_on_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)

    with pytest.raises(ServerError) as refusal:
        check_account_key(key.public_key())

    assert refusal.value.kind is ErrorKind.BAD_PUBLIC_KEY
    assert "P-256, P-384 or P-521" in _certificate_refusal(spki_of(key))


def test_small_rsa_key_is_refused_for_accounts_and_certificates() -> None:
    key = rsa_key(1024)

    with pytest.raises(ServerError) as refusal:
        check_account_key(key.public_key())

    assert refusal.value.kind is ErrorKind.BAD_PUBLIC_KEY
    assert "1024 bits" in _certificate_refusal(spki_of(key))


@pytest.mark.parametrize("key", [ed448.Ed448PrivateKey.generate(), object()])
def test_key_of_an_unknown_type_is_refused(key: object) -> None:
    with pytest.raises(ServerError) as refusal:
        check_certificate_key(key)

    assert refusal.value.kind is ErrorKind.BAD_CSR


POINT = ec_key().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
COMPRESSED = ec_key().public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
ENCODED = {
    "empty": b"",
    "not DER": b"\x30\x80\x00\x00",
    "a point off the curve": ec_spki(POINT[:-1] + bytes((POINT[-1] ^ 1,))),
    "the point at infinity": ec_spki(b"\x00"),
    "a short point": ec_spki(POINT[:-1]),
    "a point of zeros": ec_spki(b"\x04" + bytes(64)),
    "secp256k1": ec_spki(POINT, "1.3.132.0.10"),
    "a binary curve": ec_spki(POINT, "1.3.132.0.26"),
    "SM2": ec_spki(POINT, "1.2.156.10197.1.301"),
    "ML-DSA-44": der.sequence(
        der.sequence(der.object_identifier("2.16.840.1.101.3.4.3.17")), der.bit_string(bytes(1312))
    ),
    "explicit parameters": der.sequence(
        der.sequence(der.object_identifier("1.2.840.10045.2.1"), der.sequence(b"\x02\x01\x01")),
        der.bit_string(POINT),
    ),
    "RSA of 1 bit": rsa_spki(1),
    "RSA of 16384 bits": rsa_spki(1 << 16383 | 1),
    "RSA of 300000 bits": rsa_spki(1 << 299_999 | 1),
    "RSA with an exponent of 2048 bits": rsa_spki(GOOD_MODULUS, 2**2047 + 1),
    "RSA with exponent 0": rsa_spki(GOOD_MODULUS, 0),
    "RSA with a negative modulus": rsa_spki(GOOD_MODULUS).replace(
        b"\x02\x82\x01\x01\x00", b"\x02\x82\x01\x01\xff"
    ),
    "RSA without numbers": der.sequence(
        der.sequence(der.object_identifier("1.2.840.113549.1.1.1"), b"\x05\x00"),
        der.bit_string(der.sequence()),
    ),
    "RSA-PSS only": rsa_spki(GOOD_MODULUS).replace(
        der.object_identifier("1.2.840.113549.1.1.1"),
        der.object_identifier("1.2.840.113549.1.1.10"),
    ),
    "data after the key": ec_spki(POINT) + b"\x00",
}


@pytest.mark.parametrize("spki", ENCODED.values(), ids=ENCODED)
def test_encoded_key_that_is_none_for_certificates_is_refused(spki: bytes) -> None:
    assert "public key is refused" in _certificate_refusal(spki)


def test_compressed_point_is_the_key_that_it_stands_for() -> None:
    assert parse_certificate_key(ec_spki(COMPRESSED)) == ec_key().public_key()


def test_dsa_key_is_refused() -> None:
    key = dsa.generate_private_key(1024).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert "use RSA, or ECDSA" in _certificate_refusal(spki)


def test_profile_can_narrow_the_keys() -> None:
    rules = KeyRules(curves=frozenset({"secp256r1"}), min_rsa_bits=3072)
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()

    assert rules.refusal_of(ec_key().public_key()) is None
    assert rules.refusal_of(rsa_key(3072).public_key()) is None
    assert "secp384r1" in str(rules.refusal_of(p384))
    assert "2048 bits" in str(rules.refusal_of(rsa_key().public_key()))
    assert KeyRules().refusal_of(p384) is None


def test_profile_can_not_widen_the_keys() -> None:
    weak = rsa.generate_private_key(3, 2048).public_key()

    assert "exponent" in str(KeyRules().refusal_of(weak))
    for wider in (
        {"curves": frozenset({"secp256k1"})},
        {"min_rsa_bits": 1024},
        {"max_rsa_bits": 8192},
    ):
        with pytest.raises(ValueError, match=r"curves|RSA keys"):
            KeyRules(**wider)  # type: ignore[arg-type]


CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
CURVE_OIDS = {
    "secp256r1": "1.2.840.10045.3.1.7",
    "secp384r1": "1.3.132.0.34",
    "secp521r1": "1.3.132.0.35",
}


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_library_loads_no_point_that_is_not_on_its_curve(curve: ec.EllipticCurve) -> None:
    """Full validation of points (NIST SP 800-56A, 5.6.2.3.3) is the library's; this proves it."""
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    size = (curve.key_size + 7) // 8
    x, y = numbers.x.to_bytes(size), numbers.y.to_bytes(size)
    wrong = {
        "off the curve": b"\x04" + x + (numbers.y ^ 1).to_bytes(size),
        "the point at infinity": b"\x00",
        "infinity in zeros": b"\x04" + bytes(2 * size),
        "a coordinate beyond the field": b"\x04" + b"\xff" * size + y,
        "hybrid with the wrong sign": bytes((6 | (y[-1] & 1) ^ 1,)) + x + y,
    }

    for point in wrong.values():
        with pytest.raises(ValueError, match=r"."):
            ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        assert "no point of its curve" in _certificate_refusal(
            ec_spki(point, CURVE_OIDS[curve.name])
        )
    assert parse_certificate_key(ec_spki(b"\x04" + x + y, CURVE_OIDS[curve.name]))
