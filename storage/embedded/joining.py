"""How commands find the database of a data directory, whether or not a server runs.

Three locks decide it. ``server.lock`` is the server's for its whole life. ``database.lock`` is
held by whoever runs PostgreSQL: the server, or a keeper (``keeper.py``) that runs it for commands.
``commands.lock`` is shared by the commands that use a keeper's database; the keeper stops as soon
as it can have it alone. Commands that come while a server waits for a keeper wait for the server.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.cluster import APPLICATION, OWNER, SUPERUSER, url_of
from storage.embedded.directories import DataDirectory
from storage.embedded.errors import EmbeddedPostgresError
from storage.embedded.locks import FileLock, holder, is_held
from storage.embedded.postmaster import is_alive, read_pid_file
from storage.embedded.progress import News, Progress

_ROOT = Path(__file__).parents[2]
_PAUSE = 0.02


class Told(enum.StrEnum):
    """What a keeper tells the command that started it."""

    PROGRESS = "progress"
    REFUSED = "refused"
    TAKEN = "taken"
    UP = "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDatabase:
    """The URLs of an embedded database that runs; each holds a password."""

    owner_url: str
    app_url: str
    superuser_url: str


def find_running(data_dir: Path) -> RunningDatabase | None:
    """The database of ``data_dir`` if a process owns it and it takes connections.

    It may stop at any moment: a command that works with it longer uses ``join_or_start``.
    """
    directory = DataDirectory(data_dir.absolute())
    try:
        if not is_held(directory.database_lock):
            return None
        state = read_pid_file(directory.cluster)
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"data_dir: {directory.path} can't be read by this account. Run the command as the"
            " account that the server runs as, or as root."
        ) from error
    if state is None or not state.is_ready or not is_alive(state.pid):
        return None
    if directory.passwords() is None:
        return None
    return RunningDatabase(
        owner_url=url_of(directory, OWNER),
        app_url=url_of(directory, APPLICATION),
        superuser_url=url_of(directory, SUPERUSER, "postgres"),
    )


@contextlib.contextmanager
def join_or_start(
    data_dir: Path,
    *,
    user: str | None = None,
    bin_dir: Path | None = None,
    progress: Progress = lambda _: None,
) -> Iterator[RunningDatabase]:
    """The running database of ``data_dir``, or one that is started for commands.

    The latter runs in a process of its own and stops when the last command has left, however it
    left. Waits as long as a server is starting; ``progress`` is told once a second.
    """
    directory = DataDirectory(data_dir.absolute())
    directory.create()
    commands = FileLock(directory.commands_lock, directory.open_file)
    news = News(progress)
    try:
        while (running := _join(directory, commands)) is None:
            if commands.is_ours and not is_held(directory.database_lock):
                _start_keeper(directory, user, bin_dir, progress)
            news.tell(f"Waiting for the database in {directory.path}")
            time.sleep(_PAUSE)
        yield running
    finally:
        commands.release()


def _join(directory: DataDirectory, commands: FileLock) -> RunningDatabase | None:
    """One attempt. A keeper's database is joined only while no server waits for it."""
    if is_held(directory.server_lock):
        commands.release()
        if holder(directory.server_lock) != holder(directory.database_lock):
            return None
    elif not commands.is_ours and not commands.share(patience=0):
        return None
    return find_running(directory.path)


def _start_keeper(
    directory: DataDirectory, user: str | None, bin_dir: Path | None, progress: Progress
) -> None:
    """Start a keeper and wait until its database is up, or until another one was faster."""
    options = (("--user", user), ("--bin-dir", bin_dir))
    command = [
        *(sys.executable, "-P", "-m", "storage.embedded.keeper", str(directory.path)),
        *(f"{name}={value}" for name, value in options if value is not None),
    ]
    reader, writer = os.pipe()
    try:
        pid = os.posix_spawn(  # not subprocess: it outlives us, and nobody waits for it
            command[0],
            command,
            os.environ | {"PYTHONPATH": _python_path()},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writer, 1),
            ],
        )
    finally:
        os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as reports:
        outcome, text = _follow(reports, progress)
    if outcome is Told.UP:
        return
    os.waitpid(pid, 0)
    if outcome is Told.REFUSED:
        raise EmbeddedPostgresError(text)


def _follow(reports: Iterable[str], progress: Progress) -> tuple[Told, str]:
    """Pass on what the keeper tells, until its start has come to an end."""
    for line in reports:
        kind, text = json.loads(line)
        if kind != Told.PROGRESS:
            return Told(kind), text
        progress(text)
    return Told.REFUSED, "The process that runs the embedded database ended early."


def _python_path() -> str:
    """This package first, wherever the command was started."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_ROOT), *([given] if given else [])])
