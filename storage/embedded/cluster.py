"""Making a cluster, its roles and its database."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import asyncpg

from storage.embedded.account import Account, launcher
from storage.embedded.directories import PORT, DataDirectory, make_directory, sync_directory
from storage.embedded.errors import EmbeddedPostgresError
from storage.embedded.installation import Installation
from storage.embedded.postmaster import postgres_environment
from storage.embedded.progress import Progress

T = TypeVar("T")

SUPERUSER, OWNER, APPLICATION = "postgres", "acme_owner", "acme_app"
DATABASE = "acme_server"

# Seconds for one statement on a server that says it is ready.
_PATIENCE = 30.0

_MISSING_ROLES = """
    SELECT role FROM unnest($1::text[]) AS role
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
"""
_DATABASE_EXISTS = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
_IS_OPEN = "SELECT datacl IS NULL FROM pg_database WHERE datname = $1"

# The command line wins over files, but not over what was set for a role or a database.
_NOT_DURABLE = """
    SELECT name || ' = ' || setting FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting <> 'on'
    UNION ALL
    SELECT entry || ' (set for a role or a database)'
    FROM pg_db_role_setting, unnest(setconfig) AS entry
    WHERE entry LIKE 'synchronous\\_commit=%' AND entry <> 'synchronous_commit=on'
"""


def url_of(directory: DataDirectory, role: str, database: str = DATABASE) -> str:
    """The URL of the running cluster for one of its roles."""
    passwords = directory.passwords()
    if passwords is None:
        raise EmbeddedPostgresError(f"{directory.path} has no embedded database yet.")
    return make_url(role, passwords[role], directory.socket_directory(), database)


def make_url(role: str, password: str, socket_directory: Path, database: str) -> str:
    """A URL that asyncpg and PostgreSQL's own programs understand alike."""
    host = quote(str(socket_directory), safe="/")
    return f"postgresql://{role}:{quote(password, safe='')}@/{database}?host={host}&port={PORT}"


def cluster_major(cluster: Path) -> int | None:
    """The major version that made the cluster; None where there is no cluster."""
    if not cluster.exists():
        return None
    try:
        return int((cluster / "PG_VERSION").read_text(encoding="ascii").partition(".")[0])
    except (FileNotFoundError, ValueError) as error:
        raise EmbeddedPostgresError(
            f"{cluster} is not a directory of PostgreSQL's: PG_VERSION is missing in it. Move it"
            " away to start with an empty database, or restore it."
        ) from error


def prepare_cluster(installation: Installation, progress: Progress) -> None:
    """Make the cluster and its passwords where they are missing; the server is stopped.

    Passwords are written before a cluster that has them is made, and after an existing cluster
    took them, so that an interruption at any point leaves a pair that fits or no file.
    """
    directory = installation.directory
    passwords = directory.passwords()
    if not directory.cluster.exists():
        if passwords is None:
            passwords = _new_passwords()
            directory.write_passwords(passwords)
        progress(f"Making a PostgreSQL {installation.binaries.major} in {directory.cluster}")
        initialize(installation, directory.cluster, passwords[SUPERUSER])
    check_cluster(installation)
    if passwords is None:
        passwords = _new_passwords()
        reset_passwords(installation, passwords)
        directory.write_passwords(passwords)


def settle_upgrade(directory: DataDirectory) -> None:
    """Complete or undo an upgrade that was interrupted; the caller has the database's lock.

    Without this the next start would find no cluster, and make an empty one.
    """
    if directory.upgrading.exists():
        # The new cluster never ran on the shared files; this is what keeps the old from starting.
        control = directory.cluster / "global" / "pg_control"
        with contextlib.suppress(FileNotFoundError):
            control.with_name("pg_control.old").rename(control)
        shutil.rmtree(directory.upgrading)
    if directory.upgraded.exists():
        if directory.cluster.exists():
            shutil.rmtree(directory.outdated, ignore_errors=True)
            directory.cluster.rename(directory.outdated)
        directory.upgraded.rename(directory.cluster)
        sync_directory(directory.path)


def check_cluster(installation: Installation) -> None:
    """Refuse a cluster of another major version, or one that others may read."""
    cluster = installation.directory.cluster
    major = cluster_major(cluster)
    binaries = installation.binaries
    if major is not None and major < binaries.major:
        raise EmbeddedPostgresError(
            f"{cluster} was made by PostgreSQL {major}, but {binaries.bin_dir} has PostgreSQL"
            f" {binaries.major}. Upgrade it with `acme-server db upgrade`, or set"
            f" database.bin_dir to the programs of PostgreSQL {major}."
        )
    if major is not None and major > binaries.major:
        raise EmbeddedPostgresError(
            f"{cluster} was made by PostgreSQL {major}, but {binaries.bin_dir} has PostgreSQL"
            f" {binaries.major}, and there is no way back. Set database.bin_dir to the programs of"
            f" PostgreSQL {major}."
        )
    if cluster.stat().st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{cluster} may be entered by other accounts, and PostgreSQL refuses that. Run:"
            f" chmod 700 {cluster}"
        )


