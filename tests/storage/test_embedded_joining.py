"""Commands find the database, or start it for as long as one of them is there."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError, find_running, join_or_start
from storage.embedded.directories import DataDirectory
from storage.embedded.joining import _join
from storage.embedded.locks import FileLock, holder, is_held
from support.embedded import COMMAND, PATIENCE, query, running_script, said, wait_for_end
from support.postgres import find_bin_dir


@pytest.fixture(autouse=True)
def no_keeper_stays(open_dir: Path, data_dir: Path) -> Iterator[None]:
    """Wait for the last keeper before its directory is removed."""
    yield
    if data_dir.exists():
        directory = DataDirectory(data_dir)
        lock = FileLock(directory.database_lock, directory.open_file)
        assert lock.take(patience=PATIENCE)
        lock.release()


@pytest.fixture
def command(stopped: EmbeddedPostgres, data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that found no server, so that the database was started for it."""
    with running_script(COMMAND, data_dir, find_bin_dir()) as process:
        said(process)
        yield process


def _keeper(data_dir: Path) -> int:
    pid = holder(data_dir / "database.lock")
    assert pid is not None
    return pid


def _leave(command: subprocess.Popen[str]) -> None:
    assert command.stdin is not None
    command.stdin.close()
    assert command.wait() == 0


def test_nothing_runs_where_nothing_is(data_dir: Path) -> None:
    assert find_running(data_dir) is None
    assert not data_dir.exists()


def test_nothing_runs_where_a_database_was_stopped(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    running.stop()

    assert find_running(data_dir) is None


def test_a_server_is_found(running: EmbeddedPostgres, data_dir: Path) -> None:
    found = find_running(data_dir)

    assert found is not None
    assert (found.owner_url, found.app_url) == (running.owner_url, running.app_url)
    assert query(found.superuser_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


def test_a_server_whose_postgres_is_dead_is_not_taken_for_running(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    wait_for_end(running.pid)
    assert not running.poll()  # reaped, not yet started again

    assert find_running(data_dir) is None


def test_a_command_joins_the_server(running: EmbeddedPostgres, data_dir: Path) -> None:
    with join_or_start(data_dir) as joined:
        assert joined.owner_url == running.owner_url
        assert holder(data_dir / "database.lock") == os.getpid()


def test_a_command_without_a_server_starts_the_database_which_stops_after_it(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    found = find_running(data_dir)
    assert found is not None
    assert query(found.app_url, "SELECT 1") == 1
    keeper = _keeper(data_dir)

    _leave(command)

    wait_for_end(keeper)
    assert find_running(data_dir) is None
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_the_first_command_makes_the_database(data_dir: Path) -> None:
    told: list[str] = []

    with join_or_start(data_dir, bin_dir=find_bin_dir(), progress=told.append) as started:
        assert query(started.app_url, "SELECT 1") == 1
        keeper = _keeper(data_dir)

    wait_for_end(keeper)
    assert any(text.startswith("Making a PostgreSQL") for text in told)


def test_the_database_stops_after_the_last_command_not_after_the_first(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    keeper = _keeper(data_dir)
    with join_or_start(data_dir, bin_dir=find_bin_dir()) as joined:
        _leave(command)

        assert query(joined.app_url, "SELECT 1") == 1
        assert _keeper(data_dir) == keeper

    wait_for_end(keeper)


def test_a_killed_command_does_not_keep_the_database(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    keeper = _keeper(data_dir)

    command.kill()

    wait_for_end(keeper)
    assert find_running(data_dir) is None


def test_a_killed_keeper_takes_postgres_along_and_the_next_command_starts_anew(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    keeper = _keeper(data_dir)

    os.kill(keeper, signal.SIGKILL)
    wait_for_end(keeper)

    with join_or_start(data_dir, bin_dir=find_bin_dir()) as started:
        assert query(started.app_url, "SELECT 1") == 1
        assert _keeper(data_dir) != keeper


def test_a_keeper_that_is_told_to_end_stops_postgres(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    keeper = _keeper(data_dir)

    os.kill(keeper, signal.SIGTERM)

    wait_for_end(keeper)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_ctrl_c_in_the_terminal_of_a_command_does_not_reach_the_keeper(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    keeper = _keeper(data_dir)

    assert os.getsid(keeper) == keeper


def test_a_server_waits_for_the_commands_and_takes_over(
    command: subprocess.Popen[str], stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    keeper = _keeper(data_dir)
    told: list[str] = []

    def let_it_leave(text: str) -> None:
        told.append(text)
        _leave(command)

    stopped.start(let_it_leave)

    assert told == [f"Waiting for commands that use {data_dir} (process {keeper})"]
    assert holder(data_dir / "database.lock") == os.getpid()
    assert query(stopped.app_url, "SELECT 1") == 1


def test_a_command_that_comes_while_a_server_waits_does_not_delay_it(
    command: subprocess.Popen[str], data_dir: Path
) -> None:
    directory = DataDirectory(data_dir)
    commands = FileLock(directory.commands_lock, directory.open_file)
    server = FileLock(directory.server_lock, directory.open_file)

    assert server.take()
    while_waiting = _join(directory, commands)
    was_shared = commands.is_ours
    server.release()
    afterwards = _join(directory, commands)
    commands.release()

    assert (while_waiting, was_shared) == (None, False)
    assert afterwards is not None


def test_two_servers_do_not_wait_for_the_same_commands(
    command: subprocess.Popen[str], stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    directory = DataDirectory(data_dir)
    waiting = FileLock(directory.server_lock, directory.open_file)
    assert waiting.take()

    with pytest.raises(EmbeddedPostgresError, match=f"in use by .* process {os.getpid()}"):
        stopped.start()

    waiting.release()


def test_what_keeps_the_database_from_starting_is_told_to_the_command(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("11\n")

    with (
        pytest.raises(EmbeddedPostgresError, match=r"acme-server db upgrade"),
        join_or_start(data_dir, bin_dir=find_bin_dir()),
    ):
        pytest.fail("joined")

    assert not is_held(data_dir / "commands.lock")
    assert not is_held(data_dir / "database.lock")


def test_a_database_of_another_account_is_refused_with_the_remedy(
    running: EmbeddedPostgres, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("storage.embedded.joining.is_held", refuse)

    with pytest.raises(EmbeddedPostgresError, match=r"as the account that the server runs as"):
        find_running(data_dir)
