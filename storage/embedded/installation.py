"""What it takes to run one cluster: where it is, by which programs and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.embedded.account import Account, choose_account
from storage.embedded.binaries import Binaries, executable_by
from storage.embedded.directories import DataDirectory
from storage.embedded.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Everything checked: the account can enter the directories and execute the programs."""

    directory: DataDirectory
    binaries: Binaries
    account: Account
    socket_directory: Path


def prepare_installation(
    directory: DataDirectory, binaries: Binaries, user: str | None, progress: Progress
) -> Installation:
    """Choose the account and make what it needs, by a process that has the database's lock."""
    account = choose_account(
        user, data_dir=directory.path, cluster=directory.cluster, progress=progress
    )
    directory.check_reachable(account)
    return Installation(
        directory=directory,
        binaries=executable_by(account, binaries, directory, progress),
        account=account,
        socket_directory=directory.prepare_socket_directory(account),
    )
