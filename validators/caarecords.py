"""CAA records and the values of their ``issue`` properties (RFC 8659, section 4), read strictly.

Nothing here decides anything: ``validators.caa`` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from validators.excerpts import excerpt

_WSP = b" \t"
# Both end in a letter or digit, so that neither can be matched in two ways.
_LABEL = rb"[A-Za-z0-9](?:-*[A-Za-z0-9])*"
_ISSUER = re.compile(rb"%b(?:\.%b)*" % (_LABEL, _LABEL))
_PARAMETER = re.compile(rb"(%b)[ \t]*=[ \t]*([\x21-\x3a\x3c-\x7e]*)" % _LABEL)
# Bit 0, the leftmost, is the one (section 4.1.1); zones that set the other end mean the same.
_CRITICAL_FLAGS = 0x80 | 0x01
_SHOWN_TAG = 50
_SHOWN_VALUE = 200


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One property. ``tag`` is in lower case; whatever octets it had are Latin-1 here."""

    flags: int
    tag: str
    value: bytes

    @property
    def is_critical(self) -> bool:
        """Whether a CA that doesn't know the property must not issue."""
        return bool(self.flags & _CRITICAL_FLAGS)

    def __str__(self) -> str:
        """The record as in a zone file, escaped and cut."""
        tag, value = excerpt(self.tag, _SHOWN_TAG), excerpt(self.value, _SHOWN_VALUE)
        return f'{self.flags} {tag} "{value}"'


@dataclass(frozen=True, slots=True)
class IssueValue:
    """The value of an ``issue`` or ``issuewild`` property.

    ``issuer`` is a domain name in lower case, "" where nobody is named. ``parameters`` are in
    their order, their tags in lower case; a tag may stand more than once.
    """

    issuer: str
    parameters: tuple[tuple[str, str], ...] = ()

    def find_parameters(self, tag: str) -> list[str]:
        """The values of all parameters called ``tag``."""
        return [value for name, value in self.parameters if name == tag]


def parse_caa(rdata: bytes) -> CaaRecord:
    """A record's data (RFC 8659, section 4.1). Raises ValueError for what has no tag."""
    if len(rdata) < 2:
        raise ValueError("the record is cut off")
    end = 2 + rdata[1]
    if rdata[1] == 0 or end > len(rdata):
        raise ValueError("the tag is empty or cut off")
    return CaaRecord(rdata[0], rdata[2:end].decode("latin-1").lower(), rdata[end:])


def parse_issue_value(value: bytes) -> IssueValue | None:
    """The value by the grammar of RFC 8659, section 4.2.

    None for a malformed one, which names nobody, just as an empty one.
    """
    head, _, tail = value.partition(b";")
    issuer, tail = head.strip(_WSP), tail.strip(_WSP)
    if issuer and not _ISSUER.fullmatch(issuer):
        return None
    parameters = []
    for part in tail.split(b";") if tail else ():
        shape = _PARAMETER.fullmatch(part.strip(_WSP))
        if shape is None:
            return None
        parameters.append((shape[1].decode("ascii").lower(), shape[2].decode("ascii")))
    return IssueValue(issuer.decode("ascii").lower(), tuple(parameters))
