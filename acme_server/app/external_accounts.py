"""The composition root of the commands about external account keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from acme_server.app.operations import OperationFailed, Progress, use_database
from acme_server.config.settings import Settings
from acme_server.workflow.authority import AuthorityError, Installation
from acme_server.workflow.clock import SystemClock
from acme_server.workflow.external_accounts import ExternalAccountUseCases
from acme_server.workflow.sealing import MasterKey
from storage.external_accounts import ExternalAccounts
from storage.issuers import Issuers
from storage.pool import Database
from storage.secrets import SealedSecrets

T = TypeVar("T")


def manage_external_accounts(
    settings: Settings,
    master_key: str | None,
    progress: Progress,
    work: Callable[[ExternalAccountUseCases], Awaitable[T]],
) -> T:
    """What ``work`` does with the keys; ``master_key`` is the text of the master key.

    Raises OperationFailed, also for a master key that is not the one of this database.
    """
    if master_key is None:
        raise OperationFailed("there is no master key yet; start the server once")
    try:
        opened = MasterKey.from_text(master_key)
    except ValueError as error:
        raise OperationFailed(f"secrets.master_key: {error}") from error

    async def manage(database: Database) -> T:
        clock = SystemClock()
        secrets = SealedSecrets(database)
        try:
            await Installation(Issuers(database), secrets, opened, clock).check_master_key()
        except AuthorityError as error:
            raise OperationFailed(str(error)) from error
        return await work(ExternalAccountUseCases(ExternalAccounts(database), opened, clock))

    return use_database(settings, progress, manage)
