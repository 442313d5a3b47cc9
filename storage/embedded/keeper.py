"""A process that runs the embedded database for commands while no server does.

Started by ``joining.py``. It tells on standard output how the start goes, one JSON array a line,
and then stops PostgreSQL as soon as no command uses it any more, however the last one ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from storage.embedded.errors import DataDirectoryTaken, EmbeddedPostgresError
from storage.embedded.joining import Told
from storage.embedded.locks import FileLock
from storage.embedded.supervisor import EmbeddedPostgres

_PAUSE = 0.05


def main(arguments: list[str]) -> None:
    """Run until the last command has left, or until SIGTERM."""
    with contextlib.suppress(PermissionError):  # where we lead a session already
        os.setsid()
    os.chdir("/")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    report = _Report()
    database = _parse(arguments)
    try:
        database.start(lambda text: report.tell(Told.PROGRESS, text))
    except DataDirectoryTaken:
        report.tell(Told.TAKEN)
        return
    except EmbeddedPostgresError as error:
        report.tell(Told.REFUSED, str(error))
        return
    report.tell(Told.UP)
    report.close()
    _keep(database)


def _parse(arguments: list[str]) -> EmbeddedPostgres:
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--user")
    parser.add_argument("--bin-dir", type=Path)
    options = parser.parse_args(arguments)
    return EmbeddedPostgres(
        options.data_dir, user=options.user, bin_dir=options.bin_dir, for_commands=True
    )


def _keep(database: EmbeddedPostgres) -> None:
    directory = database.directory
    commands = FileLock(directory.commands_lock, directory.open_file)
    try:
        while not commands.take(patience=0):
            database.poll()
            time.sleep(_PAUSE)
    finally:
        # First the database, then the lock: who comes now waits, and starts another keeper.
        database.stop()
        commands.release()


class _Report:
    """The pipe to the command that started us; log lines must not get into it."""

    def __init__(self) -> None:
        self._pipe = os.dup(1)
        self._null = os.open(os.devnull, os.O_RDWR)
        os.dup2(self._null, 1)

    def tell(self, kind: Told, text: str = "") -> None:
        """Say it, if somebody still listens."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, f"{json.dumps([kind, text])}\n".encode())

    def close(self) -> None:
        """Let the terminal go, too: the command may be gone long before us."""
        os.dup2(self._null, 2)
        os.close(self._pipe)


if __name__ == "__main__":
    main(sys.argv[1:])
