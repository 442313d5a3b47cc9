"""What a certificate names (RFC 8555, sections 7.1.3 and 9.7.7; RFC 8738)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class IdentifierType(enum.StrEnum):
    """The registered identifier types that are served."""

    DNS = "dns"
    IP = "ip"


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """One name, canonical: lower-case LDH labels, or the shortest text of an address (RFC 5952).

    ``policy.names.parse_identifier`` makes them from what clients send and refuses the rest.
    """

    type: IdentifierType
    value: str

    @property
    def is_wildcard(self) -> bool:
        """Whether this is ``*.`` and a domain name."""
        return self.type is IdentifierType.DNS and self.value.startswith("*.")

    @property
    def base(self) -> Identifier:
        """The name whose control is proven: without the ``*.`` of a wildcard."""
        return Identifier(self.type, self.value[2:]) if self.is_wildcard else self

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


@dataclass(frozen=True, slots=True, order=True)
class UnverifiedIdentifier:
    """An identifier as a client sent it, of any type and form: only ever shown back to it."""

    type: str
    value: str
