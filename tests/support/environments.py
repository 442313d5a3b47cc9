"""Where the clients that the tests drive come from.

Those of package registries are installed from files locked with hashes, each into an environment of
its own, once per machine and lock file. Those of the system are named in ``.ci/run``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.checkout import ROOT

_LOCKS = ROOT / "tests/acceptance"


def install_python(name: str) -> Path:
    """The folder of the commands of the environment that ``tests/acceptance/NAME.txt`` locks."""
    lock = _LOCKS / f"{name}.txt"
    with _once(name, lock.read_bytes() + sys.version.encode()) as (folder, is_new):
        if is_new:
            venv.create(folder, with_pip=True, clear=False)
            _run(folder / "bin/pip", "install", "-q", "--require-hashes", "-r", lock, cwd=folder)
    return folder / "bin"


def install_node(name: str) -> Path:
    """The ``node_modules`` that ``tests/acceptance/NAME/package-lock.json`` locks.

    No package's own scripts run.
    """
    npm = system_command("npm", package="npm")
    lock = _LOCKS / name / "package-lock.json"
    with _once(name, lock.read_bytes()) as (folder, is_new):
        if is_new:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(lock.parent / file, folder)
            options = ("--silent", "--ignore-scripts", "--no-audit", "--no-fund")
            _run(npm, "ci", *options, cwd=folder)
    return folder / "node_modules"


def system_command(name: str, *, package: str) -> Path:
    """The path of a command of the system; without it the test is skipped, but not in CI."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed (Debian's package: {package})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(path)


@contextmanager
def _once(name: str, content: bytes) -> Iterator[tuple[Path, bool]]:
    """A folder for ``content``, and whether it has yet to be filled; one process at a time."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"acme-server-{name}-{digest}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, not (folder / "complete").exists()
        (folder / "complete").touch()


def _run(*words: str | Path, cwd: Path) -> None:
    subprocess.run(words, cwd=cwd, check=True, stdin=subprocess.DEVNULL)
