"""Secrets at rest open only with their key, in their row, unaltered."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme_server.workflow.sealing import (
    MasterKey,
    SealError,
    decode_master_key,
    generate_master_key,
)

KEY = MasterKey(bytes(range(32)))


@given(st.binary(max_size=300))
def test_sealed_secret_opens_in_its_row(plaintext: bytes) -> None:
    row = uuid4()

    sealed = KEY.seal(plaintext, purpose="issuer-key", row=row)

    assert KEY.open(sealed, purpose="issuer-key", row=row) == plaintext
    assert plaintext == b"" or len(plaintext) < 4 or plaintext not in sealed


def test_ciphertext_moved_to_another_row_or_purpose_stays_shut() -> None:
    row, other = uuid4(), uuid4()
    sealed = KEY.seal(b"secret", purpose="issuer-key", row=row)

    for purpose, moved in [("issuer-key", other), ("nonce-key", row)]:
        with pytest.raises(SealError, match="does not open"):
            KEY.open(sealed, purpose=purpose, row=moved)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_altered_byte_is_refused(position: int, flip: int) -> None:
    row = uuid4()
    sealed = bytearray(KEY.seal(b"secret", purpose="p", row=row))
    sealed[position % len(sealed)] ^= flip

    with pytest.raises(SealError):
        KEY.open(bytes(sealed), purpose="p", row=row)


@given(st.binary(max_size=120))
def test_foreign_bytes_are_refused(junk: bytes) -> None:
    with pytest.raises(SealError):
        KEY.open(junk, purpose="p", row=uuid4())


def test_another_master_key_opens_nothing() -> None:
    other = MasterKey(os.urandom(32))
    row = uuid4()

    with pytest.raises(SealError):
        other.open(KEY.seal(b"secret", purpose="p", row=row), purpose="p", row=row)
    assert not other.opens_check_value(KEY.check_value())
    assert KEY.opens_check_value(KEY.check_value())


def test_rotation_wraps_anew_and_keeps_the_secret() -> None:
    row = uuid4()
    new = MasterKey(os.urandom(32))
    sealed = KEY.seal(b"secret", purpose="p", row=row)

    rewrapped = new.rewrap(sealed, KEY, purpose="p", row=row)

    assert new.open(rewrapped, purpose="p", row=row) == b"secret"
    with pytest.raises(SealError):
        KEY.open(rewrapped, purpose="p", row=row)


def test_generated_key_reads_back_and_differs_each_time() -> None:
    first, second = generate_master_key(), generate_master_key()

    assert first != second
    assert len(decode_master_key(first + "\n")) == 32


@pytest.mark.parametrize("text", ["", "abc", "!" * 43, "A" * 42, "A" * 44, "ä" * 43])
def test_bad_key_text_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="a master key is 32 bytes") as refusal:
        decode_master_key(text)

    assert not text or text not in str(refusal.value)
