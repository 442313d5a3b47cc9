"""What a certificate request asks for in its extensions (RFC 2985, section 5.4.2).

Read here rather than by the library, whose reading is lazy, takes a vendor's attribute for the
standard one, hands out names with NUL in them, and writes a warning about each unusual name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from policy import der

_EXTENSION_REQUEST = bytes.fromhex("2a864886f70d01090e")  # 1.2.840.113549.1.9.14
_MICROSOFT_EXTENSION_REQUEST = bytes.fromhex("2b0601040182370201 0e")  # 1.3.6.1.4.1.311.2.1.14
_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d11")
_BASIC_CONSTRAINTS = bytes.fromhex("551d13")
_KEY_USAGE = bytes.fromhex("551d0f")
_EXTENDED_KEY_USAGE = bytes.fromhex("551d25")
_SUBJECT_KEY_IDENTIFIER = bytes.fromhex("551d0e")
_TLS_FEATURE = bytes.fromhex("2b06010505070118")
# In no certificate: any purpose, and the one of those who say what is revoked.
_FORBIDDEN_PURPOSES = frozenset({bytes.fromhex("551d2500"), bytes.fromhex("2b06010505070309")})

_TRUE = b"\xff"
_DNS_NAME = 0x82
_IP_ADDRESS = 0x87
_KEY_CERT_SIGN, _CRL_SIGN = 0x04, 0x02
_STATUS_REQUEST = b"\x05"


class ExtensionRefused(Exception):
    """The request asks for what no server certificate has; the text is for its sender."""


@dataclass(slots=True)
class RequestedExtensions:
    """``names`` are the subject alternative names as (identifier type, text), not yet checked;
    None without that extension. ``purposes`` are the OIDs of the extended key usage.
    ``must_staple`` is the TLS feature status_request (RFC 7633)."""

    unverified_names: list[tuple[str, str]] | None = None
    purposes: frozenset[str] = frozenset()
    must_staple: bool = False
    seen: set[bytes] = field(default_factory=set)


def read_extensions(attributes: bytes) -> RequestedExtensions:
    """What the content of a request's attributes asks for.

    Raises ExtensionRefused, and ValueError for what is malformed.
    """
    requested = RequestedExtensions()
    requests = []
    for oid, values in map(_pair, _all(attributes, der.SEQUENCE)):
        if oid == _MICROSOFT_EXTENSION_REQUEST:
            raise ExtensionRefused("put its extensions into the extensionRequest attribute alone")
        if oid == _EXTENSION_REQUEST:
            requests += _all(values, der.SEQUENCE)
    if len(requests) > 1:
        raise ExtensionRefused("it has more than one extension request")
    for extension in _all(b"".join(requests), der.SEQUENCE):
        _take(extension, requested)
    return requested


def _take(extension: bytes, requested: RequestedExtensions) -> None:
    (oid_tag, oid), *critical, (value_tag, value) = der.values(extension)
    if (oid_tag, value_tag) != (der.OBJECT_IDENTIFIER, der.OCTET_STRING):
        raise ValueError("no extension")
    if critical not in ([], [(der.BOOLEAN, _TRUE)]):
        raise ValueError("criticality is TRUE or left out")
    if oid in requested.seen:
        raise ExtensionRefused(f"it has the extension {der.dotted(oid)} twice")
    requested.seen.add(oid)
    reader = _READERS.get(oid)
    if reader is not None:
        reader(value, requested)
    elif critical:
        raise ExtensionRefused(f"it asks for a critical extension ({der.dotted(oid)})")


def _take_names(value: bytes, requested: RequestedExtensions) -> None:
    requested.unverified_names = [
        _general_name(tag, content) for tag, content in der.values(der.whole(value, der.SEQUENCE))
    ]


def _general_name(tag: int, content: bytes) -> tuple[str, str]:
    if tag == _DNS_NAME:
        return "dns", content.decode("ascii")
    if tag == _IP_ADDRESS and len(content) in (4, 16):
        return "ip", str(ipaddress.ip_address(content))
    raise ExtensionRefused(
        "it has a subject alternative name that is neither a DNS name nor an address"
    )


def _check_constraints(value: bytes, _: RequestedExtensions) -> None:
    constraints = der.whole(value, der.SEQUENCE)
    if (der.BOOLEAN, _TRUE) in der.values(constraints):
        raise ExtensionRefused("it asks for a CA certificate")
    if constraints:
        raise ValueError("constraints of no CA are empty")


def _check_usage(value: bytes, _: RequestedExtensions) -> None:
    bits = der.whole(value, der.BIT_STRING)
    if len(bits) < 2:
        raise ValueError("a key usage without bits")
    if bits[1] & (_KEY_CERT_SIGN | _CRL_SIGN):
        raise ExtensionRefused("it asks for the key usages of a CA")


def _take_purposes(value: bytes, requested: RequestedExtensions) -> None:
    purposes = _all(der.whole(value, der.SEQUENCE), der.OBJECT_IDENTIFIER)
    if not _FORBIDDEN_PURPOSES.isdisjoint(purposes):
        raise ExtensionRefused("it asks for an extended key usage that no certificate gets")
    requested.purposes = frozenset(map(der.dotted, purposes))


def _take_features(value: bytes, requested: RequestedExtensions) -> None:
    if _all(der.whole(value, der.SEQUENCE), der.INTEGER) != [_STATUS_REQUEST]:
        raise ExtensionRefused("it asks for TLS features other than status_request")
    requested.must_staple = True


def _ignore(value: bytes, _: RequestedExtensions) -> None:
    """The CA makes its own."""


_READERS: Mapping[bytes, Callable[[bytes, RequestedExtensions], None]] = {
    _SUBJECT_ALTERNATIVE_NAME: _take_names,
    _BASIC_CONSTRAINTS: _check_constraints,
    _KEY_USAGE: _check_usage,
    _EXTENDED_KEY_USAGE: _take_purposes,
    _SUBJECT_KEY_IDENTIFIER: _ignore,
    _TLS_FEATURE: _take_features,
}


def _pair(attribute: bytes) -> tuple[bytes, bytes]:
    (oid_tag, oid), (set_tag, values) = der.values(attribute)
    if (oid_tag, set_tag) != (der.OBJECT_IDENTIFIER, der.SET):
        raise ValueError("no attribute")
    return oid, values


def _all(content: bytes, tag: int) -> list[bytes]:
    """The contents of values that all have one tag."""
    found = list(der.values(content))
    if any(other != tag for other, _ in found):
        raise ValueError(f"a value with a tag other than {tag:#04x}")
    return [value for _, value in found]
