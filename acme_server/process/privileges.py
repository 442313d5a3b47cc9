"""What a process may do: giving root up for good, ending with the parent, limits."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def become(account: str | None) -> None:
    """As root: become ``account`` for good, with its groups. Otherwise nothing is to be done.

    From here on no program that this process starts gains privileges, either.
    """
    if account is not None and os.geteuid() == 0:
        entry = pwd.getpwnam(account)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.umask(0o077)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` dies; ends it now if that is so already.

    Call it after ``become``, which clears it, and from the main thread. Only Linux has it;
    elsewhere the end of the channel ends the process.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def forbid_core_dumps() -> None:
    """Keys in memory must not come to lie on a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def raise_file_limit() -> None:
    """Allow as many open files as we may: each connection is one, and the usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
