"""base64url as in JWS: no padding, one text per octet string (RFC 7515, section 2)."""

from __future__ import annotations

import base64
import binascii

# To the alphabet that binascii knows; the two characters that only it has become invalid.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")
# Last characters whose unused bits are zero, by the length modulo 4.
_LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}


def decode(text: str) -> bytes:
    """The octets that ``text`` is the encoding of.

    Raises ValueError for padding, for other characters, and for texts that no encoder makes.
    """
    remainder = len(text) & 3
    if remainder == 1 or (remainder and text[-1] not in _LAST[remainder]):
        raise ValueError("not the base64url encoding of anything")
    standard = text.encode("ascii").translate(_TO_STANDARD) + _PADDING[remainder]
    return binascii.a2b_base64(standard, strict_mode=True)


def encode(octets: bytes) -> str:
    """The one text for ``octets``."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
