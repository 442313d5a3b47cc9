"""A server in lab mode on free ports and with a data directory of its own, as a child process."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.embedded import find_running

_START_SECONDS = 90
_STOP_SECONDS = 30
_given_ports: set[int] = set()


class ServerFailed(Exception):
    """The server ended, or did not answer in time; the text ends with its output."""


def free_port() -> int:
    """A TCP port of loopback that nobody uses, given once; none that outgoing connections take
    for themselves (from 32768 on, on Linux), so that it stays free until it is listened on."""
    while True:
        port = random.randrange(20_000, 32_000)
        if port in _given_ports:
            continue
        _given_ports.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class LabServer:
    """``acme-server run`` in lab mode. ``environment`` adds or changes settings.

    Entering starts it and waits until the directory answers; leaving stops it and removes its data.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.status_port = free_port()
        self.ops_port = free_port()
        self.http_port = free_port()
        self.tls_port = free_port()
        # PostgreSQL's account must get through to its folder.
        self.folder = Path(tempfile.mkdtemp(prefix="acme-lab-"))
        self.folder.chmod(0o711)
        self.data_dir = self.folder / "data"
        self.roots = self.data_dir / "roots.pem"
        self._output = self.folder / "output"
        self.environment = os.environ | self._settings() | dict(environment or {})
        self.command = [sys.executable, "-c", "from acme_server.cli import main; main()", "run"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory_url(self) -> str:
        """The URL of the ACME directory."""
        return f"https://localhost:{self.port}/directory"

    @property
    def pid(self) -> int:
        """The process id of the parent process."""
        assert self._process is not None
        return self._process.pid

    @property
    def database_url(self) -> str:
        """The embedded database, as the role that serves."""
        running = find_running(self.data_dir)
        if running is None:
            raise ServerFailed("the embedded database does not run")
        return running.app_url

    @property
    def output(self) -> str:
        """What the server wrote so far, banner and log."""
        return self._output.read_text(errors="replace")

    def start(self) -> None:
        """Start the server; raises ServerFailed if it doesn't come up."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environment,
            )
        self._wait_for_directory()

    def end(self, how: signal.Signals) -> None:
        """End the parent process with a signal, and wait for that; ``start`` may follow."""
        assert self._process is not None
        os.kill(self.pid, how)
        self._process.wait(_STOP_SECONDS)

    def stop(self) -> int:
        """Stop the server as an operator would; its exit status. Raises ServerFailed."""
        assert self._process is not None
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise ServerFailed(f"the server did not stop\n{self.output}") from None

    def tls_context(self) -> ssl.SSLContext:
        """A client's context that trusts this server's root, and nothing else."""
        return ssl.create_default_context(cafile=str(self.roots))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._remove()

    def _settings(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "ACME_SERVER__DATA_DIR": str(self.data_dir),
            "ACME_SERVER__SERVER__LISTEN": f"127.0.0.1:{self.port}",
            "ACME_SERVER__SERVER__STATUS_LISTEN": f"127.0.0.1:{self.status_port}",
            "ACME_SERVER__SERVER__STATUS_URL": f"http://localhost:{self.status_port}",
            "ACME_SERVER__SERVER__OPS_LISTEN": f"127.0.0.1:{self.ops_port}",
            "ACME_SERVER__VALIDATION__HTTP_PORT": str(self.http_port),
            "ACME_SERVER__VALIDATION__TLS_PORT": str(self.tls_port),
        }

    def _wait_for_directory(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerFailed(
                    f"the server ended with status {self._process.returncode}\n{self.output}"
                )
            with contextlib.suppress(OSError):
                context = self.tls_context()
                with urllib.request.urlopen(self.directory_url, timeout=5, context=context):
                    return
            time.sleep(0.05)
        self._process.kill()
        raise ServerFailed(f"the server did not answer\n{self.output}")

    def _remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def lab_server(**environment: str) -> Iterator[LabServer]:
    """A running server in lab mode with the given settings."""
    with LabServer(environment) as server:
        yield server
