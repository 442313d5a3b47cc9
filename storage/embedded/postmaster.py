"""One run of PostgreSQL's postmaster, as a child that ends with this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.account import launcher
from storage.embedded.directories import PORT, DataDirectory, remove_sockets
from storage.embedded.installation import Installation

# On the command line, where neither a file nor ALTER SYSTEM overrides them.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0777",  # the directory is private
    # Acknowledged means durable.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # A small server.
    "shared_buffers": "64MB",
    "max_connections": "200",
    "jit": "off",
    "timezone": "UTC",
    # A week of logs, without statements: they hold passwords when roles are made.
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_error_statement": "panic",
}

# Seconds for a stop that rolls back and writes a checkpoint, then for one that does neither.
_FAST_STOP = 20.0
_IMMEDIATE_STOP = 5.0
_PAUSE = 0.005
_LOG_TAIL = 2000
_LOG_OPENED = "redirecting log output"


class Postmaster:
    """The process. Made by ``spawn``, on the main thread."""

    def __init__(self, installation: Installation, process: subprocess.Popen[bytes]) -> None:
        self._installation = installation
        self._process = process

    @classmethod
    def spawn(cls, installation: Installation) -> Postmaster:
        """Start PostgreSQL; it takes connections as soon as ``is_ready``."""
        if threading.current_thread() is not threading.main_thread():
            # The kernel ends the child when the thread that made it ends, not the process.
            raise RuntimeError("PostgreSQL is started from the main thread only")
        directory = installation.directory
        account = installation.account
        remove_sockets(installation.socket_directory)
        log = directory.open_file(directory.log)
        os.ftruncate(log, 0)
        try:
            process = subprocess.Popen(  # noqa: S603
                launcher(
                    *("run", str(os.getpid()), str(account.uid), str(account.gid)),
                    installation.binaries.program("postgres"),
                    *("-D", str(directory.cluster)),
                    *(f"--{name}={value}" for name, value in SETTINGS.items()),
                    f"--unix_socket_directories={installation.socket_directory}",
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=postgres_environment(directory.cluster),
                # Ctrl-C is for the server, which stops its database last.
                start_new_session=True,
            )
        finally:
            os.close(log)
        return cls(installation, process)

    @property
    def pid(self) -> int:
        """The pid of the postmaster."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs."""
        return self._process.poll()

    def is_ready(self) -> bool:
        """Whether it takes connections; False also during crash recovery."""
        state = read_pid_file(self._installation.directory.cluster)
        return state is not None and state.pid == self.pid and state.is_ready

    def stop(self) -> None:
        """Stop it: politely, then at once, then by force."""
        for number, patience in (
            (signal.SIGINT, _FAST_STOP),
            (signal.SIGQUIT, _IMMEDIATE_STOP),
            (signal.SIGKILL, None),
        ):
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return


@dataclass(frozen=True, slots=True)
class PidFile:
    """What ``postmaster.pid`` says."""

    pid: int
    is_ready: bool


def read_pid_file(cluster: Path) -> PidFile | None:
    """The state of a cluster by its own words; they may be those of a server long dead."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return PidFile(int(lines[0]), len(lines) >= 8 and lines[7].strip() == "ready")
    except (FileNotFoundError, IndexError, ValueError):
        return None


def is_alive(pid: int) -> bool:
    """Whether there is a process of that pid, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_orphan(cluster: Path) -> None:
    """End a postmaster of this cluster whose parent is gone, as on systems without PDEATHSIG.

    The caller holds the lock of the database, so nobody else is responsible for it.
    """
    state = read_pid_file(cluster)
    if state is None or not _is_postmaster_of(cluster, state.pid):
        return
    for number, patience in ((signal.SIGINT, _FAST_STOP), (signal.SIGQUIT, _IMMEDIATE_STOP)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not _is_postmaster_of(cluster, state.pid):
                return
            time.sleep(_PAUSE)


def last_words(directory: DataDirectory) -> str:
    """The end of what PostgreSQL said, in its own log if it came to open one."""
    text = directory.log.read_text(encoding="utf-8", errors="replace")
    if _LOG_OPENED in text:
        newest = max((directory.cluster / "log").glob("*.log"), key=_age, default=directory.log)
        text = newest.read_text(encoding="utf-8", errors="replace")
    return text.strip()[-_LOG_TAIL:]


def postgres_environment(cluster: Path) -> dict[str, str]:
    """No secrets of ours, nothing of libpq, messages in English.

    After a restart of a container a stale ``postmaster.pid`` may name some other live process,
    and PostgreSQL would not start beside it. It excuses its own grandparent, so that is what the
    process is called. Shared memory still in use is noticed as ever.
    """
    kept = ("LD_LIBRARY_PATH", "TMPDIR", "TZDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    state = read_pid_file(cluster)
    if state is not None and not _is_postmaster_of(cluster, state.pid):
        environment["PG_GRANDPARENT_PID"] = str(state.pid)
    return environment


def _is_postmaster_of(cluster: Path, pid: int) -> bool:
    """Whether ``pid`` is a live PostgreSQL of this cluster: it works in its directory."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(cluster)
    except OSError:
        return False


def _age(path: Path) -> float:
    return path.stat().st_mtime
