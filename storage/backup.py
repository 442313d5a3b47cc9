"""Backup and restore of the database, embedded or external, by PostgreSQL's own programs.

A backup is one ZIP file, stored without further compression: ``database.dump`` (pg_dump's custom
format), ``manifest.json``, and ``master_key`` only where it was asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import asyncpg

from storage.dumps import DumpError, dump, load
from storage.embedded.binaries import Binaries, find_clients
from storage.embedded.cluster import run_apart
from storage.embedded.errors import EmbeddedPostgresError
from storage.embedded.progress import Progress
from storage.migrations import known_migrations

_FORMAT = 1
_DUMP, _MANIFEST, _MASTER_KEY = "database.dump", "manifest.json", "master_key"
_CHUNK = 1 << 20
_LARGEST_MANIFEST = 1 << 20
# Seconds for one small query.
_PATIENCE = 30.0
# Since 17 pg_restore sets a timeout that servers before 17 don't know.
_FIRST_WITH_TRANSACTION_TIMEOUT = 17

_MAJOR = "SELECT current_setting('server_version_num')::int / 10000"
_MIGRATIONS = "SELECT to_char(number, 'FM0000_') || name FROM schema_migrations ORDER BY number"
_HAS_SECRETS = "SELECT EXISTS (SELECT FROM sealed_secrets)"
_GRANTEES = r"""
    SELECT DISTINCT pg_get_userbyid(entry.grantee)::text
    FROM (
        SELECT relacl, relowner FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT proacl, proowner FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT nspacl, nspowner FROM pg_namespace WHERE nspname = 'public'
    ) AS objects (acl, owner), aclexplode(acl) AS entry
    WHERE entry.grantee NOT IN (0, owner) AND pg_get_userbyid(entry.grantee) NOT LIKE 'pg\_%'
    ORDER BY 1
"""
_OBJECTS = r"""
    SELECT count(*) FROM (
        SELECT relnamespace FROM pg_class UNION ALL SELECT pronamespace FROM pg_proc
    ) AS objects (namespace) JOIN pg_namespace ON pg_namespace.oid = namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
"""
_MISSING_ROLES = """
    SELECT role FROM unnest($1::text[]) AS role
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
"""
# A CRL that was published after the backup has a number, too, and numbers must only grow
# (RFC 5280, 5.2.3): seven years of one an hour.
_SKIP_CRL_NUMBERS = "UPDATE crls SET number = number + 65536"


class BackupError(Exception):
    """A backup or restore that can't be; the text names the setting or path and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a backup.

    ``needs_master_key``: the database holds secrets that only the master key opens.
    ``grantees`` are the roles that must exist where it is restored.
    """

    format: int
    created_at: str
    acme_server: str
    postgres_major: int
    pg_dump_major: int
    migrations: Sequence[str]
    grantees: Sequence[str]
    dump_bytes: int
    dump_sha256: str
    needs_master_key: bool
    has_master_key: bool


def backup(
    target: Path,
    owner_url: str,
    *,
    bin_dir: Path | None = None,
    master_key: str | None = None,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Write all of the database to the new file ``target`` (0600), while the server may run.

    ``owner_url`` is the role that owns the tables. ``master_key`` is the key's text, stored in
    clear: whoever has the file then has the CA. Raises BackupError, and leaves no file.
    """
    if target.exists():
        raise BackupError(f"{target} exists already. Name another file, or remove it.")
    facts = run_apart(_read_facts(owner_url))
    clients = _find_clients(bin_dir, facts["postgres_major"])
    progress(f"Dumping the database to {target}")
    with _dumping(), _new_file(target) as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open(_DUMP, "w", force_zip64=True) as stream:
            size, digest = dump(clients.program("pg_dump"), owner_url, stream)
        manifest = Manifest(
            format=_FORMAT,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            acme_server=_own_version(),
            pg_dump_major=clients.major,
            dump_bytes=size,
            dump_sha256=digest,
            has_master_key=master_key is not None,
            **facts,
        )
        archive.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=2))
        if master_key is not None:
            archive.writestr(_MASTER_KEY, master_key)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """What the backup ``source`` says about itself; raises BackupError."""
    with _opened(source) as archive:
        return _read_manifest(source, archive)


def read_master_key(source: Path) -> str | None:
    """The text of the master key in the backup, None if it was kept apart."""
    with _opened(source) as archive:
        if not _read_manifest(source, archive).has_master_key:
            return None
        return archive.read(_MASTER_KEY).decode("ascii")


