"""What concerns several settings at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

from acme_server.config.addresses import host_of, is_local
from acme_server.config.kinds import render_duration
from acme_server.config.profiles import all_profiles, profile_faults
from acme_server.config.settings import Settings
from acme_server.config.values import (
    AutoMasterKey,
    CaaMode,
    ChallengeType,
    DnssecMode,
    Endpoint,
    TlsMode,
)
from policy.profiles import Profile
from policy.registereddomains import registered_domain


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault. ``keys`` are the settings concerned, the one to change first."""

    keys: tuple[str, ...]
    message: str


def check_rules(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    """All faults of ``settings``; ``given`` are the keys that were set by someone."""
    for rule in _RULES:
        yield from rule(settings, given)


def _external_url(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    server = settings.server
    if server.external_url.startswith("http:") and server.tls is not TlsMode.OFF:
        yield Finding(
            ("server.external_url", "server.tls"),
            "must be https:// (RFC 8555, section 6.1); http:// is for server.tls: off",
        )
    if not settings.lab and "server.external_url" not in given and not server.listen.is_loopback:
        yield Finding(
            ("server.external_url", "server.listen"),
            f"must be set, to the URL that clients use, since server.listen ({server.listen}) is "
            "not on loopback",
        )


def _status_url(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    server = settings.server
    if is_local(host_of(server.status_url)) and not is_local(host_of(server.external_url)):
        yield Finding(
            ("server.status_url", "server.external_url"),
            f"{server.status_url} would stand in certificates for their whole life, and only this "
            "machine reaches it",
        )


def _listeners(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    listeners = {
        "server.listen": settings.server.listen,
        "server.status_listen": settings.server.status_listen,
        "server.ops_listen": settings.server.ops_listen,
    }
    for (name, endpoint), (other_name, other) in combinations(listeners.items(), 2):
        if endpoint.overlaps(other):
            yield Finding((other_name, name), f"{other} is taken by {name} ({endpoint})")


def _master_key(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    is_auto = isinstance(settings.secrets.master_key, AutoMasterKey)
    if is_auto and not settings.database.is_embedded:
        yield Finding(
            ("secrets.master_key", "database.url"),
            "must be set for an external database, to file:PATH or env:NAME; "
            "`acme-server secrets generate` makes a key, and all replicas need the same",
        )


def _owner_url(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    if settings.database.is_embedded and settings.database.owner_url is not None:
        yield Finding(
            ("database.owner_url", "database.url"),
            "is for an external database; set database.url as well, or remove it",
        )


def _caa(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    if settings.validation.caa is CaaMode.ENFORCE and not settings.acme.caa_identities:
        yield Finding(
            ("validation.caa", "acme.caa_identities"),
            "enforce needs acme.caa_identities: the names that domains put into their CAA records "
            "for this CA, such as [ca.example.org]; without one, every CAA record would forbid",
        )


def _persist(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    """draft-ietf-acme-dns-persist, "Challenge Object"."""
    acme = settings.acme
    if len(acme.issuer_domain_names) > _MAX_ISSUERS:
        yield Finding(
            ("acme.issuer_domain_names",),
            f"has more than {_MAX_ISSUERS} names; clients refuse that",
        )
    if ChallengeType.DNS_PERSIST_01 not in acme.challenge_types:
        return
    if not acme.persist_issuers:
        yield Finding(
            ("acme.challenge_types", "acme.caa_identities", "acme.issuer_domain_names"),
            "dns-persist-01 needs acme.caa_identities or acme.issuer_domain_names: the names that "
            "domains put into their records for this CA, such as [ca.example.org]",
        )
    elif not acme.issuer_domain_names and len(acme.caa_identities) > _MAX_ISSUERS:
        yield Finding(
            ("acme.caa_identities", "acme.challenge_types", "acme.issuer_domain_names"),
            f"dns-persist-01 takes at most {_MAX_ISSUERS} names; set acme.issuer_domain_names to "
            "some of them",
        )


def _dnssec(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    """The AD bit is worth as much as the way on which it came (RFC 4035, section 4.9.3)."""
    validation = settings.validation
    if validation.dnssec is DnssecMode.OFF:
        return
    if not validation.resolvers:
        yield Finding(
            ("validation.dnssec", "validation.resolvers"),
            "resolver needs validation.resolvers: name one that validates DNSSEC",
        )
    for server in validation.resolvers:
        if isinstance(server, Endpoint) and not server.is_loopback:
            yield Finding(
                ("validation.resolvers", "validation.dnssec"),
                f"anybody on the way to {server} could vouch for forged answers; with "
                "validation.dnssec: resolver, use tls:// or https://, or a resolver on loopback",
            )


def _names(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    for name in sorted({*settings.acme.allowed_names} & {*settings.acme.denied_names}):
        yield Finding(
            ("acme.denied_names", "acme.allowed_names"),
            f"{name} is allowed as well, and denied wins",
        )


def _limits(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    for name, _ in settings.limits.domain_overrides:
        if (registered := registered_domain(name)) != name:
            yield Finding(
                ("limits.domain_overrides",),
                f"{name} is below the registered domain {registered}, which is what counts",
            )


def _durations(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    values = {
        "validation.connect_timeout": settings.validation.connect_timeout,
        "validation.response_timeout": settings.validation.response_timeout,
        "validation.dns_timeout": settings.validation.dns_timeout,
        "validation.deadline": settings.validation.deadline,
        "database.lock_timeout": settings.database.lock_timeout,
        "database.statement_timeout": settings.database.statement_timeout,
        "ca.crl_interval": settings.ca.crl_interval,
        "ca.crl_lifetime": settings.ca.crl_lifetime,
        "ca.certificate_lifetime": settings.ca.certificate_lifetime,
        "ca.issuing_lifetime": settings.ca.issuing_lifetime,
        "ca.root_lifetime": settings.ca.root_lifetime,
    }
    for shorter, longer in _SHORTER_THAN:
        if values[shorter] >= values[longer]:
            yield Finding(
                (shorter, longer),
                f"{render_duration(values[shorter])} must be shorter than {longer} "
                f"({render_duration(values[longer])})",
            )


def _profiles(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    for name, fault in profile_faults(settings):
        yield Finding((f"profiles.{name}.{fault.field}", f"profiles.{name}"), fault.text)
    issuing = settings.ca.issuing_lifetime
    for name, own in settings.profiles:
        if own.validity is not None and own.validity >= issuing:
            yield Finding(
                (f"profiles.{name}.validity", "ca.issuing_lifetime"),
                f"{render_duration(own.validity)} must be shorter than ca.issuing_lifetime "
                f"({render_duration(issuing)})",
            )


def _offered_profiles(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    acme, known = settings.acme, all_profiles(settings)
    names = {*known, *dict(settings.profiles)}
    for name in acme.profiles:
        if name not in names:
            near = get_close_matches(name, sorted(names), n=1)
            hint = f', did you mean "{near[0]}"?' if near else f"; there are {', '.join(names)}"
            yield Finding(("acme.profiles",), f'there is no profile "{name}"{hint}')
        elif name in known:
            yield from _unusable(known[name], settings)
    if acme.default_profile is not None and acme.default_profile not in acme.profiles:
        yield Finding(
            ("acme.default_profile", "acme.profiles"),
            f"{acme.default_profile} is not one of acme.profiles ({', '.join(acme.profiles)})",
        )


def _unusable(profile: Profile, settings: Settings) -> Iterator[Finding]:
    """Why nobody could get certificates of an offered profile."""
    if profile.needs_approval:
        yield Finding(
            ("acme.profiles", f"profiles.{profile.name}.needs_approval"),
            f"certificates of {profile.name} need an approval, and approvals are not available in "
            f"this version; profiles.{profile.name}.needs_approval: false does without",
        )
    if profile.challenge_types.isdisjoint(kind.value for kind in settings.acme.challenge_types):
        yield Finding(
            ("acme.profiles", "acme.challenge_types", f"profiles.{profile.name}.challenge_types"),
            f"none of the challenge types of {profile.name} is in acme.challenge_types",
        )


def _concurrency(settings: Settings, given: AbstractSet[str]) -> Iterator[Finding]:
    validation = settings.validation
    if validation.account_concurrency > validation.concurrency:
        yield Finding(
            ("validation.account_concurrency", "validation.concurrency"),
            f"must not be above validation.concurrency ({validation.concurrency})",
        )


_MAX_ISSUERS = 10
# A lock that is waited for must fail by its own timeout, which says more.
_SHORTER_THAN = (
    ("validation.connect_timeout", "validation.deadline"),
    ("validation.response_timeout", "validation.deadline"),
    ("validation.dns_timeout", "validation.deadline"),
    ("database.lock_timeout", "database.statement_timeout"),
    ("ca.crl_interval", "ca.crl_lifetime"),
    ("ca.certificate_lifetime", "ca.issuing_lifetime"),
    ("ca.issuing_lifetime", "ca.root_lifetime"),
)
_RULES: tuple[Callable[[Settings, AbstractSet[str]], Iterator[Finding]], ...] = (
    _external_url,
    _status_url,
    _listeners,
    _master_key,
    _owner_url,
    _caa,
    _persist,
    _dnssec,
    _names,
    _limits,
    _durations,
    _concurrency,
    _profiles,
    _offered_profiles,
)
