"""Names that may stand in certificates: their shape, and which of them this CA serves."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import idna

from policy.model.errors import ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier, IdentifierType

MAX_NAME_LENGTH = 253
MAX_LABELS = 10
MAX_TOTAL_LENGTH = 10_000
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# What inet_aton(3) takes for an address: all labels are numbers, hexadecimal ones included.
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class NameRules:
    """Name trees that are served and refused, matched on label boundaries.

    ``allowed`` empty: every name that is not denied. ``denied`` wins. ``ip`` tells whether
    addresses may be asked for.
    """

    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    ip: bool = False

    def refusal_of(self, identifier: Identifier) -> str | None:
        """Why the identifier is not served here; None if it is."""
        if identifier.type is IdentifierType.IP:
            return None
        name = identifier.base.value
        trees = set(_ancestors(name))
        if trees & self.denied:
            return f"{identifier.value} is denied by this CA's configuration (acme.denied_names)"
        if identifier.is_wildcard and any(_parent(denied) == name for denied in self.denied):
            return f"{identifier.value} covers a name that this CA's configuration denies"
        if self.allowed and not trees & self.allowed:
            return (
                f"{identifier.value} is not below a name that this CA serves (acme.allowed_names)"
            )
        return None


def check_identifiers(
    unverified: Sequence[tuple[str, str]], rules: NameRules, max_identifiers: int
) -> tuple[Identifier, ...]:
    """The identifiers of an order, canonical, in the client's order, each once.

    Raises ServerError: MALFORMED for none or too many, else what is wrong with the names; where
    several are refused all of them stand in the subproblems (RFC 8555, section 6.7.1).
    """
    if not unverified:
        raise _malformed("An order needs at least one identifier.")
    if len(unverified) > max_identifiers:
        raise _malformed(f"An order has at most {max_identifiers} identifiers.")
    if sum(len(value) for _, value in unverified) > MAX_TOTAL_LENGTH:
        raise _malformed(f"The identifiers together have more than {MAX_TOTAL_LENGTH} characters.")
    accepted: dict[Identifier, None] = {}
    refused: list[Problem] = []
    for kind, value in unverified:
        try:
            identifier = parse_identifier(kind, value, ip=rules.ip)
            if (reason := rules.refusal_of(identifier)) is not None:
                raise ServerError(
                    ErrorKind.REJECTED_IDENTIFIER, f"{reason}.", identifier=identifier
                )
            accepted[identifier] = None
        except ServerError as refusal:
            refused.append(refusal.as_problem())
    if refused:
        raise _refusal_of_all(refused)
    _refuse_redundant(accepted)
    return tuple(accepted)


def parse_identifier(kind: str, value: str, *, ip: bool = False) -> Identifier:
    """The identifier in canonical form: a name in lower case, an address as it is.

    Raises ServerError: UNSUPPORTED_IDENTIFIER for other types (addresses too unless ``ip``),
    MALFORMED with the reason.
    """
    if kind == IdentifierType.DNS:
        name = value.lower() if value.isascii() else value
        if (reason := _fault_of_name(name)) is not None:
            raise ServerError(
                ErrorKind.MALFORMED, f"{_quoted(value)} is no DNS name to certify: {reason}."
            )
        return Identifier(IdentifierType.DNS, name)
    if kind == IdentifierType.IP and ip:
        return Identifier(IdentifierType.IP, _canonical_address(value))
    raise ServerError(
        ErrorKind.UNSUPPORTED_IDENTIFIER,
        f"Identifiers of type {_quoted(kind)} are not supported; use dns.",
    )


def _fault_of_name(name: str) -> str | None:
    if not name.isascii():
        return "write international names as A-labels (xn--…)"
    base = name[2:] if name.startswith("*.") else name
    if "*" in base:
        return "a wildcard is the whole first label, once"
    if base.endswith("."):
        return "leave the dot at the end out"
    if len(name) > MAX_NAME_LENGTH:
        return f"it has more than {MAX_NAME_LENGTH} characters"
    labels = base.split(".")
    if len(labels) > MAX_LABELS:
        return f"it has more than {MAX_LABELS} labels"
    if all(_NUMBER.fullmatch(label) for label in labels) or _is_address(base):
        return "it is an address; ask for it as an identifier of type ip"
    for label in labels:
        if (reason := _fault_of_label(label)) is not None:
            return reason
    if labels[-1].isdigit():
        return "its last label is a number"
    if len(labels) < 2:
        return "it has a single label, give the whole name"
    return None


def _fault_of_label(label: str) -> str | None:
    if not _LABEL.fullmatch(label):
        return "labels are 1 to 63 letters, digits and hyphens, the hyphens inside"
    if label[2:4] != "--":
        return None
    if not label.startswith("xn--"):
        return 'labels with "--" as third and fourth character are reserved'
    try:
        unicode_label = idna.ulabel(label)
        if idna.alabel(unicode_label).decode("ascii") == label:
            return None
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        pass
    return f"{label[:63]} is no valid A-label of IDNA 2008"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _canonical_address(value: str) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ServerError(
            ErrorKind.MALFORMED, f"{_quoted(value)} is no IP address (RFC 8738)."
        ) from None
    if str(address) != value or getattr(address, "scope_id", None):
        raise ServerError(
            ErrorKind.MALFORMED,
            f"{_quoted(value)} is not the canonical text of an address (RFC 5952): {address}.",
        )
    return value


def _refuse_redundant(identifiers: Iterable[Identifier]) -> None:
    """A wildcard covers its siblings: asking for both proves and names one thing twice."""
    every = set(identifiers)
    for identifier in every:
        parent = _parent(identifier.value)
        wildcard = Identifier(IdentifierType.DNS, f"*.{parent}")
        if not identifier.is_wildcard and wildcard in every:
            raise _malformed(
                f"{identifier.value} is covered by {wildcard.value}; leave one of them out."
            )


def _refusal_of_all(refused: Sequence[Problem]) -> ServerError:
    if len(refused) == 1:
        only = refused[0]
        return ServerError(only.kind, only.detail, identifier=only.identifier)
    kinds = {problem.kind for problem in refused}
    kind = kinds.pop() if len(kinds) == 1 else ErrorKind.COMPOUND
    return ServerError(
        kind,
        f"{len(refused)} identifiers are refused, see the subproblems.",
        subproblems=refused,
    )


def _ancestors(name: str) -> Iterable[str]:
    labels = name.split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))


def _parent(name: str) -> str:
    return name.partition(".")[2]


def _quoted(text: str) -> str:
    shown = text if len(text) <= 80 else text[:80] + "…"
    return '"' + shown.encode("unicode_escape").decode("ascii") + '"'


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)
