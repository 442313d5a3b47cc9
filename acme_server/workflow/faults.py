"""Named points at which a test makes the process die, fail or wait; nothing in operation.

Armed by the environment, ``ACME_SERVER_FAULTS="claimed=kill,signed=error"``: the first passage of
the point kills the process, raises, or sleeps two seconds. ``claimed=kill@PATH`` does so once for
all processes: whoever can create the file ``PATH``. Read once at import, so an unarmed point costs
one lookup in an empty mapping.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

ENVIRONMENT = "ACME_SERVER_FAULTS"
POINTS = frozenset(
    {
        "before_claim",
        "claimed",
        "signed",
        "completed",
        "answer_committed",
        "validated",
        "concluded",
        "order_created",
        "account_created",
    }
)


class InjectedFault(Exception):
    """Raised at a point armed with ``error``."""


def fault(point: str) -> None:
    """Do what the point ``point`` is armed with; raises InjectedFault for ``error``."""
    armed = _armed.pop(point, None)
    if armed is None:
        return
    action, _, once = armed.partition("@")
    if once and not _is_first(Path(once)):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "delay":
        time.sleep(2)
    else:
        raise InjectedFault(point)


def _is_first(flag: Path) -> bool:
    try:
        flag.touch(exist_ok=False)
    except OSError:
        return False
    return True


def _parse(text: str) -> dict[str, str]:
    armed = dict(entry.split("=", 1) for entry in text.split(",") if "=" in entry)
    if unknown := armed.keys() - POINTS:
        raise ValueError(f"{ENVIRONMENT} names unknown points: {', '.join(sorted(unknown))}")
    return armed


_armed = _parse(os.environ.get(ENVIRONMENT, ""))
