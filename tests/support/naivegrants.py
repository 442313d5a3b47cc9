"""A second evaluator of grants, as simple as can be: every rule against every name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from policy.grants import Effect, GrantRequest, NamePattern, Role, Rule
from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import ExternalAccountId

Verdict = tuple[str, str | None]


def naive_outcomes(
    rules: Sequence[Rule],
    roles: Iterable[Role],
    labels: Mapping[ExternalAccountId, frozenset[str]],
    request: GrantRequest,
) -> list[Verdict]:
    """Effect and name of the rule for each name of the request."""
    return [_outcome(rules, list(roles), labels, request, name) for name in request.identifiers]


def _outcome(
    rules: Sequence[Rule],
    roles: list[Role],
    labels: Mapping[ExternalAccountId, frozenset[str]],
    request: GrantRequest,
    name: Identifier,
) -> Verdict:
    about = [rule for rule in rules if _holds(rule, roles, labels, request, name)]
    denying = [rule for rule in about if rule.effect is Effect.DENY and _meets(rule, name)]
    if denying:
        return "deny", denying[0].source.name
    granting = [rule for rule in about if rule.effect is not Effect.DENY and _covers(rule, name)]
    if not granting:
        return "deny", None
    asking = [rule for rule in about if rule.effect is Effect.NEEDS_APPROVAL and _meets(rule, name)]
    if asking:
        return "needs-approval", asking[0].source.name
    return "allow", granting[0].source.name


def _holds(
    rule: Rule,
    roles: list[Role],
    labels: Mapping[ExternalAccountId, frozenset[str]],
    request: GrantRequest,
    name: Identifier,
) -> bool:
    principal = request.principal
    own_labels: set[str] = set()
    if principal.external_account is not None:
        own_labels = set(labels.get(principal.external_account, ()))
    own_roles = {
        role.name
        for role in roles
        if principal.account in role.accounts
        or principal.external_account in role.external_accounts
        or own_labels & role.labels
    }
    kind = "ip" if name.type is IdentifierType.IP else "dns"
    if name.value.startswith("*"):
        kind = "wildcard"
    if rule.key_types and request.key_type is None:
        key_fits = rule.effect is Effect.ALLOW
    else:
        key_fits = not rule.key_types or request.key_type in rule.key_types
    return all(
        [
            not rule.roles or rule.roles & own_roles,
            not rule.except_roles & own_roles,
            not rule.accounts or principal.account in rule.accounts,
            not rule.external_accounts or principal.external_account in rule.external_accounts,
            not rule.labels or rule.labels & own_labels,
            not rule.directories or principal.directory in rule.directories,
            not rule.profiles or request.profile in rule.profiles,
            not rule.kinds or kind in rule.kinds,
            key_fits,
            rule.validity_up_to is None or request.validity <= rule.validity_up_to,
            rule.validity_over is None or request.validity > rule.validity_over,
        ]
    )


def _covers(rule: Rule, name: Identifier) -> bool:
    """Whether all that the name stands for is what the rule is about."""
    if not rule.names and not rule.networks:
        return True
    if name.type is IdentifierType.IP:
        return _lies_in(rule, name)
    return any(_pattern_covers(pattern, name) for pattern in rule.names)


def _meets(rule: Rule, name: Identifier) -> bool:
    """Whether anything that the name stands for is what the rule is about."""
    if _covers(rule, name):
        return True
    return name.value.startswith("*.") and any(
        pattern.is_exact and pattern.text.split(".")[1:] == name.value.split(".")[1:]
        for pattern in rule.names
    )


def _pattern_covers(pattern: NamePattern, name: Identifier) -> bool:
    wanted, labels = pattern.text.split("."), name.value.split(".")
    if wanted[0] == "**":
        tail = wanted[1:]
        return len(labels) > len(tail) and labels[-len(tail) :] == tail
    if wanted[0] == "*":
        return len(labels) == len(wanted) and labels[1:] == wanted[1:]
    return labels == wanted


def _lies_in(rule: Rule, name: Identifier) -> bool:
    addresses = [ipaddress.ip_address(name.value)]
    if addresses[0].version == 6 and addresses[0].ipv4_mapped:
        addresses.append(addresses[0].ipv4_mapped)
    return any(address in network for address in addresses for network in rule.networks)
