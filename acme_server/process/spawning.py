"""Making a child process: what it inherits, what it is told, how its end is noticed."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from acme_server.app.context import ProcessContext
from acme_server.process.channel import Channel
from acme_server.process.handover import Handover, encode_handover
from acme_server.process.program import MODULES, Program, Role
from acme_server.process.tlsfiles import TlsPem
from acme_server.workflow.faults import ENVIRONMENT as FAULTS

# All that a child learns from the environment; what it must know is in its handover.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", FAULTS)
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What children are started with; another ``generation`` for each change of it."""

    context: ProcessContext
    tls: TlsPem | None
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A process just made. ``serial`` tells it from all others, as a pid doesn't."""

    process: subprocess.Popen[bytes]
    channel: Channel
    serial: int


class Spawner:
    """Makes children of a program."""

    def __init__(self, program: Program, listeners: Mapping[str, socket.socket]) -> None:
        self._program = program
        self._listeners = listeners
        self._serials = itertools.count(1)

    async def spawn(self, role: Role, orders: Orders) -> Spawned:
        """Start a process. Raises OSError when the system has no room for one.

        Runs on the main thread: where the kernel ends children with their parent, it takes the
        thread that made them for it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            listeners = self._descriptors() if role is Role.HTTP else {}
            try:
                process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own program, at once
                    # -P: what lies in the working directory is not to be imported.
                    [sys.executable, "-P", "-m", MODULES[role]],
                    stdin=subprocess.PIPE,
                    stdout=sys.stderr.fileno(),
                    pass_fds=(theirs.fileno(), *listeners.values()),
                    env=child_environment(os.environ),
                    cwd="/",
                    # The terminal's Ctrl-C is for the parent.
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
            handover = Handover(
                context=orders.context,
                factory=self._program.factory(role),
                loop=self._program.loop,
                parent=os.getpid(),
                channel=theirs.fileno(),
                listeners=listeners,
                tls=orders.tls if role is Role.HTTP else None,
            )
        try:
            await _tell(process, encode_handover(handover))
            channel = await Channel.open(ours)
        except BaseException:
            process.kill()
            process.wait()
            ours.close()
            raise
        return Spawned(process=process, channel=channel, serial=next(self._serials))

    def _descriptors(self) -> dict[str, int]:
        return {name: listener.fileno() for name, listener in self._listeners.items()}


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: nothing that tells secrets or settings."""
    kept = {name: environ[name] for name in _PASSED_ON if name in environ}
    if path := environ.get("PYTHONPATH"):
        # The child starts elsewhere.
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return kept


async def wait_for_exit(process: subprocess.Popen[bytes]) -> int:
    """The exit status (negative: by that signal), once there is one."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        # Not Linux, or an old one.
        while process.poll() is None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(_POLL_SECONDS)
        return process.wait()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


async def _tell(process: subprocess.Popen[bytes], document: bytes) -> None:
    """Write the handover, whenever the child comes to read it; lost if it dies before."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
    transport.write(document)
    transport.close()
