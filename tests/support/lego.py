"""lego as its users run it, with folders of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.issued import Issued


@dataclass(frozen=True, slots=True)
class Lego:
    """lego against one server, trusting ``roots``; its state lies in ``folder``."""

    command: Path
    directory_url: str
    roots: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *options: str, action: str = "run") -> subprocess.CompletedProcess[str]:
        """Run a subcommand; outputs together, any exit status."""
        email = "operator@example.org"
        return subprocess.run(
            [
                *(self.command, "--server", self.directory_url, "--path", self.folder),
                *("--accept-tos", "--email", email, *options, *action.split()),
            ],
            env=os.environ | {"LEGO_CA_CERTIFICATES": str(self.roots)} | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def obtain(self, *options: str, names: tuple[str, ...], action: str = "run") -> Issued:
        """Obtain a certificate; fails the test if lego fails."""
        result = self.run(*options, *(f"--domains={name}" for name in names), action=action)
        assert result.returncode == 0, result.stdout
        return self.issued(names[0])

    def issued(self, name: str) -> Issued:
        """The files of the certificate whose first name is ``name``."""
        base = self.folder / "certificates" / name.replace("*", "_")
        return Issued(base.with_name(f"{base.name}.crt"), base.with_name(f"{base.name}.key"))
