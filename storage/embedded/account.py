"""The account that the embedded database runs as; PostgreSQL refuses to run as root."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.errors import EmbeddedPostgresError
from storage.embedded.progress import Progress

OWN_ACCOUNT = "acme-server"
SHARED_ACCOUNT = "postgres"
_LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An operating system account."""

    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether this process runs as the account already."""
        return self.uid == os.geteuid()


def launcher(mode: str, *arguments: str) -> list[str]:
    """The command that runs ``launch.py`` with as little of Python as possible."""
    return [sys.executable, "-I", "-S", str(_LAUNCHER), mode, *arguments]


def choose_account(
    user: str | None, *, data_dir: Path, cluster: Path, progress: Progress
) -> Account:
    """The account for a cluster, by what exists already, then by ``user`` (``database.user``).

    As root and with nothing to go by: ``acme-server``, else ``postgres``, else the system account
    ``acme-server`` is made.
    """
    if os.geteuid() != 0:
        return _current_account(user, cluster)
    owned = next((path for path in (cluster, data_dir) if _owner(path)), None)
    if owned is not None:
        return _owner_of(owned, user)
    if user is not None:
        return _named_account(user)
    for name in (OWN_ACCOUNT, SHARED_ACCOUNT):
        if (account := _find_account(name)) is not None:
            return account
    return _make_account(progress)


def first_unreachable(account: Account, paths: Iterable[Path]) -> Path | None:
    """The first of ``paths`` that ``account`` can't enter (directories) or execute (files)."""
    answer = subprocess.run(  # noqa: S603
        launcher("reach", str(account.uid), str(account.gid), *map(str, paths)),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return Path(answer) if answer else None


def _current_account(user: str | None, cluster: Path) -> Account:
    uid = os.geteuid()
    name = _name_of(uid)
    if user not in (None, name):
        raise EmbeddedPostgresError(
            f"database.user is {user!r}, but the server runs as {name!r}, and only root can change"
            " accounts. Remove the setting, or start the server as root or as that account."
        )
    if cluster.exists() and (owner := cluster.stat().st_uid) != uid:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to the account {_name_of(owner)!r}, but this process runs as"
            f" {name!r}. Run it as {_name_of(owner)!r} or as root, or set data_dir."
        )
    return Account(name=name, uid=uid, gid=os.getegid())


def _owner(path: Path) -> int:
    """The uid of who owns ``path``; 0 also where there is nothing."""
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return 0


def _owner_of(path: Path, user: str | None) -> Account:
    """Who owns ``path`` must run the database: PostgreSQL insists, and we never chown it."""
    uid = _owner(path)
    name = _name_of(uid)
    if user not in (None, name):
        raise EmbeddedPostgresError(
            f"database.user is {user!r}, but {path} belongs to the account {name!r}. Set"
            f" database.user to {name!r}, or give the directory away: chown -R {user} {path}"
        )
    return _named_account(name)


def _named_account(name: str) -> Account:
    account = _find_account(name)
    if account is None:
        raise EmbeddedPostgresError(
            f"database.user: there is no account {name!r}. Make it (useradd --system {name}), or"
            " name another."
        )
    if account.uid == 0:
        raise EmbeddedPostgresError(
            "database.user is root, and PostgreSQL refuses to run as root. Name another account."
        )
    return account


def _find_account(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _make_account(progress: Progress) -> Account:
    command = [
        shutil.which("useradd") or "/usr/sbin/useradd",
        *("--system", "--no-create-home", "--home-dir", "/nonexistent"),
        *("--shell", "/usr/sbin/nologin"),
        *(("--gid", OWN_ACCOUNT) if _group_exists(OWN_ACCOUNT) else ("--user-group",)),
        OWN_ACCOUNT,
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise EmbeddedPostgresError(
            "Started as root, the embedded database needs an account of its own, and making"
            f" {OWN_ACCOUNT!r} failed: {reason.strip()} Make an account and name it in"
            " database.user, or start the server as an ordinary user."
        ) from error
    progress(f"Made the system account {OWN_ACCOUNT} for the embedded database")
    return _named_account(OWN_ACCOUNT)


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
