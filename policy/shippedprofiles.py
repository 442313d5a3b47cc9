"""The profiles that come with the server; a configuration changes them, and adds others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from policy.baseline import DOMAIN_VALIDATED
from policy.keys import KeyRules
from policy.model.identifiers import IdentifierType
from policy.profiles import (
    CLIENT_AUTH,
    CODE_SIGNING,
    DIGITAL_SIGNATURE,
    TLS_SERVER,
    CommonName,
    Profile,
)

_SIGNATURE_ONLY: Mapping[str, frozenset[str]] = MappingProxyType(
    {"ec": frozenset({DIGITAL_SIGNATURE}), "rsa": frozenset({DIGITAL_SIGNATURE})}
)
_NAMES_ONLY = frozenset({IdentifierType.DNS})
_DAY = timedelta(days=1)

_PROFILES = (
    dataclasses.replace(
        TLS_SERVER, description="TLS servers, as most clients ask for; the names alone."
    ),
    Profile(
        name="webserver",
        description="TLS servers whose certificates name the organization; must-staple on request.",
        common_name=CommonName.FIRST_NAME,
        allows_must_staple=True,
        validity=90 * _DAY,
        maximum_validity=90 * _DAY,
    ),
    Profile(
        name="tls_short",
        description="TLS servers that renew every few days, and need no revocation.",
        key_usages=_SIGNATURE_ONLY,
        validity=6 * _DAY,
        maximum_validity=6 * _DAY,
    ),
    Profile(
        name="client_auth",
        description="Clients that show a certificate to TLS servers.",
        key_usages=_SIGNATURE_ONLY,
        extended_key_usages=(CLIENT_AUTH,),
        identifier_types=_NAMES_ONLY,
        common_name=CommonName.FIRST_NAME,
        validity=365 * _DAY,
        maximum_validity=365 * _DAY,
    ),
    Profile(
        name="code_signing",
        description="Signatures over software; a human approves each certificate.",
        key_usages=_SIGNATURE_ONLY,
        extended_key_usages=(CODE_SIGNING,),
        identifier_types=_NAMES_ONLY,
        common_name=CommonName.FIRST_NAME,
        maximum_identifiers=1,
        # A signature over software outlives the connection that it came by.
        keys=KeyRules(min_rsa_bits=3072),
        needs_approval=True,
        validity=1095 * _DAY,
        maximum_validity=1095 * _DAY,
    ),
    Profile(
        name="public_tls",
        description="TLS servers by the CA/Browser Forum's Baseline Requirements.",
        validity=90 * _DAY,
        # Longer than any certificate may last now: the limit of the day is the table's.
        maximum_validity=398 * _DAY,
        key_usages=_SIGNATURE_ONLY,
        policies=(DOMAIN_VALIDATED,),
        identifier_types=_NAMES_ONLY,
        keys=KeyRules(curves=frozenset({"secp256r1", "secp384r1"})),
        is_public=True,
    ),
)

SHIPPED: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _PROFILES})