def restore(
    source: Path,
    owner_url: str,
    *,
    bin_dir: Path | None = None,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Fill the empty database of ``owner_url`` from the backup ``source``, all or nothing.

    No server may use the database meanwhile. The sums are checked before anything is changed.
    Raises BackupError, for a database that is not empty above all.
    """
    with _opened(source) as archive:
        manifest = _read_manifest(source, archive)
        progress(f"Checking {source}")
        _check_sum(source, archive, manifest)
        _check_migrations(source, manifest)
        server_major = run_apart(_check_target(owner_url, manifest))
        program = _find_restore(bin_dir, server_major, manifest)
        progress(f"Restoring the backup of {manifest.created_at}")
        with _dumping(), archive.open(_DUMP) as stream:
            load(program, owner_url, stream)
    run_apart(_execute(owner_url, _SKIP_CRL_NUMBERS))
    return manifest


@contextlib.contextmanager
def _dumping() -> Iterator[None]:
    try:
        yield
    except DumpError as error:
        raise BackupError(
            f"database.owner_url: {error} Check that it names the role that owns the tables."
        ) from error


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that only its owner may read, and that has its name once it is complete."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror}. Name a file in another place.") from error
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror}. Name a file in another place.") from error
    finally:
        partial.unlink(missing_ok=True)
    _sync_directory(target.parent)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except OSError as error:
        raise BackupError(f"{source}: {error.strerror}. Name a file of `db backup`.") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise BackupError(
            f"{source} is not a backup, or was altered or cut: {error}. Use another one."
        ) from error


def _read_manifest(source: Path, archive: zipfile.ZipFile) -> Manifest:
    if archive.getinfo(_MANIFEST).file_size > _LARGEST_MANIFEST:
        raise BackupError(f"{source} is not a backup: its manifest is too long. Use another one.")
    fields: Any = json.loads(archive.read(_MANIFEST))
    if fields.get("format") != _FORMAT:
        raise BackupError(
            f"{source} was made by a newer acme-server ({fields.get('acme_server')}). Restore it"
            " with that version."
        )
    return Manifest(**fields)


def _own_version() -> str:
    try:
        return importlib.metadata.version("acme-server")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # a tree that was never installed


def _check_sum(source: Path, archive: zipfile.ZipFile, manifest: Manifest) -> None:
    digest = hashlib.sha256()
    with archive.open(_DUMP) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != manifest.dump_sha256:
        raise BackupError(f"{source} was altered: its dump has another sum. Use another backup.")


def _check_migrations(source: Path, manifest: Manifest) -> None:
    known = {f"{migration.number:04}_{migration.name}" for migration in known_migrations()}
    unknown = [name for name in manifest.migrations if name not in known]
    if unknown:
        raise BackupError(
            f"{source} was made by a newer acme-server ({manifest.acme_server}): this one does not"
            f" know {', '.join(unknown)}. Restore it with that version."
        )


def _find_clients(bin_dir: Path | None, server_major: int) -> Binaries:
    try:
        return find_clients(bin_dir, server_major=server_major)
    except EmbeddedPostgresError as error:
        raise BackupError(str(error)) from error


def _find_restore(bin_dir: Path | None, server_major: int, manifest: Manifest) -> str:
    clients = _find_clients(bin_dir, max(server_major, manifest.pg_dump_major))
    if server_major < min(clients.major, _FIRST_WITH_TRANSACTION_TIMEOUT):
        raise BackupError(
            f"database.bin_dir: the backup can't be restored to PostgreSQL {server_major} by the"
            f" pg_restore {clients.major} that it needs. Restore it to PostgreSQL"
            f" {_FIRST_WITH_TRANSACTION_TIMEOUT} or later."
        )
    return clients.program("pg_restore")


async def _read_facts(url: str) -> dict[str, Any]:
    async with _connected(url) as connection:
        try:
            return {
                "postgres_major": await connection.fetchval(_MAJOR),
                "migrations": [row[0] for row in await connection.fetch(_MIGRATIONS)],
                "needs_master_key": await connection.fetchval(_HAS_SECRETS),
                "grantees": [row[0] for row in await connection.fetch(_GRANTEES)],
            }
        except asyncpg.UndefinedTableError as error:
            raise BackupError(
                "database.owner_url: the database has no tables of acme-server yet. Start the"
                " server once, or name the right database."
            ) from error


async def _check_target(url: str, manifest: Manifest) -> int:
    """The major version of a database that the backup may be restored to."""
    async with _connected(url) as connection:
        if count := await connection.fetchval(_OBJECTS):
            raise BackupError(
                f"database.owner_url: the database is not empty, it has {count} tables, indexes"
                " and functions. Restore into a new database, or into a new data_dir."
            )
        major: int = await connection.fetchval(_MAJOR)
        if major < manifest.postgres_major:
            raise BackupError(
                f"database.owner_url: the backup is of PostgreSQL {manifest.postgres_major}, the"
                f" database of {major}. Restore it to the same version or a later one."
            )
        missing = [row[0] for row in await connection.fetch(_MISSING_ROLES, manifest.grantees)]
        if missing:
            raise BackupError(
                f"database.owner_url: the backup grants rights to {', '.join(missing)}, and the"
                f" server has no such role. Make it there: CREATE ROLE {missing[0]} LOGIN"
            )
        return major


async def _execute(url: str, statement: str) -> None:
    async with _connected(url) as connection:
        await connection.execute(statement)


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(url, timeout=_PATIENCE, command_timeout=_PATIENCE)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise BackupError(
            f"database.owner_url: the database can't be reached: {error}. Check that it runs and"
            " that the URL is right."
        ) from error
    try:
        yield connection
    finally:
        await connection.close()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
