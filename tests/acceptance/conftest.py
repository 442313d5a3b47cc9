"""A whole server in lab mode, and certbot against it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from benchmarks.lab import LabServer
from support.certbot import Certbot, install_certbot
from support.clientlab import ClientLab, client_lab
from support.environments import system_command
from support.lego import Lego

_LOG_SHOWN = 20_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder start whole servers and real clients, and may take their time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test of the shared server tells what that logged last."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(lab, ClientLab):
        report.sections.append(("the server's log", lab.server.output[-_LOG_SHOWN:]))
    return report


@pytest.fixture(scope="session")
def certbot_command() -> Path:
    """The certbot command."""
    return install_certbot()


@pytest.fixture(scope="module")
def server() -> Iterator[LabServer]:
    """A server in lab mode, one for the tests of a module."""
    with LabServer() as lab:
        yield lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientLab]:
    """The server that the tests of clients share, with its DNS zone."""
    with client_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lego(lab: ClientLab, tmp_path: Path) -> Lego:
    """lego with an account and folders of its own, writing the lab's zone for dns-01."""
    environment = {"EXEC_PATH": str(lab.zone.hook), "EXEC_SEQUENCE_INTERVAL": "0"}
    command = system_command("lego", package="lego")
    return Lego(command, lab.directory_url, lab.roots, tmp_path / "lego", environment)


@pytest.fixture
def lab_certbot(certbot_command: Path, lab: ClientLab, tmp_path: Path) -> Certbot:
    """certbot with an account and folders of its own, for the shared server."""
    return Certbot(certbot_command, lab.directory_url, lab.roots, tmp_path / "certbot")


@pytest.fixture
def certbot(certbot_command: Path, server: LabServer, tmp_path: Path) -> Certbot:
    """certbot with an account and folders of its own."""
    return Certbot(certbot_command, server.directory_url, server.roots, tmp_path / "certbot")
