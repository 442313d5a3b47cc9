"""The few DER forms that certificates and CRLs are written in (ITU-T X.690).

Reading is ``policy.der``'s; its ``read`` is named here too, for those who do both.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

from policy.der import read as read

SEQUENCE = 0x30
SET = 0x31
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
ENUMERATED = 0x0A
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
BOOLEAN_TRUE = b"\x01\x01\xff"
_UTC_OFFSET = timedelta(0)


def tlv(tag: int, content: bytes) -> bytes:
    """One value: its tag, its length in the shortest form, its content."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of encoded values."""
    return tlv(SEQUENCE, b"".join(parts))


def integer(magnitude: bytes) -> bytes:
    """A positive INTEGER from its big-endian magnitude."""
    stripped = magnitude.lstrip(b"\x00") or b"\x00"
    return tlv(INTEGER, b"\x00" + stripped if stripped[0] & 0x80 else stripped)


def explicit(number: int, content: bytes) -> bytes:
    """A context-specific constructed wrapping ``[number]``."""
    return tlv(0xA0 | number, content)


def time(moment: datetime) -> bytes:
    """Time as RFC 5280, section 4.1.2.5 wants it: UTCTime through 2049, then GeneralizedTime.

    Raises ValueError unless it is whole seconds of UTC.
    """
    if moment.microsecond or moment.utcoffset() != _UTC_OFFSET:
        raise ValueError("certificates know whole seconds of UTC only")
    if 1950 <= moment.year < 2050:
        return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def bit_string(content: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\x00" + content)


def extension(dotted: str, value: bytes, *, is_critical: bool = False) -> bytes:
    """An X.509 Extension from its OID and the DER of its value (RFC 5280, section 4.1)."""
    critical = BOOLEAN_TRUE if is_critical else b""
    return sequence(object_identifier(dotted), critical, tlv(OCTET_STRING, value))


@lru_cache(maxsize=256)
def object_identifier(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = map(int, dotted.split("."))
    return tlv(0x06, b"".join(_base128(arc) for arc in (first * 40 + second, *rest)))


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(arc & 0x7F | 0x80)
    return bytes(reversed(octets))
