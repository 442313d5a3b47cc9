"""The rules of a policy, found by who asks, for which profile and which name.

The time of a decision grows with the number of names and of rules about them, not with that of
all rules: every name of at most ten labels is looked up some ten times in each scope that the
principal belongs to.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias
from uuid import UUID

from policy.grants import (
    Effect,
    GrantRequest,
    Outcome,
    Principal,
    Role,
    Rule,
    Ruling,
    kind_of_name,
)
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import ExternalAccountId

# What a principal is known by: a role, a label, an account, an external account key; None: anyone.
_Subject: TypeAlias = tuple[str, str | UUID] | None
# A text of ``_keys_of_pattern``, or IP version, prefix length and the prefix's bits; None: any.
_NameKey: TypeAlias = str | tuple[int, int, int] | None
_Scope: TypeAlias = dict[_NameKey, list[int]]
# Before the parent of a single name that a wildcard may cover.
_SIBLINGS = "|"


class GrantPolicy:
    """All roles and rules, ready to decide. ``labels`` are those of external account keys.

    Names of roles in rules that are not among ``roles`` raise ValueError.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        roles: Iterable[Role] = (),
        labels: Mapping[ExternalAccountId, frozenset[str]] | None = None,
    ) -> None:
        self._rules = tuple(rules)
        self._labels = dict(labels or {})
        self._roles: dict[_Subject, set[str]] = defaultdict(set)
        known = set()
        for role in roles:
            known.add(role.name)
            for subject in _members(role):
                self._roles[subject].add(role.name)
        for rule in rules:
            if strangers := (rule.roles | rule.except_roles) - known:
                raise ValueError(f"there is no role {', '.join(sorted(strangers))}")
        self._scopes: dict[tuple[_Subject, str | None], _Scope] = defaultdict(_new_scope)
        self._prefixes: set[tuple[int, int]] = set()
        for number, rule in enumerate(self._rules):
            self._enter(number, rule)

    def decide(self, request: GrantRequest) -> Ruling:
        """What the rules say of each name; what no rule is about is denied."""
        decision = _Decision(self._rules, request, self._attributes(request.principal))
        scopes = list(self._scopes_of(decision.subjects, request.profile))
        outcomes = (
            decision.outcome(identifier, self._candidates(scopes, identifier))
            for identifier in request.identifiers
        )
        return Ruling(tuple(outcomes))

    def attributes(self, principal: Principal) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The principal's roles and labels, sorted."""
        _, roles, labels = self._attributes(principal)
        return tuple(sorted(roles)), tuple(sorted(labels))

    def __len__(self) -> int:
        return len(self._rules)

    def _attributes(self, principal: Principal) -> _Attributes:
        external = principal.external_account
        labels = frozenset() if external is None else self._labels.get(external, frozenset())
        subjects: list[_Subject] = [("label", label) for label in labels]
        if principal.account is not None:
            subjects.append(("account", principal.account))
        if external is not None:
            subjects.append(("external", external))
        roles = frozenset(role for subject in subjects for role in self._roles.get(subject, ()))
        subjects += [("role", role) for role in roles]
        return [None, *subjects], roles, labels

    def _scopes_of(self, subjects: Iterable[_Subject], profile: str) -> Iterator[_Scope]:
        for subject in subjects:
            for key in ((subject, profile), (subject, None)):
                if (scope := self._scopes.get(key)) is not None:
                    yield scope

    def _candidates(self, scopes: Sequence[_Scope], identifier: Identifier) -> _Candidates:
        """The numbers of rules that may be about the name, each with whether it only touches it:
        a wildcard covers a name that the rule is about, and others."""
        keys = list(self._keys_of(identifier))
        sibling = None
        if identifier.is_wildcard:
            sibling = _SIBLINGS + identifier.base.value
        for scope in scopes:
            for key in keys:
                for number in scope.get(key, ()):
                    yield number, False
            if sibling is not None:
                for number in scope.get(sibling, ()):
                    yield number, True

    def _keys_of(self, identifier: Identifier) -> Iterator[_NameKey]:
        yield None
        if identifier.type is IdentifierType.IP:
            yield from self._keys_of_address(ipaddress.ip_address(identifier.value))
            return
        name = identifier.value
        yield name
        _, _, rest = name.partition(".")
        if not identifier.is_wildcard:
            yield f"*.{rest}"
        while rest:
            yield f"**.{rest}"
            _, _, rest = rest.partition(".")

    def _keys_of_address(self, address: IPv4Address | IPv6Address) -> Iterator[_NameKey]:
        bits, number = address.max_prefixlen, int(address)
        for version, length in self._prefixes:
            if version == address.version:
                yield version, length, number >> (bits - length)
        # ::ffff:192.0.2.1 is the same host as 192.0.2.1 (RFC 4291, section 2.5.5.2).
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            yield from self._keys_of_address(address.ipv4_mapped)

    def _enter(self, number: int, rule: Rule) -> None:
        keys = set(_keys_of_rule(rule))
        self._prefixes.update(key[:2] for key in keys if isinstance(key, tuple))
        for subject in _subjects_of_rule(rule):
            for profile in rule.profiles or (None,):
                scope = self._scopes[subject, profile]
                for key in keys:
                    scope[key].append(number)


