# ruff: noqa: RUF009 - setting() makes a field with an immutable default
"""The settings of rate limits (docs/limits.md)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from acme_server.config.addresses import DomainName, NetworkText
from acme_server.config.declaration import setting
from acme_server.config.kinds import Duration, Integer, Keyed, Mapped, Scalar, Word
from acme_server.config.values import Network
from policy.limits import Limit, LimitKind, LimitRules
from policy.model.ids import AccountId, encode_id, parse_id


class NoLimit(enum.StrEnum):
    """In place of a limit."""

    OFF = "off"


OptionalLimit: TypeAlias = Limit | NoLimit


class AccountText(Scalar[AccountId]):
    """The id of an account, as in URLs or as in the audit trail."""

    form = "account id"

    def parse(self, text: str) -> AccountId:
        """The id."""
        found = parse_id(text)
        if found is None:
            try:
                found = UUID(text)
            except ValueError:
                raise ValueError(
                    f'"{text}" is no id of an account, as acme-server account list shows them'
                ) from None
        return AccountId(found)

    def plain(self, value: AccountId) -> object:
        """The id as in URLs."""
        return encode_id(value)


def _limit(most: str) -> Mapped[Limit]:
    members: dict[str, Scalar[Any]] = {
        "burst": Integer(1, 1_000_000),
        "period": Duration("1s", most),
    }
    return Mapped(Word(NoLimit), members, Limit)


_LIMIT = _limit("366d")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSettings:
    """How often clients may do what: ``burst`` at once, given back within ``period``."""

    new_accounts_per_address: OptionalLimit = setting(
        _LIMIT,
        "New accounts from one IPv4 address or IPv6 network of 64 bits.",
        NoLimit.OFF,
        live=True,
    )
    new_accounts_per_range: OptionalLimit = setting(
        _LIMIT, "New accounts from one IPv6 network of 48 bits.", NoLimit.OFF, live=True
    )
    orders_per_account: OptionalLimit = setting(
        _LIMIT,
        "New orders of one account; those for exactly the names of an earlier certificate don't "
        "count.",
        NoLimit.OFF,
        live=True,
    )
    certificates_per_domain: OptionalLimit = setting(
        _LIMIT,
        "Certificates for names of one registered domain, by the public suffix list, of all "
        "accounts together; renewals with exactly the same names don't count.",
        NoLimit.OFF,
        live=True,
    )
    certificates_per_name_set: OptionalLimit = setting(
        _LIMIT, "Certificates for exactly the same names.", NoLimit.OFF, live=True
    )
    failed_validations: OptionalLimit = setting(
        _LIMIT, "Failed validations of one name by one account.", NoLimit.OFF, live=True
    )
    pause_after_failures: int | None = setting(
        Integer(1, 100_000),
        "The number of failed validations in a row after which an account can't order the name any "
        "more, until `acme-server account unpause`; empty: never.",
        None,
        live=True,
    )
    account_overrides: tuple[tuple[AccountId, OptionalLimit], ...] = setting(
        Keyed(AccountText(), _LIMIT),
        "`orders_per_account` for single accounts, such as "
        "`{ID: {burst: 3000, period: 3h}, OTHER: off}`.",
        (),
        live=True,
    )
    domain_overrides: tuple[tuple[str, OptionalLimit], ...] = setting(
        Keyed(DomainName(), _LIMIT),
        "`certificates_per_domain` for single registered domains.",
        (),
        live=True,
    )
    address_overrides: tuple[tuple[Network, OptionalLimit], ...] = setting(
        Keyed(NetworkText(), _LIMIT),
        "`new_accounts_per_address` for each IPv4 address or IPv6 network of 64 bits in these "
        "networks, the smallest counts; `off` frees them from `new_accounts_per_range` too.",
        (),
        live=True,
    )
    requests_per_address: OptionalLimit = setting(
        _limit("1h"),
        "Requests to the ACME listener from one IPv4 address or IPv6 network of 64 bits, counted "
        "by each process for itself before anything else is looked at.",
        NoLimit.OFF,
        live=True,
    )

    @property
    def rules(self) -> LimitRules:
        """Those that the database counts."""
        kinds = {kind: getattr(self, kind.value) for kind in LimitKind}
        return LimitRules(
            limits={kind: limit for kind, limit in kinds.items() if isinstance(limit, Limit)},
            by_account={key: _or_none(limit) for key, limit in self.account_overrides},
            by_domain={key: _or_none(limit) for key, limit in self.domain_overrides},
            by_network={key: _or_none(limit) for key, limit in self.address_overrides},
            pause_after=self.pause_after_failures,
        )


def _or_none(limit: OptionalLimit) -> Limit | None:
    return limit if isinstance(limit, Limit) else None
