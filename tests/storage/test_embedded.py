"""The embedded PostgreSQL as its one owner sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from storage.embedded import Account, DataDirectoryTaken, EmbeddedPostgres, EmbeddedPostgresError
from storage.embedded.locks import is_held
from storage.embedded.postmaster import read_pid_file
from support.embedded import (
    SERVER,
    kill_postmaster,
    mode_of,
    poll_until_up,
    query,
    running_script,
    said,
    wait_for_end,
)
from support.postgres import find_bin_dir

Embedded = Callable[..., EmbeddedPostgres]


def test_the_first_start_makes_both_roles_and_none_is_a_superuser(embedded: Embedded) -> None:
    database = embedded()

    database.start()

    whoami = "SELECT current_user || ' ' || rolsuper FROM pg_roles WHERE rolname = current_user"
    assert query(database.owner_url, whoami) == "acme_owner false"
    assert query(database.app_url, whoami) == "acme_app false"


def test_the_owner_may_make_tables_and_the_application_may_not(running: EmbeddedPostgres) -> None:
    query(running.owner_url, "CREATE TABLE mine ()")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(running.app_url, "CREATE TABLE mine_too ()")


def test_what_is_acknowledged_is_durable(running: EmbeddedPostgres) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert query(running.app_url, f"SHOW {name}") == "on"


def test_a_setting_in_a_file_does_not_make_it_less_durable(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    with (data_dir / "postgres" / "postgresql.auto.conf").open("a") as file:
        file.write("fsync = off\nsynchronous_commit = off\n")

    stopped.start()

    assert query(stopped.app_url, "SHOW fsync") == "on"
    assert query(stopped.app_url, "SHOW synchronous_commit") == "on"


def test_a_role_whose_commits_are_not_durable_is_refused(running: EmbeddedPostgres) -> None:
    query(running.app_url, "ALTER ROLE acme_app SET synchronous_commit = off")
    running.stop()

    with pytest.raises(EmbeddedPostgresError, match=r"synchronous_commit=off.*ALTER ROLE"):
        running.start()


def test_strings_compare_by_bytes_whatever_the_machine_speaks(running: EmbeddedPostgres) -> None:
    assert query(running.app_url, "SELECT 'Z' < 'a' AND 'z' < 'é'") is True
    assert query(running.app_url, "SHOW server_encoding") == "UTF8"


def test_it_listens_on_no_network(running: EmbeddedPostgres) -> None:
    assert query(running.app_url, "SHOW listen_addresses") == ""
    assert not _listens_on_tcp(running.pid)


def test_a_wrong_password_is_refused(running: EmbeddedPostgres) -> None:
    url = running.app_url.replace(_password_in(running.app_url), "wrong")

    with pytest.raises(asyncpg.InvalidPasswordError):
        query(url, "SELECT 1")


def test_only_one_account_gets_at_the_data_and_the_socket(
    embedded: Embedded, data_dir: Path
) -> None:
    above = data_dir.parent
    before = (above.stat().st_mode, above.stat().st_uid)

    embedded().start()

    assert mode_of(data_dir / "postgres") == 0o700
    assert mode_of(data_dir / "socket") == 0o700
    assert mode_of(data_dir / "database-passwords.json") == 0o600
    assert (above.stat().st_mode, above.stat().st_uid) == before


def test_an_existing_data_directory_keeps_its_mode(embedded: Embedded, data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o755)

    embedded().start()

    assert mode_of(data_dir) == 0o755


def test_passwords_stay_out_of_the_logs(embedded: Embedded, data_dir: Path) -> None:
    database = embedded()
    database.start()
    with pytest.raises(asyncpg.UndefinedTableError):
        query(database.owner_url, "SELECT 'not a secret' FROM missing")

    logs = [data_dir / "postgres.log", *(data_dir / "postgres" / "log").iterdir()]
    text = "".join(log.read_text() for log in logs)
    assert 'relation "missing" does not exist' in text
    assert "not a secret" not in text
    assert _password_in(database.app_url) not in text


def test_data_survive_a_stop(running: EmbeddedPostgres) -> None:
    query(running.owner_url, "CREATE TABLE kept AS SELECT 7 AS answer")

    running.stop()
    running.start()

    assert query(running.owner_url, "SELECT answer FROM kept") == 7


def test_a_second_owner_is_refused_by_name(
    running: EmbeddedPostgres, embedded: Embedded, data_dir: Path
) -> None:
    with pytest.raises(DataDirectoryTaken, match=rf"{data_dir} .*process {os.getpid()}\."):
        embedded().start()

    assert query(running.app_url, "SELECT 1") == 1


def test_an_owner_that_stopped_makes_room_for_another(
    running: EmbeddedPostgres, embedded: Embedded
) -> None:
    running.stop()
    second = embedded()

    second.start()

    assert query(second.app_url, "SELECT 1") == 1


def test_a_look_at_the_lock_does_not_refuse_an_owner(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            is_held(data_dir / "server.lock")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        stopped.start()
    finally:
        over.set()
        looking.join()

    assert is_held(data_dir / "server.lock")


def test_a_killed_parent_takes_postgres_along_and_loses_nothing(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    with running_script(SERVER, data_dir, find_bin_dir()) as server:
        pid = int(said(server))
        server.kill()
        wait_for_end(pid)

    stopped.start()

    assert query(stopped.owner_url, "SELECT answer FROM acknowledged") == 1


def test_a_killed_postmaster_is_started_again_with_all_data(running: EmbeddedPostgres) -> None:
    query(running.owner_url, "CREATE TABLE kept AS SELECT 7 AS answer")

    killed = kill_postmaster(running)
    poll_until_up(running, after=killed)

    assert query(running.owner_url, "SELECT answer FROM kept") == 7


async def test_supervision_restarts_a_killed_postmaster(running: EmbeddedPostgres) -> None:
    supervision = asyncio.create_task(running.supervise())

    kill_postmaster(running)
    with capture_logs() as events:
        while not any(event["event"] == "database_started" for event in events):
            await asyncio.wait([supervision], timeout=0.01)
    supervision.cancel()
    await asyncio.wait([supervision])

    assert [event["event"] for event in events] == ["database_exited", "database_started"]
    assert await asyncio.to_thread(query, running.app_url, "SELECT 1") == 1


def test_restarts_that_fail_come_at_growing_intervals(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    with capture_logs() as events, _broken_settings(data_dir):
        killed = kill_postmaster(running)
        while len(events) < 4:
            running.poll()
    poll_until_up(running, after=killed)

    assert [event["event"] for event in events] == ["database_exited"] * 4
    assert [event["retry_in"] for event in events] == pytest.approx([0.05, 0.15, 0.45, 1.35])


def test_a_start_that_fails_says_what_postgres_said_and_can_be_repeated(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    with (
        _broken_settings(data_dir),
        pytest.raises(EmbeddedPostgresError, match=r"(?s)did not start.*syntax error"),
    ):
        stopped.start()

    stopped.start()
    assert query(stopped.app_url, "SELECT 1") == 1


def test_a_start_waits_for_what_a_killed_postmaster_left_behind(
    running: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(running.owner_url, "CREATE TABLE kept AS SELECT 7 AS answer")
    straggler = _child(running.pid, "checkpointer")
    os.kill(straggler, signal.SIGSTOP)
    wait_for_end(kill_postmaster(running))
    running.stop()
    # It has the shared memory until the first attempt has failed for it.
    log = _Reaction("database_exited", lambda: os.kill(straggler, signal.SIGCONT))
    monkeypatch.setattr("storage.embedded.supervisor._log", log)

    running.start()

    assert log.reacted
    assert query(running.owner_url, "SELECT answer FROM kept") == 7


def test_ctrl_c_on_the_terminal_does_not_reach_postgres(running: EmbeddedPostgres) -> None:
    assert running.pid is not None
    assert os.getsid(running.pid) == running.pid


def test_no_secret_of_ours_is_in_the_environment_of_postgres(
    stopped: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_SERVER__SECRETS__MASTER_KEY", "c2VjcmV0")
    monkeypatch.setenv("PGDATA", "/nowhere")

    stopped.start()

    environment = Path(f"/proc/{stopped.pid}/environ").read_bytes()
    assert b"c2VjcmV0" not in environment
    assert b"PGDATA" not in environment
    assert b"LC_ALL=C" in environment


def test_a_foreign_process_under_the_old_pid_does_not_stand_in_the_way(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    account = running.account
    with _another_process(account) as other:
        _leave_stale_pid_file(running, data_dir, other.pid)

        running.start()

        assert query(running.app_url, "SELECT 1") == 1
        assert other.poll() is None


def test_the_foreign_process_would_stand_in_the_way_of_a_plain_start(
    running: EmbeddedPostgres, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = running.account
    with _another_process(account) as other:
        _leave_stale_pid_file(running, data_dir, other.pid)
        monkeypatch.setattr("storage.embedded.postmaster.postgres_environment", lambda _: {})

        with pytest.raises(EmbeddedPostgresError, match=f"PID {other.pid}"):
            running.start()


def test_a_postgres_whose_owner_is_gone_is_ended_before_another_starts(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    account = running.account
    running.stop()
    # As on a system without PDEATHSIG, where it outlives its owner.
    with _process(
        account,
        *(find_bin_dir() / "postgres", "-D", data_dir / "postgres"),
        *("-k", data_dir / "socket", "-c", "listen_addresses="),
    ) as orphan:
        _wait_until_ready(data_dir)

        running.start()

        assert orphan.wait(30) == 0
    assert query(running.app_url, "SELECT 1") == 1


def test_a_start_can_be_given_up(embedded: Embedded, data_dir: Path) -> None:
    def give_up(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded().start(give_up)

    assert not is_held(data_dir / "server.lock")
    assert not is_held(data_dir / "database.lock")


def test_it_is_started_from_the_main_thread_only(stopped: EmbeddedPostgres) -> None:
    failures: list[str] = []

    def start() -> None:
        try:
            stopped.start()
        except RuntimeError as error:
            failures.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert failures == ["PostgreSQL is started from the main thread only"]


class _Reaction:
    """A logger that does something when it is told of the first such event."""

    def __init__(self, event: str, react: Callable[[], None]) -> None:
        self.reacted = False
        self._event = event
        self._react = react

    def info(self, event: str, **fields: object) -> None:
        if event == self._event and not self.reacted:
            self.reacted = True
            self._react()

    warning = info


def _child(pid: int | None, name: str) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next(int(c) for c in children if name in Path(f"/proc/{c}/cmdline").read_text())


def _password_in(url: str) -> str:
    return url.split(":")[2].split("@")[0]


@contextmanager
def _broken_settings(data_dir: Path) -> Iterator[None]:
    settings = data_dir / "postgres" / "postgresql.conf"
    sane = settings.read_text()
    settings.write_text("nonsense")
    yield
    settings.write_text(sane)


def _leave_stale_pid_file(database: EmbeddedPostgres, data_dir: Path, pid: int) -> None:
    """As a power cut does, after which ``pid`` is another process."""
    wait_for_end(kill_postmaster(database))
    database.stop()
    file = data_dir / "postgres" / "postmaster.pid"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([f"{pid}\n", *lines[1:]]))


def _another_process(account: Account) -> AbstractContextManager[subprocess.Popen[bytes]]:
    # Of the same account: PostgreSQL itself overlooks a process that it may not signal.
    return _process(account, "sleep", "600")


@contextmanager
def _process(account: Account, *command: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        user=None if account.is_ours else account.uid,
    ) as process:
        yield process
        process.kill()


def _wait_until_ready(data_dir: Path) -> None:
    deadline = time.monotonic() + 30
    while (state := read_pid_file(data_dir / "postgres")) is None or not state.is_ready:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _listens_on_tcp(pid: int | None) -> bool:
    inodes = {
        os.readlink(entry)[8:-1]
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(entry).startswith("socket:[")
    }
    tables = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
    return any(line.split()[9] in inodes for text in tables for line in text.splitlines()[1:])
