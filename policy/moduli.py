"""RSA moduli that are known to be factored with ease (BR 4.9.1.1 and 6.1.1.3).

Each check is bounded: a few divisions, or a hundred rounds, of numbers whose size was checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

_SMALL_PRIMES = tuple(
    n for n in range(3, 752, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2))
)
_SMALL_PRIMES_PRODUCT = math.prod(_SMALL_PRIMES)
# BR 6.1.1.3 names this number of rounds.
_FERMAT_ROUNDS = 100
# What squares are modulo 16: three of four candidates need no square root.
_SQUARES_MODULO_16 = frozenset({0, 1, 4, 9})
# The primes of the published fingerprint of CVE-2017-15361.
_ROCA_PRIMES = tuple(prime for prime in _SMALL_PRIMES if prime <= 167)
_ROCA_PRODUCT = math.prod(_ROCA_PRIMES)
_ROCA_GENERATOR = 65537


def _powers(prime: int) -> frozenset[int]:
    """The subgroup that the generator of the flawed library spans modulo ``prime``."""
    return frozenset(pow(_ROCA_GENERATOR, exponent, prime) for exponent in range(prime - 1))


_ROCA_GROUPS = tuple((prime, _powers(prime)) for prime in _ROCA_PRIMES)


@lru_cache(maxsize=1024)
def weakness_of_modulus(modulus: int) -> str | None:
    """What is wrong with a modulus of a checked size; None where nothing is found.

    A certificate's key is looked at when it is asked for, when it is decided on and before it is
    signed; the answer is the same each time.
    """
    return next((reason for check in _CHECKS if (reason := check(modulus)) is not None), None)


def _small_factor(modulus: int) -> str | None:
    if modulus % 2 == 0 or math.gcd(modulus, _SMALL_PRIMES_PRODUCT) != 1:
        return "the RSA modulus has a small factor"
    return None


def _close_primes(modulus: int) -> str | None:
    """Fermat's method: of a = ⌈√n⌉ and up, is a² - n a square?"""
    root = math.isqrt(modulus - 1) + 1
    difference = root * root - modulus
    for _ in range(_FERMAT_ROUNDS):
        if difference & 15 in _SQUARES_MODULO_16 and math.isqrt(difference) ** 2 == difference:
            return "the primes of the RSA modulus are too close to each other"
        difference += 2 * root + 1
        root += 1
    return None


def _roca(modulus: int) -> str | None:
    """Whether the modulus is a power of 65537 modulo each of the primes, as those are that the
    flawed library makes; one of some hundred million others is, too."""
    residue = modulus % _ROCA_PRODUCT
    if all(residue % prime in group for prime, group in _ROCA_GROUPS):
        return "the RSA modulus has the ROCA fingerprint (CVE-2017-15361)"
    return None


# What is found in the modulus alone; each returns a reason or None.
_CHECKS: tuple[Callable[[int], str | None], ...] = (_small_factor, _close_primes, _roca)
