"""Telling systemd how the service is (sd_notify(3)); nothing elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

READY = "READY=1"
STOPPING = "STOPPING=1"
_PATIENCE_SECONDS = 30


def notify(state: str) -> None:
    """Send ``READY=1`` and the like; never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.connect("\0" + address[1:] if address[0] == "@" else address)
        end.sendall(state.encode())


def reloading() -> str:
    """The state that begins a reload; READY ends it (``Type=notify-reload`` wants the time)."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


async def ask_for_patience() -> None:
    """Until cancelled: the start may take as long as it takes, a database may be down for hours."""
    while True:
        notify(f"EXTEND_TIMEOUT_USEC={_PATIENCE_SECONDS * 1_000_000}")
        await asyncio.sleep(_PATIENCE_SECONDS / 3)


async def feed_watchdog() -> None:
    """Until cancelled: tell twice per period (``WatchdogSec=``) that this loop turns."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(
        os.getpid()
    ):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)
