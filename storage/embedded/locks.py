"""Who may use a data directory: locks that the kernel gives back however their holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

# Others look whether a lock is held by taking it for a moment; a holder-to-be outlasts them.
MOMENT = 1.0
_PAUSE = 0.02


class FileLock:
    """An flock on a small file that says who holds it."""

    def __init__(self, path: Path, create: Callable[[Path], int]) -> None:
        self._path = path
        self._create = create
        self._descriptor: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def take(self, *, patience: float = MOMENT, waiting: Callable[[], None] | None = None) -> bool:
        """Take it for us alone, trying for ``patience`` seconds; False if another holds it.

        ``waiting`` is called between two attempts; what it raises ends the waiting.
        """
        if not self._try_for(fcntl.LOCK_EX, patience, waiting):
            return False
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return True

    def share(self, *, patience: float = MOMENT, waiting: Callable[[], None] | None = None) -> bool:
        """Hold it together with others that share it; False if one holds it alone."""
        return self._try_for(fcntl.LOCK_SH, patience, waiting)

    def release(self) -> None:
        """Give it back; the file stays, since another may be waiting for it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try_for(self, mode: int, patience: float, waiting: Callable[[], None] | None) -> bool:
        descriptor = self._create(self._path)
        try:
            deadline = time.monotonic() + patience
            while not _try_lock(descriptor, mode):
                if time.monotonic() >= deadline:
                    return False
                if waiting is not None:
                    waiting()
                time.sleep(_PAUSE)
            self._descriptor, descriptor = descriptor, -1
            return True
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether someone holds the lock in ``path`` alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """The pid of who took the lock last, None where nobody wrote it."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
