"""Extensions that a profile adds to certificates, octet by octet as the operator gave them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy import der

MAX_VALUE_BYTES = 4096
_MAX_DEPTH = 16
_MAX_OID_TEXT = 128
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,31}", re.ASCII)
_CONSTRUCTED = 0x20
# What X.509 itself defines (RFC 5280, section 4.2.1): this server builds some of it, the rest
# would change what a certificate may be used for.
_X509_ARC = "2.5.29."
_RESERVED = frozenset(
    {
        "1.3.6.1.5.5.7.1.1",  # authority information access: built
        "1.3.6.1.5.5.7.1.11",  # subject information access: for CAs
        "1.3.6.1.5.5.7.1.24",  # TLS feature: built
        "1.3.6.1.5.5.7.1.31",  # acmeIdentifier: proves control of a name (RFC 8737)
        "1.3.6.1.5.5.7.48.1.5",  # OCSP no check: never revoked
        "1.3.6.1.4.1.11129.2.4.2",  # signed certificate timestamps
        "1.3.6.1.4.1.11129.2.4.3",  # precertificate poison
        "2.16.840.1.113730.1.1",  # Netscape certificate type: may say CA
    }
)


@dataclass(frozen=True, slots=True)
class ExtraExtension:
    """A non-critical extension: its OID in dots, and the DER of its value.

    Raises ValueError for an extension that the server builds itself, and for what is no DER.
    """

    oid: str
    value: bytes

    def __post_init__(self) -> None:
        check_oid(self.oid)
        if self.oid.startswith(_X509_ARC) or self.oid in _RESERVED:
            raise ValueError(f"the extension {self.oid} is not for profiles to add")
        if not 0 < len(self.value) <= MAX_VALUE_BYTES:
            raise ValueError(f"the value of {self.oid} has 1 to {MAX_VALUE_BYTES} bytes")
        try:
            _check_value(self.value, _MAX_DEPTH)
        except ValueError as error:
            raise ValueError(f"the value of {self.oid} is not DER: {error}") from None


def check_oid(text: str) -> None:
    """Raises ValueError unless ``text`` is an object identifier in dots (ITU-T X.660)."""
    if len(text) > _MAX_OID_TEXT or not _OID.fullmatch(text):
        raise ValueError(f'"{text[:_MAX_OID_TEXT]}" is no object identifier such as 1.3.6.1.4.1.1')
    first, second = text.split(".")[:2]
    if first != "2" and int(second) > 39:
        raise ValueError(f"the second number of {text} is above 39")


def _check_value(encoded: bytes, depth: int) -> None:
    tag, start, end = der.read(encoded, 0)
    if end != len(encoded):
        raise ValueError("data after the value")
    if tag & _CONSTRUCTED:
        _check_members(encoded[start:end], depth - 1)


def _check_members(content: bytes, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    for tag, member in der.values(content):
        if tag & _CONSTRUCTED:
            _check_members(member, depth - 1)
