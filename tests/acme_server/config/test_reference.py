"""The generated page and example are the code's, and the example changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from acme_server.config.declaration import declarations
from acme_server.config.loader import build_settings, load_settings
from acme_server.config.reference import configuration_page, example_file
from acme_server.config.settings import Settings
from support.checkout import ROOT


def test_files_are_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == configuration_page()
    assert (ROOT / "config.example.yaml").read_text(encoding="utf-8") == example_file()


def test_example_is_equal_to_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(example_file(), encoding="utf-8")

    settings = load_settings(path, {})

    defaults = build_settings({}, is_lab=False)
    assert dataclasses.replace(settings, data_dir=defaults.data_dir) == defaults


def test_page_and_example_have_every_setting() -> None:
    page, example = configuration_page(), example_file()

    for declared in declarations(Settings):
        assert f"| `{declared.key}` |" in page
        assert f"{declared.key.rpartition('.')[2]}:" in example


def test_lines_of_the_example_fit_a_screen() -> None:
    assert max(map(len, example_file().splitlines())) <= 100
