"""The files in deploy/ are what their tools accept, and agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from acme_server.config.loader import load_settings
from support.checkout import ROOT

_COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]


def test_compose_gives_secrets_by_file_only() -> None:
    text = (ROOT / "deploy/compose.yaml").read_text()

    assert all(set(secret) == {"file"} for secret in _COMPOSE["secrets"].values())
    assert not re.search(r"(?i)(password|key)(?!_FILE)\w*:\s*['\"]?\w", text.split("services:")[1])


def test_compose_uses_what_it_declares() -> None:
    used = {name for service in _SERVICES.values() for name in service["secrets"]}
    volumes = {
        volume.split(":")[0]
        for service in _SERVICES.values()
        for volume in service.get("volumes", [])
    }

    assert used == set(_COMPOSE["secrets"])
    for volume in volumes:
        assert volume in _COMPOSE["volumes"] or (ROOT / "deploy" / volume).exists()


def test_compose_starts_the_server_once_the_database_is_healthy() -> None:
    depends = _SERVICES["server"]["depends_on"]["postgres"]

    assert depends == {"condition": "service_healthy"}
    assert "pg_isready" in _SERVICES["postgres"]["healthcheck"]["test"]


def test_compose_publishes_what_the_image_exposes() -> None:
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert exposed is not None
    assert [port.split(":")[1] for port in _SERVICES["server"]["ports"]] == exposed[1].split()


def test_compose_configuration_names_the_mounted_secrets_and_roles() -> None:
    configuration = yaml.safe_load((ROOT / "deploy/config.compose.yaml").read_text())
    roles = (ROOT / "deploy/postgres-roles.sh").read_text()

    assert configuration["secrets"]["master_key"] == "file:/run/secrets/master_key"
    for key, role in (("url", "acme_app"), ("owner_url", "acme_owner")):
        assert configuration["database"][key].startswith(f"postgresql://{role}:")
        assert f"CREATE ROLE {role} LOGIN" in roles


def yaml_blocks(page: str) -> list[str]:
    """The configurations that a page shows whole."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    return [block for block in blocks if block.startswith("data_dir:")]


def test_configurations_shown_are_what_the_server_accepts(tmp_path: Path) -> None:
    shown = [(ROOT / "deploy/config.compose.yaml").read_text(), *yaml_blocks("docs/tutorial.md")]

    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert not load_settings(file, {}).lab
    assert len(shown) == 2


def test_kubernetes_runs_the_images_user_and_ports_without_rights() -> None:
    deployment, service, budget = yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    image = (ROOT / "Dockerfile").read_text()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    security = pod["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in image
    assert f"EXPOSE {ports['acme']} {ports['status']}\n" in image
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    for selector in (service["spec"]["selector"], budget["spec"]["selector"]["matchLabels"]):
        assert selector == pod["metadata"]["labels"]


@pytest.mark.parametrize("script", ["deploy/container-entrypoint", "deploy/postgres-roles.sh"])
def test_shell_scripts_parse(script: str) -> None:
    result = subprocess.run(
        ["sh", "-n", ROOT / script], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "acme-server.service"
    text = (ROOT / "deploy/acme-server.service").read_text()
    unit.write_text(
        text.replace("/opt/acme-server/bin/acme-server", shutil.which("true") or "/bin/true")
    )

    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "Unknown" not in result.stderr
