"""The README's commands, as a reader pastes them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.lab import free_port
from support.checkout import PACKAGES, ROOT, copy_tree
from support.inspection import names_in, verify_chain


def readme_block(number: int) -> str:
    """The README's code block of this number, counted from 1."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    return str(blocks[number - 1])


@pytest.fixture
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone has of the files that installing needs."""
    folder = tmp_path_factory.mktemp("clone") / "acme-server"
    parts = ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", *PACKAGES)
    return copy_tree(folder, parts).root


@contextmanager
def pasted(command: str, folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A shell that runs ``command``; the file of its output. Ended by Ctrl-C."""
    output = folder / "output"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        ) as shell,
    ):
        try:
            yield output
        finally:
            os.killpg(shell.pid, signal.SIGINT)
            try:
                shell.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)


def wait_until_answered(url: str, roots: Path, output: Path) -> None:
    """Returns when ``url`` answers to who trusts ``roots``; fails the test after minutes."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            context = ssl.create_default_context(cafile=str(roots))
            with urllib.request.urlopen(url, timeout=5, context=context):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(output.read_text(errors="replace"))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where the database's account gets through to, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="acme-readme-"))
    folder.chmod(0o711)
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(600)
def test_first_command_runs_a_server_and_the_banner_has_certbots_line(
    clone: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port, http_port = free_port(), free_port()
    environment = os.environ | {
        "ACME_SERVER__DATA_DIR": str(data_dir),
        "ACME_SERVER__SERVER__LISTEN": f"127.0.0.1:{port}",
        "ACME_SERVER__SERVER__STATUS_LISTEN": f"127.0.0.1:{free_port()}",
        "ACME_SERVER__SERVER__OPS_LISTEN": f"127.0.0.1:{free_port()}",
        "ACME_SERVER__VALIDATION__HTTP_PORT": str(http_port),
    }
    environment.pop("PYTHONPATH", None)

    with pasted(readme_block(1), clone, environment) as output:
        wait_until_answered(f"https://localhost:{port}/directory", data_dir / "roots.pem", output)
        line = certbot_line(output.read_text())
        folder = tmp_path_factory.mktemp("pasted")
        subprocess.run(["bash", "-c", line], cwd=folder, check=True, stdin=subprocess.DEVNULL)

    (live,) = folder.rglob("live/demo.localhost")
    verify_chain(live / "cert.pem", live / "chain.pem", data_dir / "roots.pem")
    assert names_in(live / "cert.pem") == ["demo.localhost"]


def certbot_line(banner: str) -> str:
    """The line of the banner that installs and runs certbot."""
    (line,) = [text.strip() for text in banner.splitlines() if "certbot certonly" in text]
    return line


def test_readme_shows_the_line_that_the_banner_prints(server: object) -> None:
    from benchmarks.lab import LabServer

    assert isinstance(server, LabServer)
    shown = shlex.split(readme_block(3))
    printed = shlex.split(certbot_line(server.output))

    assert [general(word) for word in shown] == [general(word) for word in printed]


def general(word: str) -> str:
    """A word of the line without what differs between installations."""
    word = re.sub(r"localhost:\d+", "localhost:PORT", word)
    word = re.sub(r"\S*/roots\.pem", "ROOTS", word.replace("REQUESTS_CA_BUNDLE=", ""))
    return re.sub(r"^\d+$", "PORT", word)
