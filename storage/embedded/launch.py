"""Runs apart, as a script: becomes another account, then PostgreSQL's postmaster.

A process of its own instead of ``preexec_fn``, which is not safe in a parent with threads. It is
started by path and imports nothing of ours: the account it becomes may not be able to read where
our code lies.

``launch.py run PARENT UID GID PROGRAM ARGUMENT…`` executes the program;
``launch.py reach UID GID PATH…`` prints the first path that the account can't enter or execute.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    match arguments:
        case ["run", parent, uid, gid, *command]:
            run(int(parent), int(uid), int(gid), command)
        case ["reach", uid, gid, *paths]:
            become(int(uid), int(gid))
            sys.stdout.write(next((path for path in paths if not os.access(path, os.X_OK)), ""))
        case _:
            sys.exit("launch.py is started by the embedded database only")


def run(parent: int, uid: int, gid: int, command: list[str]) -> None:
    """Execute ``command`` as the account, in a process that ends with ``parent``."""
    # Loaded as long as we may read it.
    import ctypes

    libc = ctypes.CDLL(None)
    become(uid, gid)
    os.umask(0o077)
    if sys.platform == "linux":
        # Only now: the kernel forgets it when the account changes.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent has gone")
    # Python ignores these two, and an ignored signal stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def become(uid: int, gid: int) -> None:
    """Give up root for good; nothing to do for who is that account already."""
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


if __name__ == "__main__":
    main(sys.argv[1:])