def initialize(installation: Installation, target: Path, password: str) -> None:
    """Make an empty cluster at ``target``, which appears when it is complete."""
    _check_is_known(installation.account)
    partial = target.with_name(f".{target.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    make_directory(partial, 0o700, installation.account)
    password_file = installation.socket_directory / "password"
    _write_for(installation.account, password_file, password)
    try:
        run_program(
            installation,
            "initdb",
            *("-D", str(partial), "-U", SUPERUSER, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", "--no-instructions"),
            *_locale_flags(installation.binaries.major),
        )
    finally:
        password_file.unlink()
    partial.rename(target)
    sync_directory(target.parent)


def reset_passwords(installation: Installation, passwords: Mapping[str, str]) -> None:
    """Set the passwords without a connection, while the server is stopped.

    A role that does not exist yet is made with its password later.
    """
    statements = [f"ALTER ROLE {role} PASSWORD '{word}'\n" for role, word in passwords.items()]
    run_program(
        installation,
        "postgres",
        *("--single", "-D", str(installation.directory.cluster), "postgres"),
        text="".join(statements),
    )


def prepare_database(installation: Installation, progress: Progress) -> None:
    """Make the roles and the database where they are missing, and assert that it is durable."""
    passwords = installation.directory.passwords() or {}
    url = make_url(SUPERUSER, passwords[SUPERUSER], installation.socket_directory, "postgres")
    try:
        run_apart(_prepare(url, passwords, progress))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise EmbeddedPostgresError(
            f"{installation.directory.cluster}: its superuser can't prepare it: {error}. If"
            f" {installation.directory.passwords_file} is not the one that belongs to it, remove"
            " that file: the passwords are then made anew."
        ) from error


def analyze(directory: DataDirectory) -> None:
    """Collect the planner's statistics of the running database."""
    run_apart(_execute(url_of(directory, SUPERUSER), "ANALYZE"))


def run_program(
    installation: Installation,
    program: str,
    *arguments: str,
    text: str = "",
    cwd: Path = Path("/"),
    password: str | None = None,
) -> None:
    """Run one of PostgreSQL's programs as the account of the database."""
    secret = {} if password is None else {"PGPASSWORD": password}
    account = installation.account
    done = subprocess.run(  # noqa: S603
        launcher(
            *("run", str(os.getpid()), str(account.uid), str(account.gid)),
            installation.binaries.program(program),
            *arguments,
        ),
        check=False,
        cwd=cwd,
        env=postgres_environment(installation.directory.cluster) | secret,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise EmbeddedPostgresError(
            f"{program} failed in {installation.directory.path}: {done.stdout.strip()[-2000:]}"
        )


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end although this thread may have a running loop of its own."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=_PATIENCE)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _prepare(url: str, passwords: Mapping[str, str], progress: Progress) -> None:
    connection = await asyncpg.connect(url, timeout=_PATIENCE, command_timeout=_PATIENCE)
    try:
        for (role,) in await connection.fetch(_MISSING_ROLES, [OWNER, APPLICATION]):
            await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{passwords[role]}'")
        if not await connection.fetchval(_DATABASE_EXISTS, DATABASE):
            progress(f"Making the database {DATABASE}")
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        if await connection.fetchval(_IS_OPEN, DATABASE):
            await connection.execute(
                f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;"
                f" GRANT CONNECT ON DATABASE {DATABASE} TO {APPLICATION}"
            )
        doubts = [entry for (entry,) in await connection.fetch(_NOT_DURABLE)]
    finally:
        await connection.close()
    if doubts:
        raise EmbeddedPostgresError(
            f"The embedded database would lose what it acknowledged: {', '.join(doubts)}. Reset"
            " that setting (ALTER ROLE … RESET, ALTER DATABASE … RESET)."
        )


def _new_passwords() -> dict[str, str]:
    return {role: secrets.token_urlsafe(24) for role in (SUPERUSER, OWNER, APPLICATION)}


def _locale_flags(major: int) -> tuple[str, ...]:
    if major >= 17:
        return ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    return ("--locale=C",)


def _write_for(account: Account, path: Path, text: str) -> None:
    """A file that only ``account`` may read, in a directory that is its alone."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if not account.is_ours:
            os.fchown(descriptor, account.uid, account.gid)


def _check_is_known(account: Account) -> None:
    try:
        pwd.getpwuid(account.uid)
    except KeyError as error:
        raise EmbeddedPostgresError(
            f"The user id {account.uid} has no entry in /etc/passwd, and PostgreSQL's initdb needs"
            " one. Add it, or start the container under an account that exists in the image."
        ) from error
