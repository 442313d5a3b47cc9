"""Listening sockets: bound early by the parent, inherited by every child that serves them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Mapping

from acme_server.config.settings import Settings
from acme_server.config.values import Endpoint

ACME = "acme"
STATUS = "status"
OPS = "ops"
_KEYS = {ACME: "server.listen", STATUS: "server.status_listen", OPS: "server.ops_listen"}
_BACKLOG = 1024


class ListenFailed(Exception):
    """A socket can't be had; the text names the setting and the remedy."""


@contextlib.contextmanager
def bound_listeners(settings: Settings) -> Iterator[dict[str, socket.socket]]:
    """Bound, not yet listening sockets, ``acme``, ``status`` and ``ops``, open for the block.

    Nobody connects before ``open_listeners``, but a second server on these ports is found at once.
    Raises ListenFailed.
    """
    server = settings.server
    endpoints = {ACME: server.listen, STATUS: server.status_listen, OPS: server.ops_listen}
    with contextlib.ExitStack() as opened:
        yield {
            name: opened.enter_context(_bind(name, endpoint))
            for name, endpoint in endpoints.items()
        }


def open_listeners(listeners: Mapping[str, socket.socket]) -> None:
    """Let connections in. Raises ListenFailed."""
    for name, listener in listeners.items():
        # Inherited by connections, so that their remains don't keep a restarted server off.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.listen(_BACKLOG)
        except OSError as error:
            host, port = listener.getsockname()[:2]
            raise _failure(name, f"{host} port {port}", error) from error


def _bind(name: str, endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Small answers must not wait for an acknowledgement; accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _bind_alone(listener, (endpoint.host, endpoint.port))
    except OSError as error:
        listener.close()
        raise _failure(name, str(endpoint), error) from error
    return listener


def _bind_alone(listener: socket.socket, address: tuple[str, int]) -> None:
    """Bind a port that no other socket is bound to.

    SO_REUSEADDR would let two servers bind it that don't listen yet (Linux), so it is only used
    where connections of an earlier server are still in TIME_WAIT.
    """
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)


def _failure(name: str, where: str, error: OSError) -> ListenFailed:
    key = _KEYS[name]
    remedy = f"stop what uses it, or set {key} to another address"
    if isinstance(error, PermissionError):
        remedy = f"start as root, grant CAP_NET_BIND_SERVICE, or set {key} to a higher port"
    reason = os.strerror(error.errno or 0)
    return ListenFailed(f"{key}: can't listen on {where}: {reason}; {remedy}")
