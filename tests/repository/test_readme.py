"""The README opens with the two commands that everybody needs, and CI runs the second as it is."""

from __future__ import annotations

import re
import subprocess

import pytest

from support.checkout import ROOT


def code_blocks(path: str) -> list[str]:
    """The code blocks of a page, without their fences."""
    text = (ROOT / path).read_text()
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", [1, 2])
def test_opening_command_is_one_line_and_needs_only_python(number: int) -> None:
    block = code_blocks("README.md")[number - 1]
    first, *rest = [part.strip() for part in block.split("&&")]

    assert block.count("\n") == 1
    assert first == "python3 -m venv .venv"
    assert all(part.startswith((".venv/bin/", ".ci/")) for part in rest)


@pytest.mark.parametrize("number", [1, 2])
def test_opening_command_installs_nothing_unchecked(number: int) -> None:
    block = code_blocks("README.md")[number - 1]
    installs = [part for part in block.split("&&") if "pip install" in part]

    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--no-deps --no-build-isolation" in installs[1]


def test_first_command_runs_the_server_and_the_second_checks_everything() -> None:
    run, check, *_ = code_blocks("README.md")

    assert run.rstrip().endswith("&& .venv/bin/acme-server run")
    assert check.rstrip().endswith("&& .ci/check")


@pytest.mark.parametrize("number", [1, 2])
def test_ci_finds_the_commands(number: int) -> None:
    printed = subprocess.run(
        [ROOT / ".ci/readme_command", str(number)], capture_output=True, text=True, check=True
    ).stdout

    assert printed == code_blocks("README.md")[number - 1]


def test_commands_stand_before_anything_else() -> None:
    headings = re.split(r"^## ", (ROOT / "README.md").read_text(), maxsplit=1, flags=re.MULTILINE)

    assert headings[0].count("```") >= 4
