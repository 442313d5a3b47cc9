"""``.ci/check`` finds an error of each kind, and only where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.checkout import PACKAGES, Checkout, copy_tree

_DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "docs")


@pytest.fixture
def skeleton(tmp_path: Path) -> Checkout:
    """The checks and their configuration with empty packages: quick to check."""
    checkout = copy_tree(tmp_path / "tree", (".ci", "pyproject.toml"))
    for package in PACKAGES:
        checkout.plant(f"{package}/__init__.py", '"""A room."""\n')
    return checkout


@pytest.mark.parametrize("stage", ["format", "lint", "types"])
def test_stage_passes_without_an_error(skeleton: Checkout, stage: str) -> None:
    result = skeleton.check(stage)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("stage", "source", "finding"),
    [
        ("format", "x = {  'a':1 }\n", "policy/planted.py"),
        ("lint", "import os\n", "F401"),
        (
            "lint",
            "def f() -> None:\n    try:\n        f()\n    except Exception:\n        f()\n",
            "BLE001",
        ),
        ("types", "def f() -> int:\n    return 'one'\n", "return-value"),
        ("types", "def f(x):\n    return x\n", "no-untyped-def"),
    ],
)
def test_stage_finds_a_planted_error(
    skeleton: Checkout, stage: str, source: str, finding: str
) -> None:
    skeleton.plant("policy/planted.py", source)

    result = skeleton.check(stage)

    assert result.returncode == 1
    assert finding in result.stdout
    assert f"failed: {stage}" in result.stdout


def test_tests_stage_finds_a_failing_test(skeleton: Checkout) -> None:
    skeleton.plant("tests/test_planted.py", "def test_one_is_two():\n    assert 1 == 2\n")

    result = skeleton.check("tests")

    assert result.returncode == 1
    assert "test_one_is_two" in result.stdout
    assert "failed: tests" in result.stdout


def test_tests_stage_treats_a_warning_as_an_error(skeleton: Checkout) -> None:
    skeleton.plant(
        "tests/test_planted.py", "import warnings\n\ndef test_it():\n    warnings.warn('x')\n"
    )

    result = skeleton.check("tests")

    assert result.returncode == 1
    assert "UserWarning" in result.stdout


def test_tests_stage_ends_with_the_summary(skeleton: Checkout) -> None:
    skeleton.plant("tests/test_planted.py", "def test_it():\n    assert True\n")

    result = skeleton.check("tests")

    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout.splitlines()[-1]


def test_tests_stage_leaves_out_what_is_marked_full(skeleton: Checkout) -> None:
    skeleton.plant(
        "tests/test_planted.py",
        "import pytest\n\n@pytest.mark.full\ndef test_long():\n    assert False\n"
        "\ndef test_short():\n    assert True\n",
    )

    result = skeleton.check("tests")

    assert result.returncode == 0, result.stdout
    assert "= 1 passed in" in result.stdout.splitlines()[-1]


def test_tests_stage_fails_when_there_is_no_test(skeleton: Checkout) -> None:
    skeleton.plant("tests/test_planted.py", "")

    result = skeleton.check("tests")

    assert result.returncode == 1


@pytest.fixture
def documents(tmp_path: Path) -> Checkout:
    """The checks, what is documented, and the packages that generate parts of it."""
    return copy_tree(
        tmp_path / "tree", (".ci", "pyproject.toml", "config.example.yaml", *PACKAGES, *_DOCUMENTS)
    )


def test_docs_stage_finds_a_broken_link(documents: Checkout) -> None:
    documents.append("docs/index.md", "\nSee [nothing](missing.md).\n")

    result = documents.check("docs")

    assert result.returncode == 1
    assert "missing.md leads nowhere" in result.stdout


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("docs/architecture.md", "    pending --> ready\n", ""),
        ("docs/architecture.md", "    [*] --> reserved\n", "    [*] --> issued\n"),
    ],
)
def test_generated_stage_finds_a_stale_file(
    documents: Checkout, file: str, old: str, new: str
) -> None:
    page = documents.root / file
    text = page.read_text()
    assert old in text
    page.write_text(text.replace(old, new))

    result = documents.check("generated")

    assert result.returncode == 1
    assert f"{file} is out of date" in result.stdout


def test_generated_stage_passes_on_what_it_wrote(documents: Checkout) -> None:
    page = documents.root / "docs/architecture.md"
    current = page.read_text()
    page.write_text(current.replace("    pending --> ready\n", ""))
    written = documents.run([sys.executable, ".ci/generated.py", "--write"])

    result = documents.check("generated")

    assert written.returncode == 0, written.stderr
    assert result.returncode == 0, result.stdout
    assert page.read_text() == current


def test_every_stage_runs_although_an_earlier_one_failed(skeleton: Checkout) -> None:
    skeleton.plant("policy/planted.py", "import os\nx = {  'a':1 }\n")

    result = skeleton.run([".ci/check", "--only", "format", "--only", "lint"])

    assert "failed: format lint" in result.stdout


def test_unknown_stage_is_refused(skeleton: Checkout) -> None:
    result = skeleton.check("spelling")

    assert result.returncode == 2
    assert "stages: format lint types imports docs generated tests" in result.stdout
