"""``db migrate``, ``db backup``, ``db restore`` and ``db upgrade``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.questions import told

_FILE = click.Path(path_type=Path)


@click.group("db")
def db_group() -> None:
    """Migrate, back up and restore the database."""


@db_group.command("migrate")
@operator_command
def migrate(invocation: Invocation) -> None:
    """Bring the database to what this version needs, as its owner (database.owner_url)."""
    from acme_server.app import operations

    settings = invocation.settings()
    with told():
        applied = operations.migrate_database(settings, invocation.progress)
    text = "".join(f"applied {name}\n" for name in applied) or "nothing to do\n"
    invocation.answer({"applied": applied}, text)


@db_group.command("backup")
@click.argument("target", type=_FILE, metavar="FILE")
@click.option(
    "--with-master-key", is_flag=True, help="Put the key in, too: who has FILE then has the CA."
)
@operator_command
def backup(invocation: Invocation, target: Path, with_master_key: bool) -> None:
    """Write a backup to the new FILE, also while the server runs.

    The master key is not in it unless you ask: keep that apart, and keep it.
    """
    from acme_server.app import operations

    settings = invocation.settings()
    key = invocation.master_key(settings) if with_master_key else None
    with told():
        manifest = operations.backup_database(settings, target, key, invocation.progress)
    invocation.answer(
        asdict(manifest), lambda: f"{target}: {manifest.dump_bytes} bytes of database\n"
    )


@db_group.command("restore")
@click.argument("source", type=_FILE, metavar="FILE")
@operator_command
def restore(invocation: Invocation, source: Path) -> None:
    """Fill an empty database, or a new data directory, from a backup. The server must be stopped.

    Put the master key of then where secrets.master_key says, unless the backup has it.
    """
    from acme_server.app import operations

    settings = invocation.settings()
    with told():
        manifest = operations.restore_database(settings, source, invocation.progress)
    invocation.answer(asdict(manifest), lambda: f"restored the backup of {manifest.created_at}\n")


@db_group.command("upgrade")
@click.option("--old-bin", type=_FILE, help="The programs of the PostgreSQL that made the data.")
@click.option("--new-bin", type=_FILE, help="The programs of the PostgreSQL to move to.")
@operator_command
def upgrade(invocation: Invocation, old_bin: Path | None, new_bin: Path | None) -> None:
    """Move the embedded database to the installed PostgreSQL. The server must be stopped."""
    from acme_server.app import operations

    settings = invocation.settings()
    with told():
        is_new = operations.upgrade_database(settings, old_bin, new_bin, invocation.progress)
    invocation.answer({"upgraded": is_new}, "upgraded\n" if is_new else "nothing to do\n")
