"""The generated page and example are the code's, and the example changes nothing."""

from __future__ import annotations

import dataclasses
import re
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


def test_configuration_of_the_compose_file_is_accepted() -> None:
    settings = load_settings(ROOT / "deploy/config.compose.yaml", {})

    assert settings.server.external_url == "https://acme.example.org"


def test_configurations_in_the_documentation_are_accepted(tmp_path: Path) -> None:
    texts = [
        block
        for page in ROOT.glob("docs/*.md")
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    ]
    path = tmp_path / "config.yaml"

    assert texts
    for text in texts:
        path.write_text(text, encoding="utf-8")
        load_settings(path, {})


def test_variables_of_the_image_are_settings_together_with_an_external_url() -> None:
    text = (ROOT / "Dockerfile").read_text()
    environ = dict(re.findall(r"(ACME_SERVER__\w+)=(\S+)", text.partition("\nFROM python")[2]))
    url = {"ACME_SERVER__SERVER__EXTERNAL_URL": "https://acme.example.org:14000"}

    settings = load_settings(None, environ | url)

    assert len(environ) >= 3
    assert settings.server.status_url == "http://acme.example.org:14080"
