"""Authorizations before any order (RFC 8555, section 7.4.1)."""

from __future__ import annotations

from acme_server.workflow.limits import LimitUseCases
from acme_server.workflow.orders import OrderRules
from policy.model.accounts import Caller
from policy.model.authorizations import Authorization
from policy.model.errors import ErrorKind, ServerError
from policy.names import check_identifiers
from storage.preauthorizations import Preauthorizations


class PreauthorizationUseCases:
    """Proving control of a name ahead of the orders for it. The names and challenge types are
    those of an order with the default profile."""

    def __init__(
        self, table: Preauthorizations, rules: OrderRules, limits: LimitUseCases | None = None
    ) -> None:
        self._table = table
        self._limits = limits or LimitUseCases()
        self._rules = rules

    async def create(
        self, caller: Caller, unverified_identifier: tuple[str, str]
    ) -> tuple[Authorization, bool]:
        """The authorization for the identifier, given as (type, value), and whether it is new.

        Raises ServerError: MALFORMED (for a wildcard too), UNSUPPORTED_IDENTIFIER,
        REJECTED_IDENTIFIER, RATE_LIMITED.
        """
        profile = self._rules.profiles[self._rules.default_profile]
        (identifier,) = check_identifiers(
            [unverified_identifier],
            self._rules.names,
            1,
            lambda name: self._rules.refusal_of(name, profile),
        )
        if identifier.is_wildcard:
            raise ServerError(
                ErrorKind.MALFORMED,
                f"{identifier.value}: wildcards are authorized by orders only (RFC 8555, section "
                "7.4.1).",
                identifier=identifier,
            )
        async with await self._limits.new_order(caller.account_id, (identifier,)) as taken:
            authorization, is_new = await self._table.create(
                caller,
                self._rules.new_authorization(identifier, profile),
                lifetime=self._rules.pending_lifetime,
                reuses=self._rules.reuses_authorizations,
            )
            if not is_new:
                await taken.give_back()
        return authorization, is_new
