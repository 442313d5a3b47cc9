"""An embedded database of the test's own, in a short directory that any account may enter."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.embedded import EmbeddedPostgres
from support.embedded import make_open_directory
from support.postgres import find_bin_dir

Embedded = Callable[..., EmbeddedPostgres]


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A short directory that other accounts may pass through."""
    path = make_open_directory()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def data_dir(open_dir: Path) -> Path:
    """Where a data directory may be made."""
    return open_dir / "data"


@pytest.fixture(scope="session")
def made_data_dir() -> Iterator[Path]:
    """A data directory with a database that was started once and stopped."""
    above = make_open_directory()
    database = EmbeddedPostgres(above / "data", bin_dir=find_bin_dir())
    database.start()
    database.stop()
    yield above / "data"
    shutil.rmtree(above)


@pytest.fixture
def embedded(data_dir: Path) -> Iterator[Embedded]:
    """Makes embedded databases, by default one in ``data_dir`` with the binaries of the run."""
    made = []

    def make(
        path: Path = data_dir, *, bin_dir: Path | None = None, **options: Any
    ) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(path, bin_dir=bin_dir or find_bin_dir(), **options))
        return made[-1]

    yield make
    for database in made:
        database.stop()


@pytest.fixture
def stopped(made_data_dir: Path, data_dir: Path, embedded: Embedded) -> EmbeddedPostgres:
    """An embedded database in ``data_dir`` that was made before and does not run yet."""
    subprocess.run(["cp", "-a", made_data_dir, data_dir], check=True)
    return embedded()


@pytest.fixture
def running(stopped: EmbeddedPostgres) -> EmbeddedPostgres:
    """An embedded database in ``data_dir`` that runs."""
    stopped.start()
    return stopped
