"""Names that may stand in certificates: their shape, and which of them this CA serves."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import idna

from policy.model.errors import ErrorKind, Problem, ServerError
from policy.model.identifiers import Identifier, IdentifierType, UnverifiedIdentifier

MAX_NAME_LENGTH = 253
MAX_LABELS = 10
MAX_TOTAL_LENGTH = 10_000
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# A last label that makes resolvers and browsers read the whole name as an IPv4 address, in one
# of the forms of inet_aton(3): 127.1, 0x7f000001, 0177.0.0.1.
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class NameRules:
    """Name trees that are served and refused, matched on label boundaries.

    Each is a name in lower case that stands for itself and all names below it; other values
    raise ValueError, since they would match nothing. ``allowed`` empty: every name that is not
    denied. ``denied`` wins. ``ip`` tells whether addresses may be asked for, ``single_labels``
    whether names without a dot may.
    """

    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    ip: bool = False
    single_labels: bool = False

    def __post_init__(self) -> None:
        for name in self.allowed | self.denied:
            if not all(map(_LABEL.fullmatch, name.split("."))):
                raise ValueError(f"{_quoted(name)} is no name tree: use lower-case labels")

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
    unverified: Sequence[tuple[str, str]],
    rules: NameRules,
    max_identifiers: int,
    refusal_of: Callable[[Identifier], str | None] = lambda identifier: None,
) -> tuple[Identifier, ...]:
    """The identifiers of an order, canonical, in the client's order, each once. ``refusal_of``
    may have a reason why one of them is not served that the rules don't know.

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
    refused: dict[Problem, None] = {}
    for kind, value in unverified:
        try:
            accepted[_served_identifier(kind, value, rules, refusal_of)] = None
        except ServerError as refusal:
            refused[refusal.as_problem()] = None
    refused.update(dict.fromkeys(_redundant(accepted)))
    if refused:
        raise _refusal_of_all(tuple(refused))
    return tuple(accepted)


def parse_identifier(
    kind: str, value: str, *, ip: bool = False, single_label: bool = False
) -> Identifier:
    """The identifier in canonical form: a name in lower case, an address as it is.

    ``single_label`` accepts names without a dot, which only a private network resolves. Raises
    ServerError: UNSUPPORTED_IDENTIFIER for other types (addresses too unless ``ip``), MALFORMED
    with the reason.
    """
    if kind == IdentifierType.DNS:
        name = value.lower() if value.isascii() else value
        if (reason := _fault_of_name(name, single_label)) is not None:
            raise ServerError(
                ErrorKind.MALFORMED,
                f"{_quoted(value)} is no DNS name to certify: {reason}.",
                identifier=_echo(kind, value),
            )
        return Identifier(IdentifierType.DNS, name)
    if kind == IdentifierType.IP and ip:
        return Identifier(IdentifierType.IP, _canonical_address(value))
    raise ServerError(
        ErrorKind.UNSUPPORTED_IDENTIFIER,
        f"Identifiers of type {_quoted(kind)} are not supported; use dns{' or ip' if ip else ''}.",
        identifier=_echo(kind, value),
    )


def _served_identifier(
    kind: str, value: str, rules: NameRules, refusal_of: Callable[[Identifier], str | None]
) -> Identifier:
    identifier = parse_identifier(kind, value, ip=rules.ip, single_label=rules.single_labels)
    if (reason := rules.refusal_of(identifier) or refusal_of(identifier)) is not None:
        raise ServerError(ErrorKind.REJECTED_IDENTIFIER, f"{reason}.", identifier=identifier)
    return identifier


def _fault_of_name(name: str, single_label: bool) -> str | None:
    if not name.isascii():
        return "write international names as A-labels (xn--…)"
    is_wildcard = name.startswith("*.")
    base = name[2:] if is_wildcard else name
    if "*" in base:
        return "a wildcard is the whole first label, once"
    if base.endswith("."):
        return "leave the dot at the end out"
    if len(name) > MAX_NAME_LENGTH:
        return f"it has more than {MAX_NAME_LENGTH} characters"
    labels = base.split(".")
    if len(labels) > MAX_LABELS:
        return f"it has more than {MAX_LABELS} labels"
    if _NUMBER.fullmatch(labels[-1]) or (":" in base and _is_address(base)):
        return "it is read as an address; ask for addresses as identifiers of type ip"
    for label in labels:
        if (reason := _fault_of_label(label)) is not None:
            return reason
    return _fault_of_shortness(labels, is_wildcard, single_label)


def _fault_of_shortness(labels: Sequence[str], is_wildcard: bool, single_label: bool) -> str | None:
    if len(labels) > 1:
        return None
    if is_wildcard:
        # Verifiers don't match a wildcard that is directly below a single label.
        return "a wildcard needs at least two labels after it"
    return None if single_label else "it has a single label, give the whole name"


def _fault_of_label(label: str) -> str | None:
    if not _LABEL.fullmatch(label):
        return "labels are 1 to 63 letters, digits and hyphens, the hyphens inside"
    if label[2:4] != "--":
        return None
    if not label.startswith("xn--"):
        return 'labels with "--" as third and fourth character are reserved'
    try:
        # Both ways: only the A-label that IDNA 2008 makes of a valid U-label in NFC comes back.
        if idna.alabel(idna.ulabel(label)).decode("ascii") == label:
            return None
    except (ValueError, IndexError, OverflowError):
        pass
    return f"{label} is no valid A-label of IDNA 2008"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _canonical_address(value: str) -> str:
    echo = _echo(IdentifierType.IP, value)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ServerError(
            ErrorKind.MALFORMED, f"{_quoted(value)} is no IP address (RFC 8738).", identifier=echo
        ) from None
    if str(address) != value or getattr(address, "scope_id", None):
        raise ServerError(
            ErrorKind.MALFORMED,
            f"{_quoted(value)} is not the canonical text of an address (RFC 5952): {address}.",
            identifier=echo,
        )
    return value


def _redundant(identifiers: Iterable[Identifier]) -> Iterable[Problem]:
    """A wildcard covers its siblings: asking for both proves and names one thing twice."""
    covered = {
        _parent(identifier.value): identifier.value
        for identifier in identifiers
        if identifier.is_wildcard
    }
    for identifier in identifiers if covered else ():
        wildcard = covered.get(_parent(identifier.value))
        if wildcard is not None and not identifier.is_wildcard:
            yield Problem(
                kind=ErrorKind.MALFORMED,
                detail=f"{identifier.value} is covered by {wildcard}; leave one of them out.",
                identifier=identifier,
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


def _echo(kind: str, value: str) -> UnverifiedIdentifier | None:
    """The refused identifier as it was sent, so that a client finds it among those it asked for;
    not where it could harm a log or a terminal."""
    is_plain = (kind + value).isprintable() and len(kind) + len(value) <= MAX_NAME_LENGTH
    return UnverifiedIdentifier(kind, value) if is_plain else None


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)
