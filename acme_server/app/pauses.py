"""The composition root of the commands about paused names."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from acme_server.app.operations import OperationFailed, Progress, use_database
from acme_server.config.settings import Settings
from acme_server.workflow.pauses import PauseUseCases
from policy.model.errors import ServerError
from policy.model.identifiers import Identifier
from policy.model.ids import AccountId
from storage.accounts import Accounts
from storage.failingnames import FailingNames
from storage.pool import Database


def unpause_names(
    settings: Settings, progress: Progress, account: AccountId, name: str | None, operator: str
) -> Sequence[Identifier] | None:
    """See ``PauseUseCases.unpause``. Raises OperationFailed, also for what is no name."""

    def unpause(database: Database) -> Awaitable[Sequence[Identifier] | None]:
        return PauseUseCases(Accounts(database), FailingNames(database)).unpause(
            account, name, operator
        )

    try:
        return use_database(settings, progress, unpause)
    except ServerError as refusal:
        raise OperationFailed(refusal.detail) from refusal
