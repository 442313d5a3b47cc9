"""The composition root of the operator's commands: from settings to an open database.

Commands join the running server's database, or have the embedded one started while they work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from acme_server.config.masterkey import make_master_key_file
from acme_server.config.settings import Settings
from acme_server.config.values import AutoMasterKey
from acme_server.workflow.inspection import DatabaseFacts, inspect
from acme_server.workflow.reports import Reports
from acme_server.workflow.revocation import OperatorRevocations
from policy.model.certificates import Certificate, RevocationReason
from policy.model.errors import DatabaseUnavailable, ServerError
from storage import backup as backups
from storage.certificates import Certificates
from storage.embedded import EmbeddedPostgresError, find_binaries, join_or_start, upgrade
from storage.embedded.cluster import cluster_major
from storage.migrations import MigrationError, migrate, pending_migrations
from storage.pool import Database, LoginRefused
from storage.revocations import Revocations

T = TypeVar("T")
Progress = Callable[[str], None]


class OperationFailed(Exception):
    """An operation that can't be done; the text says why, and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrls:
    """The database as the role that serves and as the owner of the tables; they hold passwords."""

    application: str = field(repr=False)
    owner: str = field(repr=False)


@contextlib.contextmanager
def operator_database(settings: Settings, progress: Progress) -> Iterator[DatabaseUrls]:
    """The database that ``settings`` name, for as long as the block runs.

    Raises OperationFailed, also for an embedded database that no server has made yet.
    """
    database = settings.database
    if not database.is_embedded:
        yield DatabaseUrls(application=database.url, owner=database.owner_url or database.url)
        return
    if not (settings.data_dir / "postgres").exists():
        raise OperationFailed(
            f"there is no database in {settings.data_dir}. Start the server once, or name its "
            "configuration (--config) or data directory (ACME_SERVER__DATA_DIR)."
        )
    try:
        with join_or_start(
            settings.data_dir, user=database.user, bin_dir=database.bin_dir, progress=progress
        ) as running:
            yield DatabaseUrls(application=running.app_url, owner=running.owner_url)
    except EmbeddedPostgresError as error:
        raise OperationFailed(str(error)) from error


def ask(settings: Settings, progress: Progress, question: Callable[[Reports], Awaitable[T]]) -> T:
    """The answer to a question about what is in the database. Raises OperationFailed."""
    return use_database(settings, progress, lambda database: question(Reports(database)))


def use_database(
    settings: Settings, progress: Progress, work: Callable[[Database], Awaitable[T]]
) -> T:
    """What ``work`` does with the database, as the role that serves. Raises OperationFailed."""
    with operator_database(settings, progress) as urls:
        return _complete(_use(urls, work))


def revoke_certificate(
    settings: Settings,
    progress: Progress,
    serial: bytes,
    reason: RevocationReason,
    operator: str,
) -> Certificate | None:
    """Revoke the certificate with this serial, and have the server publish the CRL that lists it;
    None if none was issued. ``operator`` stands in the audit trail.

    Raises OperationFailed, also for a certificate that is revoked already or has expired.
    """

    def revoke(database: Database) -> Awaitable[Certificate | None]:
        use_case = OperatorRevocations(Revocations(database), Certificates(database))
        return use_case.revoke(serial, reason, operator)

    try:
        return use_database(settings, progress, revoke)
    except ServerError as refusal:
        raise OperationFailed(refusal.detail) from refusal


def inspect_database(url: str) -> DatabaseFacts:
    """Facts about the database's health. Raises OperationFailed."""
    return _complete(inspect(url))


def find_pending_migrations(url: str) -> list[str]:
    """The migrations that are missing. Raises OperationFailed for a database too new for us."""
    return _complete(pending_migrations(url))


def migrate_database(settings: Settings, progress: Progress) -> list[str]:
    """Apply the missing migrations; their names. Raises OperationFailed."""
    with operator_database(settings, progress) as urls:
        return _complete(migrate(urls.owner, _role_in(urls.application)))


