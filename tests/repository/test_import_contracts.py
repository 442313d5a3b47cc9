"""Each rule between the rooms finds a violation of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from support.checkout import PACKAGES, ROOT, Checkout, copy_tree

# Contract, the module that breaks it, and what that module imports.
_VIOLATIONS = [
    ("rooms", "policy/planted.py", "import storage"),
    ("rooms", "policy/planted.py", "import validators"),
    ("rooms", "policy/planted.py", "import acme_server"),
    ("rooms", "storage/planted.py", "import validators"),
    ("rooms", "storage/planted.py", "import acme_server.config"),
    ("rooms", "validators/planted.py", "import storage"),
    ("rooms", "validators/planted.py", "import acme_server"),
    ("server", "acme_server/acme/planted.py", "import acme_server.status"),
    ("server", "acme_server/status/planted.py", "import acme_server.acme"),
    ("server", "acme_server/web/planted.py", "import acme_server.acme"),
    ("server", "acme_server/web/planted.py", "import acme_server.workers"),
    ("server", "acme_server/workers/planted.py", "import acme_server.web"),
    ("server", "acme_server/workflow/planted.py", "import acme_server.web"),
    ("server", "acme_server/workflow/planted.py", "import acme_server.workers"),
    ("server", "acme_server/config/planted.py", "import acme_server.workflow"),
    ("server", "acme_server/acme/planted.py", "import acme_server.app"),
    ("server", "acme_server/process/planted.py", "import acme_server.cli"),
    ("server", "acme_server/planted.py", "import acme_server.config"),
    ("policy-is-pure", "policy/planted.py", "import asyncpg"),
    ("policy-is-pure", "policy/planted.py", "import aiohttp"),
    ("policy-is-pure", "policy/planted.py", "import dns.name"),
    ("policy-is-pure", "policy/planted.py", "import socket"),
    ("policy-is-pure", "policy/signing/planted.py", "import asyncio"),
    ("policy-is-pure", "policy/model/planted.py", "import time"),
    ("policy-is-pure", "policy/planted.py", "import structlog"),
    ("policy-is-pure", "policy/planted.py", "import logging"),
    ("validators-know-the-network-only", "validators/planted.py", "import asyncpg"),
    ("validators-know-the-network-only", "validators/planted.py", "from aiohttp import web"),
    ("storage-has-the-driver", "acme_server/workflow/planted.py", "import asyncpg"),
    ("storage-has-the-driver", "acme_server/process/planted.py", "from asyncpg import pool"),
    ("storage-behind-workflow", "acme_server/acme/planted.py", "import storage"),
    ("storage-behind-workflow", "acme_server/status/planted.py", "import storage.planted"),
    ("storage-behind-workflow", "acme_server/web/planted.py", "import storage"),
    ("storage-behind-workflow", "acme_server/cli/planted.py", "import storage"),
    ("storage-behind-workflow", "acme_server/process/planted.py", "import storage"),
    ("signing-behind-workflow", "acme_server/acme/planted.py", "import policy.signing"),
    ("signing-behind-workflow", "acme_server/workers/planted.py", "import policy.signing"),
    ("signing-behind-workflow", "storage/planted.py", "import policy.signing"),
    ("workflow-speaks-no-http", "acme_server/workflow/planted.py", "import aiohttp"),
    ("workflow-speaks-no-http", "acme_server/workflow/planted.py", "import josepy"),
    ("workflow-speaks-no-http", "acme_server/workers/planted.py", "from http import HTTPStatus"),
]


def _contracts() -> set[str]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["id"] for contract in configuration["tool"]["importlinter"]["contracts"]}


@pytest.fixture
def packages(tmp_path: Path) -> Checkout:
    """The rules, and the rooms without what is in them."""
    checkout = copy_tree(tmp_path / "tree", (".ci", "pyproject.toml"))
    for package in PACKAGES:
        for folder in sorted((ROOT / package).rglob("__init__.py")):
            checkout.plant(str(folder.relative_to(ROOT)), "")
    return checkout


@pytest.mark.parametrize("contract", sorted(_contracts()))
def test_contract_holds_without_a_violation(packages: Checkout, contract: str) -> None:
    result = packages.lint_imports(contract)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("contract", "path", "source"), _VIOLATIONS)
def test_contract_finds_a_violation(
    packages: Checkout, contract: str, path: str, source: str
) -> None:
    target = source.split()[1]
    if target.endswith(".planted"):
        packages.plant(target.replace(".", "/") + ".py", "")
    packages.plant(path, source + "\n")

    result = packages.lint_imports(contract)

    assert result.returncode == 1
    assert "BROKEN" in result.stdout


def test_app_may_open_the_database(packages: Checkout) -> None:
    source = "import asyncpg\nimport storage\nimport policy.signing\n"
    packages.plant("acme_server/app/planted.py", source)

    results = [
        packages.lint_imports(contract)
        for contract in (
            "storage-has-the-driver",
            "storage-behind-workflow",
            "signing-behind-workflow",
        )
    ]

    assert [result.returncode for result in results] == [0, 0, 0]


def test_every_contract_has_a_planted_violation() -> None:
    planted = {contract for contract, _, _ in _VIOLATIONS}

    assert planted == _contracts()


def test_imports_stage_finds_a_violation(packages: Checkout) -> None:
    packages.plant("policy/planted.py", "import socket\n")

    result = packages.check("imports")

    assert result.returncode == 1
    assert "policy waits for nothing" in result.stdout
    assert "failed: imports" in result.stdout
