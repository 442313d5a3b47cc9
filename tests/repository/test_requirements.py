"""The locked requirements fit pyproject.toml, and trust nothing but their hashes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from support.checkout import ROOT

_LOCKS = (
    "requirements.txt",
    "requirements-dev.txt",
    "deploy/requirements.txt",
    "deploy/requirements-build.txt",
    "tests/acceptance/certbot.txt",
    "tests/acceptance/caddy.txt",
)
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(path: str) -> dict[str, list[Requirement]]:
    """The requirements of a lock file by name; each is one line once its hashes are cut off."""
    found: dict[str, list[Requirement]] = {}
    for entry in entries(path):
        requirement = Requirement(entry.split(" --hash=")[0])
        found.setdefault(requirement.name.lower(), []).append(requirement)
    return found


def entries(path: str) -> Iterator[str]:
    """The entries of a lock file with their hashes, each as one line."""
    text = (ROOT / path).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        yield re.sub(r"\s+", " ", entry.strip())


@pytest.mark.parametrize("path", _LOCKS)
def test_every_entry_is_one_version_with_hashes(path: str) -> None:
    for entry in entries(path):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+?)?( --hash=sha256:[0-9a-f]{64})+", entry), (
            entry
        )


@pytest.mark.parametrize("path", _LOCKS)
def test_no_index_is_named(path: str) -> None:
    text = (ROOT / path).read_text()

    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index|--extra-index|--find-links|--trusted)", text, re.M)


def _wanted(*extras: str) -> list[Requirement]:
    lines = [*_PROJECT["dependencies"]]
    for extra in extras:
        lines += _PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(
    ("path", "extras"),
    [
        ("requirements.txt", ("embedded", "build")),
        ("deploy/requirements.txt", ()),
        ("requirements-dev.txt", ("embedded", "build", "dev")),
    ],
)
def test_lock_satisfies_the_project(path: str, extras: tuple[str, ...]) -> None:
    versions = locked(path)

    for wanted in _wanted(*extras):
        if wanted.name == _PROJECT["name"]:
            continue
        assert wanted.name.lower() in versions, f"{wanted} is not locked: run .ci/lock"
        for found in versions[wanted.name.lower()]:
            (specifier,) = found.specifier
            assert wanted.specifier.contains(specifier.version), f"{wanted}, locked {found}"


def test_what_runs_is_what_was_tested() -> None:
    runtime, development = locked("requirements.txt"), locked("requirements-dev.txt")

    for name, requirements in runtime.items():
        tested = {str(requirement.specifier) for requirement in development[name]}
        assert {str(requirement.specifier) for requirement in requirements} <= tested


def test_container_runs_what_was_tested() -> None:
    tested = locked("requirements.txt")

    for name, requirements in locked("deploy/requirements.txt").items():
        assert {str(item.specifier) for item in requirements} <= {
            str(item.specifier) for item in tested[name]
        }


def test_no_package_takes_one_of_our_names() -> None:
    for path in _LOCKS:
        assert not {"policy", "storage", "validators"} & set(locked(path))
