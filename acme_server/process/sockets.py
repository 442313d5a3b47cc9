"""Listening sockets: bound early by the parent, inherited by every child that serves them."""

from __future__ import annotations

import os
import socket

from acme_server.config.settings import Settings
from acme_server.config.values import Endpoint

_BACKLOG = 1024


class ListenFailed(Exception):
    """A socket can't be bound; the text names the setting and the remedy."""


def bind_listeners(settings: Settings) -> dict[str, socket.socket]:
    """Bound, not yet listening sockets: ``acme``, ``status`` and ``ops``.

    Nobody connects before ``open_listeners``, but a second server on these ports is found at once.
    Raises ListenFailed.
    """
    server = settings.server
    wanted = {
        "acme": ("server.listen", server.listen),
        "status": ("server.status_listen", server.status_listen),
        "ops": ("server.ops_listen", server.ops_listen),
    }
    return {name: _bind(setting, endpoint) for name, (setting, endpoint) in wanted.items()}


def open_listeners(listeners: dict[str, socket.socket]) -> None:
    """Let connections in."""
    for listener in listeners.values():
        listener.listen(_BACKLOG)


def _bind(setting: str, endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Small answers must not wait for an acknowledgement; accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((str(endpoint.address), endpoint.port))
    except OSError as error:
        listener.close()
        raise ListenFailed(
            f"{setting}: can't listen on {endpoint}: {os.strerror(error.errno or 0)}; "
            f"stop what uses it, or set {setting} to another address"
        ) from error
    return listener
