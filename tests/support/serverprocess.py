"""A stand-in server (``support.standin``) as a process: started, steered, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from benchmarks.lab import free_port
from support.checkout import ROOT
from support.embedded import make_open_directory

PATIENCE = 40.0
_PAUSE = 0.02


def until(condition: Callable[[], bool], what: str, server: ServerProcess | None = None) -> None:
    """Wait until ``condition`` holds; otherwise fails the test and shows ``server``'s output."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        output = server.output if server is not None else ""
        assert time.monotonic() < deadline, f"it did not happen: {what}\n{output}"
        time.sleep(_PAUSE)


class ServerProcess:
    """One server. ``settings`` are sections of the configuration."""

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.data_dir = make_open_directory()
        self.port, self.status_port, self.ops_port = free_port(), free_port(), free_port()
        self._given = settings or {}
        self._environment = environment or {}
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None
        self._events: list[dict[str, Any]] = []
        self._read_to = 0
        self.configure()

    @property
    def pid(self) -> int:
        """The parent."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """All that was written so far, to both streams."""
        return self._file("output").read_text(errors="replace")

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events logged so far."""
        with self._file("output").open("rb") as output:
            output.seek(self._read_to)
            whole, end, _ = output.read().rpartition(b"\n")
        self._read_to += len(whole + end)
        self._events += [json.loads(line) for line in whole.splitlines() if line[:1] == b"{"]
        return self._events

    def events_named(self, name: str) -> list[dict[str, Any]]:
        """The events of that name."""
        return [event for event in self.events if event["event"] == name]

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Write the configuration, with these settings beside those given at first."""
        server = {
            "listen": f"127.0.0.1:{self.port}",
            "external_url": f"http://localhost:{self.port}",
            "status_listen": f"127.0.0.1:{self.status_port}",
            "ops_listen": f"127.0.0.1:{self.ops_port}",
            "tls": "off",
        }
        whole: dict[str, Any] = {"data_dir": str(self.data_dir), "server": server}
        for given in (self._given, sections):
            for name, section in given.items():
                whole[name] = {**whole.get(name, {}), **section}
        self._file("config.yaml").write_text(yaml.safe_dump(whole))

    def spawn(self) -> None:
        """Start the process."""
        with self._file("output").open("ab") as output:
            self.spawn_writing_to(output.fileno())

    def spawn_on_terminal(self, descriptor: int) -> None:
        """Start the process as the leader of a session on that terminal."""
        take_it = "import fcntl, os, runpy, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
        take_it += "runpy.run_module('support.standin', run_name='__main__', alter_sys=True)"
        self.spawn_writing_to(descriptor, ["-c", take_it], start_new_session=True)

    def spawn_writing_to(
        self,
        descriptor: int,
        arguments: Sequence[str] = ("-m", "support.standin"),
        *,
        start_new_session: bool = False,
    ) -> None:
        """Start the process with both output streams going elsewhere."""
        path = [str(ROOT), str(ROOT / "tests")]
        loop = {"STANDIN_LOOP": os.environ.get("ACME_SERVER_TEST_LOOP") or "uvloop"}
        self._process = subprocess.Popen(
            [sys.executable, *arguments, str(self._file("config.yaml"))],
            env=os.environ | loop | {"PYTHONPATH": os.pathsep.join(path)} | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=self.data_dir,
            pass_fds=self._pass_fds,
            start_new_session=start_new_session,
        )

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.spawn()
        until(lambda: "acme-server is ready" in self.output or self.status is not None, "a start")
        assert self.status is None, self.output

    def wait_for_event(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait until ``name`` was logged ``count`` times; the last of them."""

        def is_there() -> bool:
            return len(self.events_named(name)) >= count or self.status is not None

        until(is_there, f"{count} of {name}", self)
        found = self.events_named(name)
        assert len(found) >= count, self.output
        return found[count - 1]

    @property
    def status(self) -> int | None:
        """How the process ended; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit status, once it ended."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def set(self, name: str) -> None:
        """Steer: see ``support.standin``."""
        self._file(name).touch()

    def unset(self, name: str) -> None:
        """The opposite."""
        self._file(name).unlink()

    def is_set(self, name: str) -> bool:
        """Whether the file is there."""
        return self._file(name).exists()

    def pids(self, role: str) -> set[int]:
        """The children that serve or work now, by the log."""
        pids: set[int] = set()
        for event in self.events:
            if event.get("child_role") != role:
                continue
            if event["event"] == "process_started":
                pids.add(event["child"])
            elif event["event"] in ("process_ended", "process_died"):
                pids.discard(event["child"])
        return pids

    def wait_for_pids(
        self, role: str, count: int, *, other_than: set[int] | None = None
    ) -> set[int]:
        """Wait until exactly ``count`` children are there, none of ``other_than``."""
        avoided = other_than or set()

        def is_so() -> bool:
            found = self.pids(role)
            return len(found) == count and not found & avoided

        until(is_so, f"{count} of {role}", self)
        return self.pids(role)

    def get(self, path: str, *, port: int | None = None, body: str | None = None) -> Any:
        """The JSON document at ``path`` of the ACME listener, over a connection of its own."""
        status, answer = self.fetch(path, port=port, body=body)
        assert status == 200, answer
        return json.loads(answer)

    def fetch(
        self, path: str, *, port: int | None = None, body: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        with contextlib.closing(HTTPConnection("127.0.0.1", port or self.port, PATIENCE)) as wire:
            wire.request("GET" if body is None else "POST", path, body)
            answer = wire.getresponse()
            return answer.status, answer.read()

    def ops(self, path: str) -> tuple[int, str]:
        """Status and text of an answer of the operations listener."""
        status, body = self.fetch(path, port=self.ops_port)
        return status, body.decode()

    def metric(self, sample: str) -> float | None:
        """The value of a sample as it stands in the metrics, with its labels."""
        _, text = self.ops("/metrics")
        values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(sample)]
        return float(values[0]) if values else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.data_dir / name


@contextlib.contextmanager
def running_server(**sections: Mapping[str, Any]) -> Iterator[ServerProcess]:
    """A stand-in server that is ready."""
    with ServerProcess(sections) as server:
        server.start()
        yield server
