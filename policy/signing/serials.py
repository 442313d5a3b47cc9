"""Serial numbers (RFC 5280, section 4.1.2.2; BR 7.1.2)."""

from __future__ import annotations

from collections.abc import Callable

LENGTH = 17


def make_serial(random_bytes: Callable[[int], bytes]) -> bytes:
    """A positive serial of 17 octets: 0x01 and 128 bits from a CSPRNG.

    The fixed first octet keeps the sign and the length the same for all, so no random bit is
    spent on either.
    """
    return b"\x01" + random_bytes(LENGTH - 1)
