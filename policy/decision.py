"""What policy answers: allowed, denied, or for a human to approve, and by which rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from policy.blocklists import KeyBlocklist
from policy.keys import CertificateKey
from policy.model.identifiers import Identifier, IdentifierType
from policy.names import NameRules
from policy.profiles import Profile, in_words


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request may be fulfilled; ``rule`` says why."""

    rule: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The request may not be fulfilled; ``reason`` is for the client, ``rule`` for "explain"."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A human decides first."""

    rule: str


Decision: TypeAlias = Allowed | Denied | NeedsApproval


class TemplateFacts(Protocol):
    """What is decided on: the certificate as it would be signed
    (``policy.signing.template.CertificateTemplate``)."""

    @property
    def profile(self) -> Profile:
        """The profile it was made from."""
        ...

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """Its subject alternative names."""
        ...

    @property
    def key(self) -> CertificateKey:
        """Its public key."""
        ...

    @property
    def not_before(self) -> datetime:
        """Its first second."""
        ...

    @property
    def not_after(self) -> datetime:
        """Its last second."""
        ...

    @property
    def must_staple(self) -> bool:
        """Whether it has the TLS feature status_request."""
        ...


class ProofFacts(Protocol):
    """How control of one name was proven."""

    @property
    def identifier(self) -> Identifier:
        """The base name, without the ``*.`` of a wildcard."""
        ...

    @property
    def method(self) -> str:
        """The challenge type."""
        ...

    @property
    def validated_at(self) -> datetime:
        """When."""
        ...


def decide(
    template: TemplateFacts,
    proofs: Iterable[ProofFacts],
    names: NameRules,
    *,
    now: datetime,
    blocklist: KeyBlocklist,
) -> Allowed | Denied:
    """Whether the certificate may be signed at ``now``, by the rules as they are then.

    Everything is looked at again on the final template: what was checked on the request may have
    come in on another way, and rules may have changed since.
    """
    facts = _Facts(template, tuple(proofs), names, now, blocklist)
    for name, rule in _RULES:
        if (reason := rule(facts)) is not None:
            return Denied(name, reason)
    return Allowed(f"profile:{template.profile.name}")


@dataclass(frozen=True, slots=True)
class _Facts:
    template: TemplateFacts
    proofs: Sequence[ProofFacts]
    names: NameRules
    now: datetime
    blocklist: KeyBlocklist


def _refusal_of_approval(facts: _Facts) -> str | None:
    if facts.template.profile.needs_approval:
        return (
            "certificates of this profile need an approval, and approvals are not available in "
            "this version"
        )
    return None


def _refusal_of_count(facts: _Facts) -> str | None:
    count, most = len(facts.template.identifiers), facts.template.profile.maximum_identifiers
    if 0 < count == len(set(facts.template.identifiers)) <= most:
        return None
    return f"a certificate of this profile has 1 to {most} different names"


def _refusal_of_names(facts: _Facts) -> str | None:
    allowed = facts.template.profile.identifier_types
    for identifier in facts.template.identifiers:
        is_served = identifier.type is not IdentifierType.IP or facts.names.ip
        if identifier.type not in allowed or not is_served:
            return f"{identifier.value} is of a type that is not served"
        if (reason := facts.names.refusal_of(identifier)) is not None:
            return reason
    return None


def _refusal_of_proofs(facts: _Facts) -> str | None:
    accepted = facts.template.profile.challenge_types
    proofs = [proof for proof in facts.proofs if proof.method in accepted]
    oldest = facts.template.profile.oldest_proof(facts.now)
    if oldest is not None:
        proofs = [proof for proof in proofs if proof.validated_at >= facts.now - oldest]
    proven = {proof.identifier for proof in proofs}
    by_dns = {proof.identifier for proof in proofs if _is_dns(proof)}
    directly = {proof.identifier for proof in proofs if not _is_dns(proof)}
    for identifier in facts.template.identifiers:
        if identifier.is_wildcard:
            suited = by_dns
        else:
            suited = directly if identifier.type is IdentifierType.IP else proven
        if identifier.base not in suited:
            recently = "" if oldest is None else f" within the last {oldest.days} days"
            return f"control of {identifier.value} is not proven{recently}"
    return None


def _is_dns(proof: ProofFacts) -> bool:
    """Only the DNS proves control of all names below one (RFC 8555, section 7.1.3), and it proves
    nothing about addresses (RFC 8738, section 7)."""
    return proof.method.startswith("dns-")


def _refusal_of_key(facts: _Facts) -> str | None:
    key = facts.template.key
    reason = facts.template.profile.keys.refusal_of(key) or facts.blocklist.refusal_of(key)
    return None if reason is None else f"the public key is refused: {reason}"


def _refusal_of_validity(facts: _Facts) -> str | None:
    template = facts.template
    longest = template.profile.longest_validity(max(facts.now, template.not_before))
    span = template.not_after + timedelta(seconds=1) - template.not_before
    if timedelta(0) < span <= longest:
        return None
    return f"certificates of this profile last at most {in_words(longest)}"


def _refusal_of_must_staple(facts: _Facts) -> str | None:
    if facts.template.must_staple and not facts.template.profile.allows_must_staple:
        return "this profile does not issue certificates with the TLS feature extension"
    return None


_RULES: tuple[tuple[str, Callable[[_Facts], str | None]], ...] = (
    ("approval", _refusal_of_approval),
    ("count", _refusal_of_count),
    ("names", _refusal_of_names),
    ("control", _refusal_of_proofs),
    ("key", _refusal_of_key),
    ("validity", _refusal_of_validity),
    ("must-staple", _refusal_of_must_staple),
)
