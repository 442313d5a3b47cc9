"""Object ids: 128 bits, time-ordered, unguessable (UUID version 7, RFC 9562, section 5.7)."""

from __future__ import annotations

import base64
import re
from typing import NewType
from uuid import UUID

AccountId = NewType("AccountId", UUID)
OrderId = NewType("OrderId", UUID)
AuthorizationId = NewType("AuthorizationId", UUID)
CertificateId = NewType("CertificateId", UUID)
ExternalAccountId = NewType("ExternalAccountId", UUID)

# 22 characters carry 132 bits; the last four of them are zero in what ``encode_id`` renders.
_SHAPE = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]", re.ASCII)


def time_ordered_id(milliseconds: int, randomness: bytes) -> UUID:
    """An id for an object made ``milliseconds`` after the Unix epoch.

    ``randomness`` is 10 bytes from a CSPRNG, of which 74 bits are used: an id can't be guessed,
    and ids of later objects sort later, so that an index grows at one end and a partition by
    time is a partition by id.
    """
    if len(randomness) != 10:
        raise ValueError("randomness must be 10 bytes")
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError("milliseconds must fit 48 bits")
    value = int.from_bytes(milliseconds.to_bytes(6) + randomness)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def encode_id(value: UUID) -> str:
    """The id as it stands in URLs: 22 characters of unpadded base64url."""
    return base64.urlsafe_b64encode(value.bytes)[:22].decode("ascii")


def parse_id(text: str) -> UUID | None:
    """The id that ``encode_id`` rendered as ``text``; None for anything else, aliases included."""
    if not _SHAPE.fullmatch(text):
        return None
    return UUID(bytes=base64.urlsafe_b64decode(text + "=="))
