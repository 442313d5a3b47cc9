"""certbot as its users run it: in an environment of its own, with its own folders."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.environments import install_python


def install_certbot() -> Path:
    """The certbot command."""
    return install_python("certbot") / "certbot"


@dataclass(frozen=True, slots=True)
class Lineage:
    """The files of one certificate as certbot keeps them."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The certificate alone."""
        return self.folder / "cert.pem"

    @property
    def chain(self) -> Path:
        """The CA certificates below the root."""
        return self.folder / "chain.pem"

    @property
    def fullchain(self) -> Path:
        """The certificate and the CA certificates."""
        return self.folder / "fullchain.pem"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "privkey.pem"


@dataclass(frozen=True, slots=True)
class Certbot:
    """certbot against one server, trusting ``roots``; its state lies below ``folder``."""

    command: Path
    directory_url: str
    roots: Path
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a subcommand without questions; outputs together, any exit status."""
        return subprocess.run(
            [
                self.command,
                *arguments,
                "--non-interactive",
                *("--server", self.directory_url),
                *("--config-dir", self.folder / "config"),
                *("--work-dir", self.folder / "work"),
                *("--logs-dir", self.folder / "logs"),
            ],
            env=os.environ | {"REQUESTS_CA_BUNDLE": str(self.roots)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def certonly(self, *arguments: str, name: str) -> Lineage:
        """Obtain a certificate, kept under ``name``; fails the test if certbot fails."""
        result = self.run(
            "certonly",
            "--agree-tos",
            "--register-unsafely-without-email",
            *("--cert-name", name),
            *arguments,
        )
        assert result.returncode == 0, result.stdout
        return self.lineage(name)

    def lineage(self, name: str) -> Lineage:
        """The files of the certificate kept under ``name``."""
        return Lineage(self.folder / "config/live" / name)
