"""Listening sockets: bound early by the parent, inherited by every child that serves them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator

from acme_server.config.settings import Settings
from acme_server.config.values import Endpoint

OPS = "ops"
_BACKLOG = 1024


class ListenFailed(Exception):
    """A socket can't be bound; the text names the setting and the remedy."""


@contextlib.contextmanager
def bound_listeners(settings: Settings) -> Iterator[dict[str, socket.socket]]:
    """Bound, not yet listening sockets, ``acme``, ``status`` and ``ops``, open for the block.

    Nobody connects before ``open_listeners``, but a second server on these ports is found at once.
    Raises ListenFailed.
    """
    server = settings.server
    wanted = {
        "acme": ("server.listen", server.listen),
        "status": ("server.status_listen", server.status_listen),
        OPS: ("server.ops_listen", server.ops_listen),
    }
    with contextlib.ExitStack() as opened:
        yield {
            name: opened.enter_context(_bind(key, endpoint))
            for name, (key, endpoint) in wanted.items()
        }


def open_listeners(listeners: Iterable[socket.socket]) -> None:
    """Let connections in."""
    for listener in listeners:
        listener.listen(_BACKLOG)


def _bind(key: str, endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Small answers must not wait for an acknowledgement; accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((endpoint.host, endpoint.port))
    except OSError as error:
        listener.close()
        remedy = f"stop what uses it, or set {key} to another address"
        if isinstance(error, PermissionError):
            remedy = f"start as root, grant CAP_NET_BIND_SERVICE, or set {key} to a higher port"
        raise ListenFailed(
            f"{key}: can't listen on {endpoint}: {os.strerror(error.errno or 0)}; {remedy}"
        ) from error
    return listener
