"""The banner's lines are what a reader pastes into a shell."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from acme_server.config.loader import load_settings
from acme_server.config.settings import Settings
from acme_server.process.banner import ready_banner


def lab_settings(data_dir: str = "/home/me/acme-server-data") -> Settings:
    """Lab mode in that directory."""
    return dataclasses.replace(load_settings(None, {}), data_dir=Path(data_dir))


def line_with(banner: str, text: str) -> str:
    """The one line of the banner that has the text."""
    (line,) = [line.strip() for line in banner.splitlines() if text in line]
    return line


def test_lab_mode_is_named_with_its_directory_and_its_root() -> None:
    banner = ready_banner(lab_settings())

    assert "acme-server is ready: https://localhost:14000/directory" in banner
    assert "lab mode" in banner
    assert "/home/me/acme-server-data/roots.pem" in banner
    assert "https://localhost:14000/roots.pem" in banner


def test_certbot_needs_nothing_but_python_and_no_root() -> None:
    words = shlex.split(line_with(ready_banner(lab_settings()), "certbot certonly"))

    assert words[:5] == ["python3", "-m", "venv", "acme-lab", "&&"]
    assert words[5:9] == ["acme-lab/bin/pip", "install", "-q", "certbot"]
    assert "REQUESTS_CA_BUNDLE=/home/me/acme-server-data/roots.pem" in words
    options = words[words.index("certonly") + 1 :]
    values = dict(pairwise(options))
    assert values["--server"] == "https://localhost:14000/directory"
    assert values["--http-01-port"] == "5002"
    assert values["-d"] == "demo.localhost"
    folders = {values[f"--{name}-dir"] for name in ("config", "work", "logs")}
    assert folders == {"acme-lab/config", "acme-lab/work", "acme-lab/logs"}
    assert {"--standalone", "--agree-tos", "--non-interactive"} <= set(options)
    assert "--register-unsafely-without-email" in options


def test_acme_sh_asks_the_same_server() -> None:
    words = shlex.split(line_with(ready_banner(lab_settings()), "acme.sh --issue"))
    values = dict(pairwise(words))

    assert values["--server"] == "https://localhost:14000/directory"
    assert values["--httpport"] == "5002"
    assert values["--ca-bundle"] == "/home/me/acme-server-data/roots.pem"
    assert values["-d"] == "demo.localhost"


def test_openssl_checks_what_certbot_got() -> None:
    words = shlex.split(line_with(ready_banner(lab_settings()), "openssl verify"))

    live = "acme-lab/config/live/demo.localhost"
    assert words[:4] == ["openssl", "verify", "-CAfile", "/home/me/acme-server-data/roots.pem"]
    assert words[4:] == ["-untrusted", f"{live}/chain.pem", f"{live}/cert.pem"]


@pytest.mark.parametrize("data_dir", ["/home/a b/data", "/home/$HOME/`id`/data", "/home/it's/data"])
def test_odd_paths_are_quoted(data_dir: str) -> None:
    banner = ready_banner(lab_settings(data_dir))

    for text in ("certbot certonly", "openssl verify", "acme.sh --issue"):
        line = line_with(banner, text)
        assert any(f"{data_dir}/roots.pem" in word for word in shlex.split(line))
        subprocess.run(["bash", "-n", "-c", line], check=True)


def test_outside_of_lab_mode_only_the_directory_is_named() -> None:
    settings = load_settings(
        None,
        {
            "ACME_SERVER__SERVER__EXTERNAL_URL": "https://acme.example",
            "ACME_SERVER__SERVER__STATUS_URL": "http://acme.example",
        },
    )

    assert ready_banner(settings) == "\nacme-server is ready: https://acme.example/directory\n"
