"""From settings to the profiles of policy: the shipped ones, changed and joined by the operator's.

Whoever asks for all of them gets those without a fault; ``faults`` tells the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from acme_server.config.profilekinds import KeyUsage
from acme_server.config.profilesettings import ProfileSettings
from acme_server.config.settings import Settings
from policy.keys import KeyRules
from policy.model.identifiers import IdentifierType
from policy.profilechecks import Fault, faults_of
from policy.profiles import CommonName, Profile, SubjectPattern
from policy.shippedprofiles import SHIPPED

DEFAULT_BASE = "tls_server"
_SECOND = timedelta(seconds=1)
# Fields of policy's profile that are settings of the same name and the same values.
_SAME = (
    "description",
    "extended_key_usages",
    "maximum_identifiers",
    "policies",
    "issuer",
    "extensions",
    "needs_approval",
)


def offered_profiles(settings: Settings) -> dict[str, Profile]:
    """The profiles that clients may ask for, by name, in the order of ``acme.profiles``."""
    known = all_profiles(settings)
    return {name: known[name] for name in settings.acme.profiles}


def default_profile(settings: Settings) -> str:
    """The name of the profile of orders that name none."""
    return settings.acme.default_profile or settings.acme.profiles[0]


def all_profiles(settings: Settings) -> dict[str, Profile]:
    """All profiles without a fault, offered or not."""
    configured = dict(settings.profiles)
    names = [*SHIPPED, *(name for name in configured if name not in SHIPPED)]
    profiles = {}
    for name in names:
        own = configured.get(name, ProfileSettings())
        if not list(_faults(name, own, settings)):
            profiles[name] = _build(name, own, settings)
    return profiles


def profile_faults(settings: Settings) -> Iterator[tuple[str, Fault]]:
    """All faults of the configured profiles, each with the profile's name."""
    for name, own in settings.profiles:
        for fault in _faults(name, own, settings):
            yield name, fault


def _faults(name: str, own: ProfileSettings, settings: Settings) -> Iterator[Fault]:
    if own.base is not None and own.base not in SHIPPED:
        yield Fault("base", f"must be one of {', '.join(SHIPPED)}")
        return
    if name in SHIPPED and own.base not in (None, name):
        yield Fault("base", f"must be empty: {name} comes with the server")
        return
    contradictions = list(_contradictions(own, _base(name, own, settings)))
    yield from contradictions
    if not contradictions:
        yield from faults_of(_build(name, own, settings))


def _contradictions(own: ProfileSettings, base: Profile) -> Iterator[Fault]:
    """What no profile can be built from."""
    validity = own.validity or base.validity
    maximum = own.maximum_validity or own.validity or base.maximum_validity
    if validity > maximum:
        yield Fault("maximum_validity", "must not be shorter than the profile's validity")
    if own.backdate is not None and own.backdate > validity - _SECOND:
        yield Fault("backdate", "must be shorter than the profile's validity")
    least = own.minimum_rsa_bits or base.keys.min_rsa_bits
    most = own.maximum_rsa_bits or base.keys.max_rsa_bits
    if least > most:
        yield Fault("minimum_rsa_bits", f"must not be above the largest size ({most})")


def _base(name: str, own: ProfileSettings, settings: Settings) -> Profile:
    base = own.base or (name if name in SHIPPED else DEFAULT_BASE)
    if base != DEFAULT_BASE:
        return SHIPPED[base]
    lifetime = settings.ca.certificate_lifetime
    return dataclasses.replace(
        SHIPPED[base],
        validity=lifetime,
        maximum_validity=lifetime,
        backdate=_backdate(SHIPPED[base], lifetime),
    )


def _backdate(base: Profile, validity: timedelta) -> timedelta:
    """A certificate of minutes is not to start with most of them gone."""
    return min(base.backdate, validity // 4 // _SECOND * _SECOND)


def _build(name: str, own: ProfileSettings, settings: Settings) -> Profile:
    base = _base(name, own, settings)
    validity = own.validity or base.validity
    changes: dict[str, Any] = {
        field: value for field in _SAME if (value := getattr(own, field)) is not None
    }
    return dataclasses.replace(
        base,
        name=name,
        validity=validity,
        maximum_validity=own.maximum_validity or own.validity or base.maximum_validity,
        backdate=_backdate(base, validity) if own.backdate is None else own.backdate,
        key_usages=_key_usages(own, base),
        subject=_subject(own, base),
        keys=_keys(own, base),
        **_words(own),
        **changes,
    )


def _words(own: ProfileSettings) -> dict[str, Any]:
    """Words of the configuration as policy has them."""
    changes: dict[str, Any] = {}
    if own.common_name is not None:
        changes["common_name"] = CommonName(own.common_name.value)
    if own.identifier_types is not None:
        changes["identifier_types"] = frozenset(
            IdentifierType(kind.value) for kind in own.identifier_types
        )
    if own.challenge_types is not None:
        changes["challenge_types"] = frozenset(kind.value for kind in own.challenge_types)
    if own.must_staple is not None:
        changes["allows_must_staple"] = own.must_staple
    return changes


def _key_usages(own: ProfileSettings, base: Profile) -> Mapping[str, frozenset[str]]:
    def chosen(usages: tuple[KeyUsage, ...] | None, kind: str) -> frozenset[str]:
        if usages is None:
            return base.key_usages[kind]
        return frozenset(usage.value for usage in usages)

    return MappingProxyType(
        {"ec": chosen(own.ec_key_usages, "ec"), "rsa": chosen(own.rsa_key_usages, "rsa")}
    )


def _subject(own: ProfileSettings, base: Profile) -> SubjectPattern:
    given = {
        field.name: value
        for field in dataclasses.fields(SubjectPattern)
        if (value := getattr(own, field.name)) is not None
    }
    return dataclasses.replace(base.subject, **given)


def _keys(own: ProfileSettings, base: Profile) -> KeyRules:
    changes: dict[str, Any] = {
        "min_rsa_bits": own.minimum_rsa_bits or base.keys.min_rsa_bits,
        "max_rsa_bits": own.maximum_rsa_bits or base.keys.max_rsa_bits,
    }
    if own.key_types is not None:
        changes["kinds"] = frozenset(kind.value for kind in own.key_types)
    if own.curves is not None:
        changes["curves"] = frozenset(curve.library_name for curve in own.curves)
    return dataclasses.replace(base.keys, **changes)
