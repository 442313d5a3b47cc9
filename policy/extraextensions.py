"""Extensions that a profile adds to certificates, octet by octet as the operator gave them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from policy import der

MAX_VALUE_BYTES = 4096
_MAX_DEPTH = 16
_MAX_OID_TEXT = 128
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,31}", re.ASCII)
# Numbers of 128 bits are enough for UUIDs (ITU-T X.667), and all that libraries read. The second
# number shares its octets with the first, of which 2 adds this much (X.690, 8.19.4).
_NUMBERS = 2**128
_SHARED = 80
_CONSTRUCTED = 0x20
# What is made of other values, by number: external, embedded, sequence, set, unrestricted string;
# from 0x40 on a tag is of another class than the universal one.
_STRUCTURES = frozenset({0x08, 0x0B, 0x10, 0x11, 0x1D})
_FIRST_OF_OTHER_CLASSES = 0x40
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
    first, second, *others = map(int, text.split("."))
    if first != 2 and second > 39:
        raise ValueError(f"the second number of {text} is above 39")
    if any(number >= _NUMBERS for number in (second + _SHARED, *others)):
        raise ValueError(f"a number of {text} has more than 128 bits")


def _check_value(encoded: bytes, depth: int) -> None:
    tag, start, end = der.read(encoded, 0)
    if end != len(encoded):
        raise ValueError("data after the value")
    _check_content(tag, encoded[start:end], depth)


def _check_members(content: bytes, depth: int) -> None:
    if depth == 0:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    for tag, member in der.values(content):
        _check_content(tag, member, depth)


def _check_content(tag: int, content: bytes, depth: int) -> None:
    """What DER wants of the universal types that have one form only (ITU-T X.690, 8 and 11)."""
    number = tag & ~_CONSTRUCTED
    if number in _STRUCTURES:
        if not tag & _CONSTRUCTED:
            raise ValueError("a structure that is not constructed")
    elif number < _FIRST_OF_OTHER_CLASSES and tag & _CONSTRUCTED:
        raise ValueError("a simple value that is constructed")
    if tag & _CONSTRUCTED:
        _check_members(content, depth - 1)
    elif (is_right := _FORMS.get(tag)) is not None and not is_right(content):
        raise ValueError(f"the content of a value with tag {tag:#04x} is not as it must be")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except ValueError:
        return False
    return True


def _is_shortest_integer(content: bytes) -> bool:
    if len(content) < 2:
        return bool(content)
    return content[0] not in (0x00, 0xFF) or (content[0] ^ content[1]) & 0x80 != 0


_FORMS: Mapping[int, Callable[[bytes], bool]] = MappingProxyType(
    {
        0x00: lambda content: False,  # the end of an indefinite length
        0x01: lambda content: content in (b"\x00", b"\xff"),
        0x02: _is_shortest_integer,
        0x05: lambda content: content == b"",
        0x06: lambda content: content != b"" and not content[-1] & 0x80,
        0x0A: _is_shortest_integer,
        0x0C: _is_utf8,
    }
)
