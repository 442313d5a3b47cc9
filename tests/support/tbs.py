"""The bytes of certificates, changed in single places."""

from __future__ import annotations

from collections.abc import Callable

from policy import der as reader
from policy.signing import der

# Where each field of a TBSCertificate stands.
VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(8)
KEY_USAGE, PURPOSES, CONSTRAINTS = "2.5.29.15", "2.5.29.37", "2.5.29.19"
AUTHORITY_KEY, SUBJECT_KEY, NAMES = "2.5.29.35", "2.5.29.14", "2.5.29.17"
INFORMATION, POINTS, POLICIES = "1.3.6.1.5.5.7.1.1", "2.5.29.31", "2.5.29.32"
FEATURE = "1.3.6.1.5.5.7.1.24"


def with_field(tbs: bytes, position: int, value: bytes) -> bytes:
    """The bytes with one field replaced by an encoded value; empty: left out."""
    fields = [der.tlv(tag, content) for tag, content in reader.values(reader.whole(tbs, 0x30))]
    fields[position] = value
    return der.sequence(*fields)


def with_extensions(tbs: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The bytes with their extensions, by OID in dots, changed in place."""
    fields = list(reader.values(reader.whole(tbs, 0x30)))
    found = {}
    for _, content in reader.values(reader.whole(fields[EXTENSIONS][1], 0x30)):
        (_, oid), *_ = reader.values(content)
        found[reader.dotted(oid)] = der.sequence(content)
    change(found)
    extensions = der.explicit(3, der.sequence(*found.values()))
    return with_field(tbs, EXTENSIONS, extensions)


def with_extension(tbs: bytes, oid: str, value: bytes, *, is_critical: bool = False) -> bytes:
    """The bytes with one extension replaced, or added."""
    encoded = der.extension(oid, value, is_critical=is_critical)
    return with_extensions(tbs, lambda found: found.update({oid: encoded}))
