"""The embedded PostgreSQL and its supervision."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from storage.embedded.account import Account
from storage.embedded.binaries import find_binaries
from storage.embedded.cluster import (
    APPLICATION,
    OWNER,
    cluster_major,
    prepare_cluster,
    prepare_database,
    settle_upgrade,
    url_of,
)
from storage.embedded.directories import DataDirectory
from storage.embedded.errors import DataDirectoryTaken, EmbeddedPostgresError
from storage.embedded.installation import Installation, prepare_installation
from storage.embedded.locks import FileLock, holder
from storage.embedded.postmaster import (
    Postmaster,
    end_orphan,
    last_words,
    read_pid_file,
)
from storage.embedded.progress import News, Progress

_log = structlog.get_logger()

# Seconds between two starts; the first waits for the backends of a dead postmaster to leave.
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 5.0
_GROWTH = 3
# A server that ran this long starts from the first delay again.
_STABLE = 60.0
# After an unclean end the first starts may find its shared memory still in use.
_UNCLEAN_ATTEMPTS = 5

_PAUSE = 0.005
_SUPERVISION = 0.1


class EmbeddedPostgres:
    """A private PostgreSQL in ``data_dir``, owned by this process and ending with it.

    ``user`` is ``database.user`` and ``bin_dir`` is ``database.bin_dir``; None: found by itself.
    ``for_commands`` gives way to a server that wants the directory for itself. All methods belong
    to the main thread; their errors are ``EmbeddedPostgresError``.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        user: str | None = None,
        bin_dir: Path | None = None,
        for_commands: bool = False,
    ) -> None:
        self.directory = DataDirectory(data_dir.absolute())
        self._user = user
        self._bin_dir = bin_dir
        self._for_commands = for_commands
        self._server_lock = FileLock(self.directory.server_lock, self.directory.open_file)
        self._database_lock = FileLock(self.directory.database_lock, self.directory.open_file)
        self._installation: Installation | None = None
        self._postmaster: Postmaster | None = None
        self._up_since: float | None = None
        self._ends = 0
        self._next_attempt = 0.0

    @property
    def owner_url(self) -> str:
        """The database as the role that migrates; it holds a password."""
        return url_of(self.directory, OWNER)

    @property
    def app_url(self) -> str:
        """The database as the role that serves; it holds a password."""
        return url_of(self.directory, APPLICATION)

    @property
    def account(self) -> Account:
        """Who PostgreSQL runs as; only this account and root get at its socket."""
        return self._started().account

    @property
    def bin_dir(self) -> Path:
        """Where its programs are."""
        return self._started().binaries.bin_dir

    @property
    def pid(self) -> int | None:
        """The pid of the postmaster; None between two of them."""
        return None if self._postmaster is None else self._postmaster.pid

    def start(self, progress: Progress = lambda _: None) -> None:
        """Make what is missing, start PostgreSQL and return when it takes connections.

        Crash recovery may take any time. ``progress`` is told what takes longer, once a second;
        what it raises ends the start, and nothing is left running.
        """
        self.directory.create()
        self._ends, self._next_attempt = 0, 0.0
        try:
            self._take_locks(progress)
            self._installation = self._install(progress)
            prepare_cluster(self._installation, progress)
            self._wait_until_ready(progress)
            prepare_database(self._installation, progress)
        except BaseException:
            self.stop()
            raise

    def poll(self) -> bool:
        """One look that never waits: whether PostgreSQL takes connections.

        One that died is started again, at intervals growing to 5 s. Call it several times a
        second, or run ``supervise``.
        """
        now = time.monotonic()
        if self._postmaster is None:
            if now >= self._next_attempt:
                self._postmaster = Postmaster.spawn(self._started())
        elif (status := self._postmaster.exit_status()) is not None:
            self._note_end(status, now)
        elif self._up_since is None and self._postmaster.is_ready():
            self._up_since = now
            _log.info("database_started", pid=self.pid)
        return self._up_since is not None

    async def supervise(self) -> None:
        """Keep PostgreSQL running until cancelled; then ``stop`` is still the caller's to call."""
        while True:
            self.poll()
            await asyncio.sleep(_SUPERVISION)

    def stop(self) -> None:
        """Stop PostgreSQL, usually within 20 ms, and give the data directory back."""
        if self._postmaster is not None:
            self._postmaster.stop()
            self._postmaster = None
            self._up_since = None
        self._installation = None
        if self._database_lock.is_ours:
            self.directory.remove_socket_directory()
        self._database_lock.release()
        self._server_lock.release()

    def _take_locks(self, progress: Progress) -> None:
        if self._for_commands:
            if not self._database_lock.take():
                raise self._taken(self.directory.database_lock)
            return
        if not self._server_lock.take():
            raise self._taken(self.directory.server_lock)
        news = News(progress)

        def tell() -> None:
            pid = holder(self.directory.database_lock)
            news.tell(f"Waiting for commands that use {self.directory.path} (process {pid})")

        self._database_lock.take(patience=float("inf"), waiting=tell)

    def _taken(self, lock: Path) -> DataDirectoryTaken:
        return DataDirectoryTaken(
            f"data_dir: {self.directory.path} is in use by another acme-server, process"
            f" {holder(lock)}. Stop that one, or set data_dir to another directory."
        )

    def _install(self, progress: Progress) -> Installation:
        settle_upgrade(self.directory)
        binaries = find_binaries(self._bin_dir, major=cluster_major(self.directory.cluster))
        end_orphan(self.directory.cluster)
        return prepare_installation(self.directory, binaries, self._user, progress)

    def _wait_until_ready(self, progress: Progress) -> None:
        news = News(progress)
        was_unclean = read_pid_file(self.directory.cluster) is not None
        attempts = _UNCLEAN_ATTEMPTS if was_unclean else 1
        while not self.poll():
            if self._ends == attempts:
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start in {self.directory.cluster}. It said:"
                    f" {last_words(self.directory)}"
                )
            news.tell(f"Waiting for PostgreSQL in {self.directory.cluster} to recover")
            time.sleep(_PAUSE)

    def _note_end(self, status: int, now: float) -> None:
        if self._up_since is not None and now - self._up_since >= _STABLE:
            self._ends = 0
        delay = min(_FIRST_DELAY * _GROWTH**self._ends, _LONGEST_DELAY)
        self._ends += 1
        self._postmaster = None
        self._up_since = None
        self._next_attempt = now + delay
        _log.warning("database_exited", status=status, retry_in=delay)

    def _started(self) -> Installation:
        if self._installation is None:
            raise RuntimeError("the embedded database is not started")
        return self._installation
