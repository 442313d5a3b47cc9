"""The kinds of settings that only profiles have: words of X.509, object identifiers, extensions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from acme_server.config.kinds import Scalar, Text
from policy.extraextensions import ExtraExtension, check_oid

PURPOSES: Mapping[str, str] = MappingProxyType(
    {
        "server_auth": "1.3.6.1.5.5.7.3.1",
        "client_auth": "1.3.6.1.5.5.7.3.2",
        "code_signing": "1.3.6.1.5.5.7.3.3",
        "email_protection": "1.3.6.1.5.5.7.3.4",
        "time_stamping": "1.3.6.1.5.5.7.3.8",
        "smartcard_logon": "1.3.6.1.4.1.311.20.2.2",
    }
)
_WORDS = {oid: word for word, oid in PURPOSES.items()}


class KeyUsage(enum.StrEnum):
    """What subscribers' keys may be used for (RFC 5280, section 4.2.1.3)."""

    DIGITAL_SIGNATURE = "digital_signature"
    CONTENT_COMMITMENT = "content_commitment"
    KEY_ENCIPHERMENT = "key_encipherment"
    DATA_ENCIPHERMENT = "data_encipherment"
    KEY_AGREEMENT = "key_agreement"


class KeyAlgorithm(enum.StrEnum):
    """The types of certificates' keys."""

    EC = "ec"
    RSA = "rsa"


class Curve(enum.StrEnum):
    """The curves of certificates' keys, as NIST names them."""

    P256 = "P-256"
    P384 = "P-384"
    P521 = "P-521"

    @property
    def library_name(self) -> str:
        """The name in policy, which is the library's (SEC 2)."""
        return f"secp{self.removeprefix('P-')}r1"


class CommonNameSource(enum.StrEnum):
    """FIRST_NAME: the first DNS name that is short enough."""

    NONE = "none"
    FIRST_NAME = "first_name"


class NameType(enum.StrEnum):
    """The types of subject alternative names."""

    DNS = "dns"
    IP = "ip"


class ProfileName(Text):
    """The name by which clients ask for a profile."""

    def __init__(self) -> None:
        super().__init__(
            "profile name",
            pattern=r"[a-z0-9][a-z0-9_-]{0,63}",
            expected='must be 1 to 64 small letters, digits, "_" and "-", such as "tls_server"',
        )


class ObjectIdentifier(Scalar[str]):
    """An object identifier in dots."""

    form = "OID"

    def parse(self, text: str) -> str:
        """The identifier itself."""
        check_oid(text)
        return text


class Purpose(Scalar[str]):
    """A purpose of the extended key usage: a word, or an OID in dots."""

    form = f"{' | '.join(PURPOSES)} | OID"

    def parse(self, text: str) -> str:
        """The OID."""
        if text in PURPOSES:
            return PURPOSES[text]
        try:
            check_oid(text)
        except ValueError:
            raise ValueError(f'"{text}" is not one of {", ".join(PURPOSES)}, and no OID') from None
        return text

    def plain(self, value: str) -> object:
        """The word, where there is one."""
        return _WORDS.get(value, value)


class ExtensionText(Scalar[ExtraExtension]):
    """A non-critical extension: its OID, ``=``, and the DER of its value in hexadecimal."""

    form = "OID=HEX"

    def parse(self, text: str) -> ExtraExtension:
        """The extension."""
        oid, _, digits = text.partition("=")
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            raise ValueError(
                f'"{text[:80]}" must be an OID, "=" and the DER of the value in hexadecimal'
            ) from None
        return ExtraExtension(oid, value)

    def plain(self, value: ExtraExtension) -> object:
        """The extension as it is written."""
        return f"{value.oid}={value.value.hex()}"
