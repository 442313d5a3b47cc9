"""RSA moduli that are factored with ease are found, and others are let through."""

from __future__ import annotations

import math
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from policy.keys import check_account_key, check_certificate_key, parse_certificate_key
from policy.model.errors import ErrorKind, ServerError
from policy.moduli import weakness_of_modulus
from support.csrs import rsa_key, rsa_spki

P, Q = (rsa_key().private_numbers().p, rsa_key().private_numbers().q)
ROCA_PRIMES = [n for n in range(3, 168) if all(n % d for d in range(2, math.isqrt(n) + 1))]
ROCA_MODULUS = math.prod(ROCA_PRIMES)
SMALL_PRIMES = [n for n in range(3, 752) if all(n % d for d in range(2, math.isqrt(n) + 1))]


def _modulus_of(residue: int, bits: int = 2048) -> int:
    """A number of that size, ``residue`` modulo the fingerprint's primes, without small factors."""
    number = (1 << bits - 1) // ROCA_MODULUS * ROCA_MODULUS + ROCA_MODULUS + residue
    while number % 2 == 0 or math.gcd(number, math.prod(SMALL_PRIMES)) != 1:
        number += ROCA_MODULUS
    assert number.bit_length() == bits
    return number


def _product_of_primes_apart(distance: int) -> int:
    """(a - d)(a + d): Fermat's method finds it after about d² / 2a rounds."""
    middle = 1 << 1023 | 1 << 1022 | 1
    return (middle - distance) * (middle + distance)


def _distance_for(rounds: int) -> int:
    """The even distance from the middle for which ⌈√n⌉ is that many rounds below the middle."""
    middle = 1 << 1023 | 1 << 1022 | 1
    return math.isqrt(2 * middle * rounds) // 2 * 2


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_modulus_of_a_generated_key_is_accepted(bits: int) -> None:
    modulus = rsa_key(bits).public_key().public_numbers().n

    assert weakness_of_modulus(modulus) is None


@pytest.mark.parametrize("distance", [0, 2, 2**32, 2**256, 2**500])
def test_modulus_of_close_primes_is_weak(distance: int) -> None:
    modulus = _product_of_primes_apart(distance)
    if math.gcd(modulus, math.prod(SMALL_PRIMES)) != 1:
        modulus = _without_small_factors(distance)

    assert "too close" in str(weakness_of_modulus(modulus))


def _without_small_factors(distance: int) -> int:
    middle = 1 << 1023 | 1 << 1022 | 1
    while math.gcd((middle - distance) * (middle + distance), math.prod(SMALL_PRIMES)) != 1:
        middle += 2
    return (middle - distance) * (middle + distance)


def test_search_for_close_primes_ends_after_a_hundred_rounds() -> None:
    found = _without_small_factors(_distance_for(90))
    not_found = _without_small_factors(_distance_for(110))

    assert "too close" in str(weakness_of_modulus(found))
    assert weakness_of_modulus(not_found) is None


@pytest.mark.parametrize("exponents", [(1, 1), (17, 4711), (2**64 + 3, 2**80 + 9)])
def test_modulus_of_primes_as_the_flawed_library_makes_them_is_weak(
    exponents: tuple[int, int],
) -> None:
    residues = [pow(65537, exponent, ROCA_MODULUS) for exponent in exponents]
    modulus = _modulus_of(math.prod(residues) % ROCA_MODULUS)

    assert "CVE-2017-15361" in str(weakness_of_modulus(modulus))


@pytest.mark.parametrize("prime", [11, 13, 17, 19, 37, 53, 97, 103, 107, 109, 127, 151, 157])
def test_modulus_outside_of_one_subgroup_of_the_fingerprint_is_no_roca_modulus(prime: int) -> None:
    """Each of these primes has remainders that are no power of 65537."""
    group = {pow(65537, exponent, prime) for exponent in range(prime)}
    stranger = next(n for n in range(1, prime) if n not in group)
    others = ROCA_MODULUS // prime
    residue = (
        65537 + others * ((stranger - 65537) * pow(others, -1, prime) % prime)
    ) % ROCA_MODULUS

    assert residue % prime == stranger
    assert weakness_of_modulus(_modulus_of(residue)) is None


def test_weak_modulus_is_refused_for_certificates_and_for_accounts() -> None:
    modulus = _without_small_factors(2**40)
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()

    with pytest.raises(ServerError, match="too close") as of_account:
        check_account_key(key)
    with pytest.raises(ServerError, match="too close") as of_certificate:
        check_certificate_key(key)
    with pytest.raises(ServerError, match="too close") as of_request:
        parse_certificate_key(rsa_spki(modulus))
    assert of_account.value.kind is ErrorKind.BAD_PUBLIC_KEY
    assert of_certificate.value.kind is of_request.value.kind is ErrorKind.BAD_CSR


def test_product_of_two_generated_primes_is_not_taken_for_close() -> None:
    assert abs(P - Q) > 2**900
    assert weakness_of_modulus(P * Q) is None


def test_second_look_at_a_modulus_computes_nothing() -> None:
    modulus = rsa_key(4096).public_key().public_numbers().n
    weakness_of_modulus.cache_clear()
    times = []
    for _ in range(2):
        start = time.thread_time_ns()
        weakness_of_modulus(modulus)
        times.append(time.thread_time_ns() - start)

    assert weakness_of_modulus.cache_info().hits == 1
    assert times[1] < times[0]
