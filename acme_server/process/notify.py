"""Telling systemd how the service is (sd_notify(3)); nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send ``READY=1``, ``RELOADING=1``, ``STOPPING=1`` or the like; never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
    ):
        end.connect("\0" + address[1:] if address[0] == "@" else address)
        end.sendall(state.encode())
