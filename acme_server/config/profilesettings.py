# ruff: noqa: RUF009 - setting() makes a field with an immutable default
"""The settings of one certificate profile: what is left empty is as in the profile it is based on.

Sections below ``profiles`` have names of the operator's choice, so their declarations are made for
each name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from acme_server.config.declaration import Declaration, declarations, setting
from acme_server.config.kinds import Boolean, Duration, Integer, Listed, Text, Word
from acme_server.config.profilekinds import (
    CommonNameSource,
    Curve,
    ExtensionText,
    KeyAlgorithm,
    KeyUsage,
    NameType,
    ObjectIdentifier,
    ProfileName,
    Purpose,
)
from acme_server.config.values import ChallengeType
from policy.extraextensions import ExtraExtension

SECTION = "profiles"
_SUBJECT_PART = Text(
    "text",
    pattern=r"(?s:(?! ).{1,64}(?<! ))",
    expected="must be 1 to 64 characters, without blanks around them",
)


def _optional(kind: Any, text: str) -> Any:
    return setting(kind, text, None, live=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """A kind of certificate, by the name that clients ask for; see docs/profiles.md."""

    base: str | None = _optional(
        ProfileName(),
        "The profile that comes with the server from which the rest is taken; empty: the one of "
        "the same name, else `tls_server`.",
    )
    description: str | None = _optional(
        Text("text or URL", pattern=r".{1,300}", expected="must be 1 to 300 characters"),
        "What the directory tells people about the profile: a sentence, or a URL.",
    )
    validity: timedelta | None = _optional(
        Duration("10m", "3650d", is_whole=True), "The validity of certificates."
    )
    maximum_validity: timedelta | None = _optional(
        Duration("10m", "3650d", is_whole=True),
        "The longest validity that a client may ask for; empty: `validity`, if that is set.",
    )
    backdate: timedelta | None = _optional(
        Duration("0s", "1h", is_whole=True), "How long before its issuance a certificate starts."
    )
    ec_key_usages: tuple[KeyUsage, ...] | None = _optional(
        Listed(Word(KeyUsage)), "The key usages of EC keys."
    )
    rsa_key_usages: tuple[KeyUsage, ...] | None = _optional(
        Listed(Word(KeyUsage)), "The key usages of RSA keys."
    )
    extended_key_usages: tuple[str, ...] | None = _optional(
        Listed(Purpose()), "The extended key usages."
    )
    country: str | None = _optional(
        Text("two letters", pattern=r"[A-Z]{2}", expected="must be two capital letters"),
        "The country in the subject (ISO 3166-1).",
    )
    organization: str | None = _optional(_SUBJECT_PART, "The organization in the subject.")
    organizational_unit: str | None = _optional(
        _SUBJECT_PART, "The organizational unit in the subject."
    )
    common_name: CommonNameSource | None = _optional(
        Word(CommonNameSource),
        "Where the subject's common name comes from: `first_name` is the first DNS name of at most "
        "64 characters.",
    )
    identifier_types: tuple[NameType, ...] | None = _optional(
        Listed(Word(NameType)), "The types of names."
    )
    maximum_identifiers: int | None = _optional(
        Integer(1, 100), "The most names in a certificate; `acme.max_identifiers` counts too."
    )
    must_staple: bool | None = _optional(
        Boolean(), "Whether a CSR may ask for the TLS feature status_request (RFC 7633)."
    )
    policies: tuple[str, ...] | None = _optional(
        Listed(ObjectIdentifier()), "The certificate policies."
    )
    key_types: tuple[KeyAlgorithm, ...] | None = _optional(
        Listed(Word(KeyAlgorithm)), "The types of keys."
    )
    curves: tuple[Curve, ...] | None = _optional(Listed(Word(Curve)), "The curves of EC keys.")
    minimum_rsa_bits: int | None = _optional(Integer(2048, 4096), "The smallest RSA keys.")
    maximum_rsa_bits: int | None = _optional(Integer(2048, 4096), "The largest RSA keys.")
    challenge_types: tuple[ChallengeType, ...] | None = _optional(
        Listed(Word(ChallengeType)),
        "The ways to prove control; only those of `acme.challenge_types` are offered.",
    )
    issuer: str | None = _optional(
        Text("name", pattern=r"\S{1,64}", expected="must be the name of a CA"),
        "The name of the issuing CA (`acme-server ca show`); empty: the active one.",
    )
    extensions: tuple[ExtraExtension, ...] | None = _optional(
        Listed(ExtensionText()),
        "Further, non-critical extensions, none of those that the server builds.",
    )
    needs_approval: bool | None = _optional(
        Boolean(),
        "Whether a human approves each certificate (not available in this version: such a profile "
        "can't be offered).",
    )


def declarations_of(name: str) -> Iterable[Declaration]:
    """The settings of the profile ``name``, with their keys."""
    return declarations(ProfileSettings, f"{SECTION}.{name}.")


def build_table(
    names: Iterable[str], values: Mapping[str, Any]
) -> tuple[tuple[str, ProfileSettings], ...]:
    """The settings of each profile from ``values`` by key, in the order of ``names``."""
    return tuple(
        (
            name,
            ProfileSettings(
                **{
                    key.removeprefix(f"{SECTION}.{name}."): value
                    for key, value in values.items()
                    if key.startswith(f"{SECTION}.{name}.")
                }
            ),
        )
        for name in names
    )
