# ruff: noqa: RUF009 - setting() makes a field with an immutable default
"""The settings of the ACME front end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from acme_server.config.addresses import (
    DomainName,
    PageUrl,
)
from acme_server.config.declaration import setting
from acme_server.config.kinds import (
    Boolean,
    Duration,
    Integer,
    Listed,
    Word,
)
from acme_server.config.profilekinds import ProfileName
from acme_server.config.values import (
    ChallengeType,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    """What the ACME front end offers and demands."""

    terms_of_service: str | None = setting(
        PageUrl(),
        "The terms that accounts must agree to; another URL is agreed to anew.",
        None,
        live=True,
    )
    website: str | None = setting(
        PageUrl(), "A page about this service, shown in the directory.", None, live=True
    )
    caa_identities: tuple[str, ...] = setting(
        Listed(DomainName()),
        "The names that stand for this CA in CAA records, shown in the directory.",
        (),
        live=True,
    )
    issuer_domain_names: tuple[str, ...] = setting(
        Listed(DomainName()),
        "The names that stand for this CA in the records of dns-persist-01, at most 10.",
        (),
        live=True,
        derived="`caa_identities`",
    )
    external_account_required: bool = setting(
        Boolean(),
        "Whether new accounts need a key of `acme-server eab create`.",
        False,
        live=True,
    )
    order_lifetime: timedelta = setting(
        Duration("5m", "30d"),
        "How long an order may stay unfinished.",
        timedelta(days=7),
        live=True,
    )
    authorization_lifetime: timedelta = setting(
        Duration("5m", "398d"),
        "How long a proof of control may be used again by its account.",
        timedelta(days=30),
        live=True,
    )
    pending_authorization_lifetime: timedelta = setting(
        Duration("5m", "30d"),
        "How long a client has time to prove control.",
        timedelta(days=7),
        live=True,
    )
    authorization_reuse: bool = setting(
        Boolean(), "Whether a new order takes valid authorizations of its account.", True, live=True
    )
    nonce_lifetime: timedelta = setting(
        Duration("1m", "1d"), "How long a nonce is accepted.", timedelta(hours=1)
    )
    max_identifiers: int = setting(Integer(1, 100), "The most names in one order.", 100, live=True)
    profiles: tuple[str, ...] = setting(
        Listed(ProfileName(), is_filled=True),
        "The certificate profiles that clients may ask for, shown in the directory: those of "
        "docs/profiles.md, and yours from `profiles`.",
        ("tls_server",),
        live=True,
    )
    default_profile: str | None = setting(
        ProfileName(),
        "The profile of orders that name none.",
        None,
        live=True,
        derived="the first of `profiles`",
    )
    allowed_names: tuple[str, ...] = setting(
        Listed(DomainName()),
        "The only names that are served, with all names below them; empty: all names.",
        (),
        live=True,
    )
    denied_names: tuple[str, ...] = setting(
        Listed(DomainName()),
        "Names that are refused, with all names below them, even if they are allowed.",
        (),
        live=True,
    )
    challenge_types: tuple[ChallengeType, ...] = setting(
        Listed(Word(ChallengeType), is_filled=True),
        "The ways to prove control that are offered. `dns-persist-01` needs "
        "`acme.caa_identities` or `acme.issuer_domain_names`.",
        (ChallengeType.HTTP_01, ChallengeType.DNS_01, ChallengeType.TLS_ALPN_01),
        live=True,
    )

    @property
    def persist_issuers(self) -> tuple[str, ...]:
        """The names that stand for this CA in the records of dns-persist-01."""
        return self.issuer_domain_names or self.caa_identities
