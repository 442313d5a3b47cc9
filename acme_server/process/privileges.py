"""Giving root up, and dying with the parent."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become(account: str | None) -> None:
    """Become ``account`` for good, with its groups; None or oneself: nothing to do."""
    if account is None or os.geteuid() != 0:
        return
    entry = pwd.getpwnam(account)
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when the parent dies, and end now if it is dead already.

    Call it after ``become``, which clears it, and from the main thread. Only Linux has it;
    elsewhere the closed channel ends the process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
