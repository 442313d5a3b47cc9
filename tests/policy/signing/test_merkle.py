"""Merkle trees, by the vectors of Certificate Transparency, which hashes the same way."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.signing.merkle import checkpoint_text, leaf_hash, root_hash

ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_root_is_that_of_the_vectors(size: int) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]

    assert root_hash(leaves).hex() == ROOTS[size]


@given(leaves=st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=40, unique=True))
def test_root_is_that_of_both_halves(leaves: list[bytes]) -> None:
    """The definition: split at the largest power of two below the size."""
    half = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = root_hash(leaves[:half]), root_hash(leaves[half:])

    assert root_hash(leaves) == hashlib.sha256(b"\x01" + left + right).digest()


@given(
    leaves=st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=20, unique=True),
    places=st.tuples(st.integers(0, 19), st.integers(0, 19)),
)
def test_no_event_can_be_removed_altered_or_moved(
    leaves: list[bytes], places: tuple[int, int]
) -> None:
    first, second = (place % len(leaves) for place in places)
    swapped = list(leaves)
    swapped[first], swapped[second] = leaves[second], leaves[first]
    others = [
        leaves[:first] + leaves[first + 1 :],
        leaves[:-1],
        leaves + leaves[-1:],
        [*leaves[:first], hashlib.sha256(leaves[first]).digest(), *leaves[first + 1 :]],
    ]
    if first != second:
        others.append(swapped)

    assert root_hash(leaves) not in {root_hash(other) for other in others}


def test_checkpoint_holds_all_that_it_commits_to() -> None:
    text = checkpoint_text("ca.example", 7, 3, bytes(32), b"\xff" * 32)

    assert text == (
        b"ca.example audit checkpoint 1\n7\n3\n"
        b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        b"//////////////////////////////////////////8=\n"
    )
