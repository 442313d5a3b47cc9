"""Scratch copies of the repository, to plant errors in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("acme_server", "policy", "storage", "validators")
_UNWANTED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of (parts of) the tree, checked with the interpreter that runs the tests."""

    root: Path

    def check(self, stage: str, *pytest_arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one stage of ``.ci/check``, its output captured."""
        return self.run([".ci/check", "--only", stage, "--", *pytest_arguments])

    def lint_imports(self, contract: str) -> subprocess.CompletedProcess[str]:
        """Check one contract of the import rules."""
        code = "from importlinter.cli import lint_imports_command as main; main()"
        return self.run([sys.executable, "-c", code, "--no-cache", "--contract", contract])

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in the copy; both outputs come together."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
        }
        return subprocess.run(
            command,
            cwd=self.root,
            env=environment | {"PYTHON": sys.executable, "PYTHONPATH": str(self.root)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
            check=False,
        )

    def plant(self, path: str, text: str) -> None:
        """Write a file that was not there."""
        file = self.root / path
        assert not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def append(self, path: str, text: str) -> None:
        """Write at the end of a file that is there."""
        file = self.root / path
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def copy_tree(target: Path, parts: Iterable[str]) -> Checkout:
    """A copy of the named files and folders of the repository."""
    for part in parts:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=_UNWANTED)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / part)
    return Checkout(target)
