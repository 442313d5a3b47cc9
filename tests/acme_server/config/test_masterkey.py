"""Where the master key's text comes from."""

from __future__ import annotations

import dataclasses
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from acme_server.config.masterkey import find_master_key, make_master_key_file
from acme_server.config.problems import ConfigurationError
from acme_server.config.settings import SecretsSettings, Settings
from acme_server.config.values import (
    AutoMasterKey,
    EnvironmentMasterKey,
    FileMasterKey,
    MasterKeySource,
)

_TEXT = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"


def settings_with(source: MasterKeySource, data_dir: Path) -> Settings:
    return dataclasses.replace(
        Settings(), data_dir=data_dir, secrets=SecretsSettings(master_key=source)
    )


def test_key_is_read_from_each_source(tmp_path: Path) -> None:
    (tmp_path / "master_key").write_text(f"{_TEXT}\n")

    auto = find_master_key(settings_with(AutoMasterKey(), tmp_path), {})
    file = find_master_key(settings_with(FileMasterKey(tmp_path / "master_key"), Path("/")), {})
    variable = find_master_key(settings_with(EnvironmentMasterKey("K"), Path("/")), {"K": _TEXT})

    assert auto == file == variable == _TEXT


def test_auto_has_no_key_before_the_first_start(tmp_path: Path) -> None:
    assert find_master_key(settings_with(AutoMasterKey(), tmp_path), {}) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (FileMasterKey(Path("/nowhere/key")), "can't read /nowhere/key: No such file"),
        (FileMasterKey(Path("/")), "can't read /: Is a directory"),
        (FileMasterKey(Path("/dev/null")), "/dev/null holds no text"),
        (FileMasterKey(Path("/dev/zero")), "/dev/zero holds no text"),
        (EnvironmentMasterKey("K"), "the environment variable K is not set, or empty"),
    ],
)
def test_source_without_a_key_is_named(
    source: MasterKeySource, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_master_key(settings_with(source, tmp_path), {"K": " "})

    assert str(caught.value).startswith(f"secrets.master_key: {message}")


def test_file_that_is_no_text_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "master_key").write_bytes(b"hunter2\xff")

    with pytest.raises(ConfigurationError) as caught:
        find_master_key(settings_with(AutoMasterKey(), tmp_path), {})

    assert "hunter2" not in str(caught.value)


def test_made_file_is_for_its_owner_only_and_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master_key"

    first = make_master_key_file(path, _TEXT)
    second = make_master_key_file(path, "another")

    assert first == second == _TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["master_key"]


def test_two_that_make_the_file_at_once_get_one_key(tmp_path: Path) -> None:
    path = tmp_path / "master_key"

    with ThreadPoolExecutor(8) as executor:
        texts = set(executor.map(lambda n: make_master_key_file(path, f"key{n}"), range(8)))

    assert texts == {path.read_text().strip()}


def test_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"can't make .*missing/master_key"):
        make_master_key_file(tmp_path / "missing" / "master_key", _TEXT)
