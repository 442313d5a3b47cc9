"""Serial numbers: long enough, positive, and random in every bit that is not fixed."""

from __future__ import annotations

import os
from collections import Counter

from policy.signing.serials import LENGTH, make_serial

COUNT = 20_000


def test_each_random_bit_is_set_half_of_the_time() -> None:
    """A generator that drops values, as those of 2019 did to keep the sign, shows here."""
    serials = [int.from_bytes(make_serial(os.urandom)) for _ in range(COUNT)]
    # Six standard deviations: about one false alarm in four million runs.
    margin = 6 * COUNT**0.5 / 2

    for bit in range(8 * (LENGTH - 1)):
        ones = sum(serial >> bit & 1 for serial in serials)
        assert abs(ones - COUNT / 2) < margin, f"bit {bit}"


def test_serials_are_positive_of_one_length_and_never_the_same() -> None:
    serials = [make_serial(os.urandom) for _ in range(COUNT)]

    assert Counter(map(len, serials)) == {LENGTH: COUNT}
    assert {serial[0] for serial in serials} == {1}
    assert len(set(serials)) == COUNT
    assert LENGTH <= 20


def test_all_of_the_randomness_is_in_the_serial() -> None:
    asked = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(range(0xF0, 0xF0 + count))

    assert make_serial(random_bytes) == b"\x01" + bytes(range(0xF0, 0x100))
    assert asked == [16]