def check_embedded(settings: Settings) -> str | None:
    """What keeps the embedded database from running on this machine; None if nothing does."""
    if not settings.database.is_embedded:
        return None
    try:
        major = cluster_major(settings.data_dir / "postgres")
        binaries = find_binaries(settings.database.bin_dir, major=major)
    except (EmbeddedPostgresError, PermissionError) as error:
        return str(error)
    if major not in (None, binaries.major):
        return (
            f"{settings.data_dir} is of PostgreSQL {major}, and what is installed is "
            f"{binaries.major}: acme-server db upgrade"
        )
    return None


def backup_database(
    settings: Settings, target: Path, master_key: str | None, progress: Progress
) -> backups.Manifest:
    """Write a backup to the new file ``target``, with the master key's text if it is given.

    Raises OperationFailed.
    """
    with operator_database(settings, progress) as urls, _explained():
        return backups.backup(
            target,
            urls.owner,
            bin_dir=settings.database.bin_dir,
            master_key=master_key,
            progress=progress,
        )


def restore_database(settings: Settings, source: Path, progress: Progress) -> backups.Manifest:
    """Fill an empty database from the backup ``source``. Raises OperationFailed.

    An embedded one is made for it, so there must be none yet. A master key in the backup is put
    where ``auto`` looks for it, unless there is one.
    """
    database = settings.database
    with _explained(), contextlib.ExitStack() as stack:
        backups.read_manifest(source)
        if database.is_embedded:
            owner_url = stack.enter_context(_made_database(settings, progress))
        else:
            owner_url = database.owner_url or database.url
        manifest = backups.restore(source, owner_url, bin_dir=database.bin_dir, progress=progress)
        master_key = backups.read_master_key(source)
    if master_key is not None and isinstance(settings.secrets.master_key, AutoMasterKey):
        make_master_key_file(settings.master_key_file, master_key)
    return manifest


def upgrade_database(
    settings: Settings, old_bin: Path | None, new_bin: Path | None, progress: Progress
) -> bool:
    """Move the embedded database to the installed PostgreSQL; False if it is there already.

    Raises OperationFailed.
    """
    if not settings.database.is_embedded:
        raise OperationFailed(
            "database.url names an external PostgreSQL, which you upgrade yourself"
        )
    with _explained():
        return upgrade(
            settings.data_dir,
            old_bin=old_bin,
            new_bin=new_bin or settings.database.bin_dir,
            user=settings.database.user,
            progress=progress,
        )


@contextlib.contextmanager
def _made_database(settings: Settings, progress: Progress) -> Iterator[str]:
    """The owner's URL of an embedded database that is made where there was none."""
    if (settings.data_dir / "postgres").exists():
        raise OperationFailed(
            f"there is a database in {settings.data_dir} already; restore into another data_dir, "
            "or move it away"
        )
    with join_or_start(
        settings.data_dir,
        user=settings.database.user,
        bin_dir=settings.database.bin_dir,
        progress=progress,
    ) as running:
        yield running.owner_url


async def _use(urls: DatabaseUrls, work: Callable[[Database], Awaitable[T]]) -> T:
    if missing := await pending_migrations(urls.application):
        raise OperationFailed(
            f"the database lacks migrations ({', '.join(missing)}): acme-server db migrate, or "
            "start the server"
        )
    database = await Database.open(urls.application, max_size=1)
    try:
        return await work(database)
    finally:
        await database.close()


def _role_in(url: str) -> str | None:
    user = urlsplit(url).username
    return None if user is None else unquote(user)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (backups.BackupError, EmbeddedPostgresError) as error:
        raise OperationFailed(str(error)) from error


def _complete(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (DatabaseUnavailable, LoginRefused) as error:
        raise OperationFailed(f"the database can't be used: {error}") from error
    except MigrationError as error:
        raise OperationFailed(str(error)) from error
