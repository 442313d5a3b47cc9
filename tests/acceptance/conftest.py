"""A whole server in lab mode, and certbot against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.lab import LabServer
from support.certbot import Certbot, install_certbot


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder start whole servers and real clients, and may take their time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def certbot_command() -> Path:
    """The certbot command."""
    return install_certbot()


@pytest.fixture(scope="module")
def server() -> Iterator[LabServer]:
    """A server in lab mode, one for the tests of a module."""
    with LabServer() as lab:
        yield lab


@pytest.fixture
def certbot(certbot_command: Path, server: LabServer, tmp_path: Path) -> Certbot:
    """certbot with an account and folders of its own."""
    return Certbot(certbot_command, server.directory_url, server.roots, tmp_path / "certbot")
