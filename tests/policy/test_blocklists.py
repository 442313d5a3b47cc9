"""Lists of blocked keys: their forms, what is on them, and what they cost."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from policy.blocklists import (
    DigestSet,
    KeyBlocklist,
    make_blocklist,
    modulus_hash,
    read_key_list,
    read_modulus_list,
    spki_hash,
)
from support.csrs import ec_key, rsa_key, spki_of

KEYS = (
    ec_key().public_key(),
    rsa_key().public_key(),
    ed25519.Ed25519PrivateKey.generate().public_key(),
)


def test_empty_blocklist_blocks_nothing() -> None:
    assert [KeyBlocklist().refusal_of(key) for key in KEYS] == [None, None, None]


@pytest.mark.parametrize("key", KEYS, ids=["EC", "RSA", "Ed25519"])
def test_key_is_blocked_by_the_hash_of_its_public_key_info(key: object) -> None:
    others = [hashlib.sha256(bytes((n,))).digest() for n in range(100)]
    blocklist = make_blocklist([*others, spki_hash(key)], [])  # type: ignore[arg-type]

    refused = [other for other in KEYS if blocklist.refusal_of(other) is not None]

    assert refused == [key]


def test_hash_of_a_key_is_the_one_of_its_encoded_form() -> None:
    assert spki_hash(ec_key().public_key()) == hashlib.sha256(spki_of(ec_key())).digest()


def test_rsa_key_is_blocked_by_the_hash_that_debian_lists_have(tmp_path: Path) -> None:
    """The list is made as its package makes it: from what OpenSSL prints."""
    path = tmp_path / "key.pem"
    path.write_bytes(
        rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    printed = subprocess.run(
        ["openssl", "rsa", "-in", path, "-noout", "-modulus"],
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout
    listed = hashlib.sha1(printed, usedforsecurity=False).hexdigest()[20:]
    lines = ["# RSA-2048, generated", "", "0" * 20, listed, "f" * 20]

    blocklist = make_blocklist([], read_modulus_list(lines))

    assert "Debian" in str(blocklist.refusal_of(rsa_key().public_key()))
    assert blocklist.refusal_of(rsa_key(3072).public_key()) is None
    assert blocklist.refusal_of(ec_key().public_key()) is None


def test_modulus_hash_has_the_last_80_bits() -> None:
    text = b"Modulus=ABCDEF\n"

    assert modulus_hash(0xABCDEF) == hashlib.sha1(text, usedforsecurity=False).digest()[10:]


def test_list_of_keys_may_have_comments_capitals_and_empty_lines() -> None:
    digest = hashlib.sha256(b"key").digest()
    lines = ["# compromised", "", f"  {digest.hex().upper()}  \n", "#end"]

    assert list(read_key_list(lines)) == [digest]


@pytest.mark.parametrize(
    "line",
    ["0" * 63, "0" * 65, "g" + "0" * 63, "0" * 64 + " www.example.com", "sha256:" + "0" * 64],
)
def test_line_that_is_no_hash_is_told_with_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 3 is not 64 hexadecimal digits"):
        list(read_key_list(["# list", "0" * 64, line]))


def test_line_of_a_list_of_keys_is_none_of_a_list_of_moduli() -> None:
    with pytest.raises(ValueError, match="line 1 is not 20 hexadecimal digits"):
        list(read_modulus_list(["0" * 64]))


@given(st.sets(st.binary(min_size=2, max_size=2)), st.binary(min_size=2, max_size=2))
def test_digest_set_has_what_was_put_in_and_nothing_else(digests: set[bytes], other: bytes) -> None:
    found = DigestSet(2, digests)

    assert len(found) == len(digests)
    assert all(digest in found for digest in digests)
    assert (other in found) == (other in digests)


def test_large_list_is_searched_in_few_steps() -> None:
    random_octets = random.Random(1).randbytes
    digests = [random_octets(32) for _ in range(50_000)]
    blocklist = make_blocklist(digests, [])
    steps = []

    class Counting(bytes):
        def __lt__(self, other: bytes) -> bool:
            steps.append(other)
            return bytes.__lt__(self, other)

        def __gt__(self, other: bytes) -> bool:
            steps.append(other)
            return bytes.__gt__(self, other)

    assert Counting(digests[777]) in blocklist.keys
    assert 0 < len(steps) <= 17
