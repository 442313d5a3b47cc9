"""Grants: who may have what. Roles, rules and requests, and what is decided on them.

A rule is held against each name of a request on its own. All its conditions must hold; one that it
does not have holds always. ``policy.grantindex.GrantPolicy`` finds the rules and decides.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

from policy.keys import KeyKind
from policy.model.decidingrules import DecidingRule
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId, ExternalAccountId

Network = IPv4Network | IPv6Network

# The directory of an installation that has one.
DEFAULT_DIRECTORY = "default"
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_MAX_PATTERN_LENGTH = 256


class Effect(enum.StrEnum):
    """What a rule does with a name that it is about. DENY overrides, then NEEDS_APPROVAL."""

    ALLOW = "allow"
    NEEDS_APPROVAL = "needs-approval"
    DENY = "deny"


class NameKind(enum.StrEnum):
    """The kinds of subject alternative names that rules tell apart."""

    DNS = "dns"
    WILDCARD = "wildcard"
    IP = "ip"


@dataclass(frozen=True, slots=True)
class NamePattern:
    """Names by whole labels: ``www.example.com`` is that name, ``*.example.com`` every name with
    one label before ``example.com``, ``**.example.com`` every name with one or more before it.

    Other texts raise ValueError.
    """

    text: str

    def __post_init__(self) -> None:
        is_short = len(self.text) <= _MAX_PATTERN_LENGTH
        if not is_short or not all(map(_LABEL.fullmatch, self.base.split("."))):
            raise ValueError(
                f'"{self.text[:80]}" is no name in ASCII and small letters, such as '
                '"www.example.com", "*.example.com" (one label before it) or "**.example.com" (one '
                "or more)"
            )

    @property
    def is_exact(self) -> bool:
        """Whether it is one name."""
        return self.base == self.text

    @property
    def base(self) -> str:
        """The name without the stars before it."""
        stars, dot, rest = self.text.partition(".")
        return rest if stars in ("*", "**") and dot else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Whoever is one of ``accounts``, was made with one of ``external_accounts``, or with one that
    has one of ``labels``."""

    name: str
    accounts: frozenset[AccountId] = frozenset()
    external_accounts: frozenset[ExternalAccountId] = frozenset()
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is done with requests that fulfil all conditions; an empty one holds always.

    ``names`` and ``networks`` are one condition: a DNS name fits one of the names, or an address
    lies in one of the networks. ``validity_up_to`` holds for certificates that last as long at
    most, ``validity_over`` for those that last longer; both ends of a validity belong to it.
    """

    source: DecidingRule
    effect: Effect
    roles: frozenset[str] = frozenset()
    except_roles: frozenset[str] = frozenset()
    accounts: frozenset[AccountId] = frozenset()
    external_accounts: frozenset[ExternalAccountId] = frozenset()
    labels: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()
    names: frozenset[NamePattern] = frozenset()
    networks: frozenset[Network] = frozenset()
    kinds: frozenset[NameKind] = frozenset()
    profiles: frozenset[str] = frozenset()
    key_types: frozenset[KeyKind] = frozenset()
    validity_up_to: timedelta | None = None
    validity_over: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: an account, the external account key that it was made with (None: it was made
    without one), and the directory that it asks at. ``account`` is None for one still to be made.
    """

    account: AccountId | None
    external_account: ExternalAccountId | None = None
    directory: str = DEFAULT_DIRECTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRequest:
    """What is asked for. ``key_type`` is None while it is not known: an order is judged before
    there is a CSR. Rules about keys allow then, and do not deny; the certificate is judged again.
    """

    principal: Principal
    identifiers: tuple[Identifier, ...]
    profile: str
    validity: timedelta
    key_type: KeyKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is decided on one name; ``rule`` is None where no rule is about it: denied."""

    identifier: Identifier
    effect: Effect
    rule: DecidingRule | None

    @property
    def reason(self) -> str | None:
        """Why the name is refused, None if it is not: for the client, without a dot."""
        name = self.identifier.value
        if self.rule is None:
            return f"no rule of this CA's policy allows {name} for this account"
        if self.effect is Effect.DENY:
            return f'{name} is denied by the rule "{self.rule.name}" of this CA\'s policy'
        if self.effect is Effect.NEEDS_APPROVAL:
            return (
                f'{name} needs an approval by the rule "{self.rule.name}" of this CA\'s policy, '
                "and approvals are not available in this version"
            )
        return None


# What weighs more decides on the request: a rule that denies, then that there is none.
_WEIGHTS = {Effect.ALLOW: 0, Effect.NEEDS_APPROVAL: 1, Effect.DENY: 3}
_NO_RULE = 2


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided on a request: an outcome for each name, in the order of the request."""

    outcomes: tuple[Outcome, ...]

    def __post_init__(self) -> None:
        if not self.outcomes:
            raise ValueError("a request has at least one name")

    @property
    def deciding(self) -> Outcome:
        """The first of the outcomes that weigh most."""
        return max(self.outcomes, key=_weight)

    @property
    def effect(self) -> Effect:
        """What is decided on the whole: all names are allowed, or nothing is."""
        return self.deciding.effect

    @property
    def rules(self) -> tuple[DecidingRule, ...]:
        """The rules that decided, each once: all that were needed to allow, else the one that did
        not; none where no rule is about a name."""
        if self.effect is Effect.ALLOW:
            return tuple(dict.fromkeys(outcome.rule for outcome in self.outcomes if outcome.rule))
        rule = self.deciding.rule
        return () if rule is None else (rule,)

    @property
    def refused(self) -> tuple[Outcome, ...]:
        """The outcomes that are no grants."""
        return tuple(outcome for outcome in self.outcomes if outcome.effect is not Effect.ALLOW)


def kind_of_name(identifier: Identifier) -> NameKind:
    """The kind that rules know the identifier by."""
    if identifier.type is IdentifierType.IP:
        return NameKind.IP
    return NameKind.WILDCARD if identifier.is_wildcard else NameKind.DNS


def _weight(outcome: Outcome) -> int:
    return _NO_RULE if outcome.rule is None else _WEIGHTS[outcome.effect]
