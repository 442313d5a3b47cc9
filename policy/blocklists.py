"""Lists of keys that nobody may use any more: as known to be compromised, or as predictable.

The lists are files of the operator; this module has their forms. A list is kept as one sorted
octet string, a tenth of what a set would take.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from policy.keys import AccountKey

_SPKI_HASH_SIZE = 32
# Lists of Debian's weak keys have the last 80 bits of a SHA-1.
_MODULUS_HASH_SIZE = 10


class DigestSet:
    """A set of digests of one size, in octets."""

    def __init__(self, size: int, digests: Iterable[bytes] = ()) -> None:
        self._size = size
        self._digests = b"".join(sorted(set(digests)))

    def __len__(self) -> int:
        return len(self._digests) // self._size

    def __contains__(self, digest: bytes) -> bool:
        position = bisect_left(range(len(self)), digest, key=self._at)
        return position < len(self) and self._at(position) == digest

    def _at(self, position: int) -> bytes:
        return self._digests[position * self._size : (position + 1) * self._size]


@dataclass(frozen=True, slots=True)
class KeyBlocklist:
    """The keys on all lists: ``keys`` by the SHA-256 of their SubjectPublicKeyInfo, ``moduli`` by
    ``modulus_hash``."""

    keys: DigestSet = DigestSet(_SPKI_HASH_SIZE)  # noqa: RUF009 - never changed
    moduli: DigestSet = DigestSet(_MODULUS_HASH_SIZE)  # noqa: RUF009 - never changed

    def refusal_of(self, key: AccountKey) -> str | None:
        """Why nobody may use ``key``; None for one that is on no list."""
        if self.keys and spki_hash(key) in self.keys:
            return "it is on this CA's list of compromised keys"
        if not self.moduli or not isinstance(key, rsa.RSAPublicKey):
            return None
        if modulus_hash(key.public_numbers().n) in self.moduli:
            return "it is one of the predictable keys that Debian's OpenSSL made in 2006 to 2008"
        return None


def read_key_list(lines: Iterable[str]) -> Iterator[bytes]:
    """The SHA-256 hashes of SubjectPublicKeyInfos in a list: one a line, in hexadecimal.

    Empty lines and those that start with ``#`` are skipped. Raises ValueError with the line.
    """
    return _read(lines, _SPKI_HASH_SIZE)


def read_modulus_list(lines: Iterable[str]) -> Iterator[bytes]:
    """The hashes in a list of Debian's package openssl-blacklist: see ``read_key_list``."""
    return _read(lines, _MODULUS_HASH_SIZE)


def make_blocklist(keys: Iterable[bytes], moduli: Iterable[bytes]) -> KeyBlocklist:
    """The blocklist of what the lists have."""
    return KeyBlocklist(DigestSet(_SPKI_HASH_SIZE, keys), DigestSet(_MODULUS_HASH_SIZE, moduli))


def spki_hash(key: AccountKey) -> bytes:
    """The SHA-256 of the key's SubjectPublicKeyInfo."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def modulus_hash(modulus: int) -> bytes:
    """What openssl-blacklist has of a modulus: the end of the SHA-1 over the line that ``openssl
    rsa -modulus`` prints."""
    line = f"Modulus={modulus:X}\n".encode("ascii")
    return hashlib.sha1(line, usedforsecurity=False).digest()[-_MODULUS_HASH_SIZE:]


def _read(lines: Iterable[str], size: int) -> Iterator[bytes]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        digest = _digest(text)
        if len(text) != 2 * size or len(digest) != size:
            raise ValueError(f"line {number} is not {2 * size} hexadecimal digits")
        yield digest


def _digest(text: str) -> bytes:
    """Its octets, of which there are too few where it has blanks; none for what is no digits."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
