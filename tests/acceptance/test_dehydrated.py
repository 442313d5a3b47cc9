"""dehydrated proves control by dns-01 with a hook, as its page describes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.clientlab import ClientLab
from support.environments import system_command
from support.issued import Issued

# dehydrated calls it with other first words too, which must be ignored.
_HOOK = """#!/bin/sh
case "$1" in
deploy_challenge) exec "{zone_hook}" present "_acme-challenge.$2" "$4" ;;
clean_challenge) exec "{zone_hook}" cleanup "_acme-challenge.$2" "$4" ;;
esac
"""


@pytest.fixture
def config(lab: ClientLab, tmp_path: Path) -> Path:
    """dehydrated's configuration for the lab's server and zone."""
    hook = tmp_path / "hook"
    hook.write_text(_HOOK.format(zone_hook=lab.zone.hook))
    hook.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        f"CA={lab.directory_url}\n"
        f"BASEDIR={tmp_path}\n"
        f'CURL_OPTS="--cacert {lab.roots}"\n'
        f"CHALLENGETYPE=dns-01\n"
        f"HOOK={hook}\n"
        f"KEY_ALGO=secp384r1\n"
    )
    return config


def run(config: Path, *arguments: str) -> None:
    """Run dehydrated; fails the test if it fails."""
    command = system_command("dehydrated", package="dehydrated")
    result = subprocess.run(
        [command, "--config", config, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_dns01_certifies_a_wildcard_and_its_base(config: Path, lab: ClientLab) -> None:
    run(config, "--register", "--accept-terms")

    names = ("dehydrated.test", "*.dehydrated.test")
    run(config, "--cron", *(word for name in names for word in ("--domain", name)))

    folder = config.parent / "certs/dehydrated.test"
    Issued(folder / "fullchain.pem", folder / "privkey.pem").check(lab.roots, *names)
