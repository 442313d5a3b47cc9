"""Secrets at rest: envelope encryption under the master key.

Each secret has a data key of its own (AES-256-GCM), wrapped by the master key. Both layers carry
the row's purpose and id as associated data, so a ciphertext moved to another row opens nowhere.
Rotating the master key wraps the data keys anew and leaves the secrets' bytes alone.
"""

from __future__ import annotations

import base64
import binascii
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_LENGTH = 32
_VERSION = b"\x01"
_IV_LENGTH = 12
_WRAPPED_LENGTH = _IV_LENGTH + KEY_LENGTH + 16
CHECK_PURPOSE = "master-key-check"
_CHECK_ID = UUID(int=0)
_CHECK_TEXT = b"the master key of this database"


class SealError(Exception):
    """A sealed value does not open: another master key, another row, or altered bytes."""


class MasterKey:
    """The one key that opens the secrets in the database."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError(f"a master key has {KEY_LENGTH} bytes, this one {len(key)}")
        self._aead = AESGCM(key)

    @classmethod
    def from_text(cls, text: str) -> MasterKey:
        """The key that ``secrets generate`` printed: 32 bytes in base64url.

        Raises ValueError, which never repeats the text.
        """
        return cls(decode_master_key(text))

    def seal(self, plaintext: bytes, *, purpose: str, row: UUID) -> bytes:
        """``plaintext`` for the row ``row`` of purpose ``purpose``."""
        context = _context(purpose, row)
        data_key = os.urandom(KEY_LENGTH)
        return (
            _VERSION
            + _encrypt(self._aead, data_key, context)
            + _encrypt(AESGCM(data_key), plaintext, context)
        )

    def open(self, sealed: bytes, *, purpose: str, row: UUID) -> bytes:
        """What ``seal`` was given. Raises SealError."""
        if sealed[:1] != _VERSION:
            raise SealError(f"the sealed {purpose} {row} has an unknown format")
        wrapped = sealed[1 : 1 + _WRAPPED_LENGTH]
        context = _context(purpose, row)
        try:
            data_key = _decrypt(self._aead, wrapped, context)
            return _decrypt(AESGCM(data_key), sealed[1 + _WRAPPED_LENGTH :], context)
        except (InvalidTag, ValueError) as error:
            raise SealError(f"the sealed {purpose} {row} does not open with this key") from error

    def rewrap(self, sealed: bytes, old: MasterKey, *, purpose: str, row: UUID) -> bytes:
        """The same secret under this key, its own bytes untouched. Raises SealError."""
        old.open(sealed, purpose=purpose, row=row)
        context = _context(purpose, row)
        data_key = _decrypt(old._aead, sealed[1 : 1 + _WRAPPED_LENGTH], context)
        wrapped = _encrypt(self._aead, data_key, context)
        return _VERSION + wrapped + sealed[1 + _WRAPPED_LENGTH :]

    def check_value(self) -> bytes:
        """A value that only this key opens, kept in the database to tell a wrong key."""
        return self.seal(_CHECK_TEXT, purpose=CHECK_PURPOSE, row=_CHECK_ID)

    def opens_check_value(self, value: bytes) -> bool:
        """Whether ``value`` was made by ``check_value`` of the same key."""
        try:
            return self.open(value, purpose=CHECK_PURPOSE, row=_CHECK_ID) == _CHECK_TEXT
        except SealError:
            return False


def generate_master_key() -> str:
    """A fresh master key as text: 32 bytes in base64url without padding."""
    return base64.urlsafe_b64encode(os.urandom(KEY_LENGTH)).rstrip(b"=").decode("ascii")


def decode_master_key(text: str) -> bytes:
    """The bytes of a master key's text; raises ValueError without repeating the text."""
    stripped = text.strip().rstrip("=")
    try:
        key = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a master key is 32 bytes in base64url") from error
    if len(key) != KEY_LENGTH:
        raise ValueError(f"a master key is {KEY_LENGTH} bytes in base64url, this one {len(key)}")
    return key


def _context(purpose: str, row: UUID) -> bytes:
    return purpose.encode() + b"\x00" + row.bytes


def _encrypt(aead: AESGCM, plaintext: bytes, context: bytes) -> bytes:
    iv = os.urandom(_IV_LENGTH)
    return iv + aead.encrypt(iv, plaintext, context)


def _decrypt(aead: AESGCM, sealed: bytes, context: bytes) -> bytes:
    return aead.decrypt(sealed[:_IV_LENGTH], sealed[_IV_LENGTH:], context)
