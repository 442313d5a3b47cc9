"""Names that accounts may not order any more, since their validations failed again and again."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId
from policy.names import parse_identifier
from storage.accounts import Accounts
from storage.failingnames import FailingNames


class PauseUseCases:
    """What operators do about paused names."""

    def __init__(self, accounts: Accounts, failing: FailingNames) -> None:
        self._accounts = accounts
        self._failing = failing

    async def unpause(
        self, account: AccountId, name: str | None, operator: str
    ) -> Sequence[Identifier] | None:
        """Let an account order a name again, or all its paused names; those that were paused.
        None if there is no such account. ``operator`` stands in the audit trail.

        Raises ServerError(MALFORMED) for what is no name.
        """
        identifier = None if name is None else _identifier_of(name)
        if await self._accounts.find(account) is None:
            return None
        return await self._failing.unpause(account, identifier, actor=f"operator:{operator}")


def _identifier_of(name: str) -> Identifier:
    """A name or an address as a person writes it; a wildcard is proven by its base name."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return parse_identifier(IdentifierType.DNS, name, single_label=True).base
    return parse_identifier(IdentifierType.IP, str(address), ip=True)