_Attributes: TypeAlias = tuple[list[_Subject], frozenset[str], frozenset[str]]
_Candidates: TypeAlias = Iterable[tuple[int, bool]]


class _Decision:
    """One request being decided on; what a rule says of the whole request is asked once."""

    def __init__(
        self, rules: Sequence[Rule], request: GrantRequest, attributes: _Attributes
    ) -> None:
        self._rules = rules
        self._request = request
        self.subjects, self._roles, self._labels = attributes
        self._applies: dict[int, bool] = {}

    def outcome(self, identifier: Identifier, candidates: _Candidates) -> Outcome:
        """What the rules say of one name: the first that denies, else the first that needs an
        approval (if anything grants the name), else the first that allows."""
        first: dict[Effect, int] = {}
        is_granted = False
        kind = kind_of_name(identifier)
        for number, is_touched in candidates:
            rule = self._rules[number]
            if (rule.kinds and kind not in rule.kinds) or not self._is_applied(number, rule):
                continue
            is_granted = is_granted or (rule.effect is not Effect.DENY and not is_touched)
            first[rule.effect] = min(number, first.get(rule.effect, number))
        for effect in (Effect.DENY, Effect.NEEDS_APPROVAL, Effect.ALLOW):
            if effect in first and (is_granted or effect is Effect.DENY):
                source = self._rules[first[effect]].source
                return Outcome(identifier=identifier, effect=effect, rule=source)
        return Outcome(identifier=identifier, effect=Effect.DENY, rule=None)

    def _is_applied(self, number: int, rule: Rule) -> bool:
        applies = self._applies.get(number)
        if applies is None:
            applies = self._applies[number] = self._fits_principal(rule) and self._fits_facts(rule)
        return applies

    def _fits_principal(self, rule: Rule) -> bool:
        principal = self._request.principal
        return (
            (not rule.roles or not rule.roles.isdisjoint(self._roles))
            and rule.except_roles.isdisjoint(self._roles)
            and (not rule.accounts or principal.account in rule.accounts)
            and (not rule.external_accounts or principal.external_account in rule.external_accounts)
            and (not rule.labels or not rule.labels.isdisjoint(self._labels))
            and (not rule.directories or principal.directory in rule.directories)
        )

    def _fits_facts(self, rule: Rule) -> bool:
        request = self._request
        if rule.key_types and request.key_type is None and rule.effect is not Effect.ALLOW:
            return False
        return (
            (not rule.profiles or request.profile in rule.profiles)
            and (
                not rule.key_types or request.key_type is None or request.key_type in rule.key_types
            )
            and (rule.validity_up_to is None or request.validity <= rule.validity_up_to)
            and (rule.validity_over is None or request.validity > rule.validity_over)
        )


def _new_scope() -> _Scope:
    return defaultdict(list)


def _members(role: Role) -> Iterator[_Subject]:
    yield from (("account", account) for account in role.accounts)
    yield from (("external", external) for external in role.external_accounts)
    yield from (("label", label) for label in role.labels)


def _subjects_of_rule(rule: Rule) -> Iterable[_Subject]:
    """By the narrowest of its conditions on who asks; the others are looked at when it is found."""
    if rule.accounts:
        return [("account", account) for account in rule.accounts]
    if rule.external_accounts:
        return [("external", external) for external in rule.external_accounts]
    if rule.roles:
        return [("role", role) for role in rule.roles]
    if rule.labels:
        return [("label", label) for label in rule.labels]
    return [None]


def _keys_of_rule(rule: Rule) -> Iterator[_NameKey]:
    if not rule.names and not rule.networks:
        yield None
    for network in rule.networks:
        length = network.prefixlen
        shift = network.max_prefixlen - length
        yield network.version, length, int(network.network_address) >> shift
    for pattern in rule.names:
        yield pattern.text
        if pattern.is_exact and rule.effect is not Effect.ALLOW:
            # A wildcard that covers the name must not be had by who must not have the name.
            yield _SIBLINGS + pattern.base.partition(".")[2]
