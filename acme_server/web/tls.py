"""TLS of our listeners, replaceable while they serve."""

from __future__ import annotations

import os
import ssl
from typing import Any


class ReplaceableContext(ssl.SSLContext):
    """What a listener is given: each new connection gets the context of the moment.

    A certificate renewed in the background, or on SIGHUP, is served from the next connection on;
    open ones keep theirs.
    """

    _current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> ReplaceableContext:
        """A context that starts out as ``current``."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, current: ssl.SSLContext) -> None:
        self._current = current

    def replace(self, current: ssl.SSLContext) -> None:
        """Serve new connections with ``current``."""
        self._current = current

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Called by the event loop for each connection."""
        return self._current.wrap_bio(*args, **kwargs)


def server_context(certificate_chain: bytes, private_key: bytes) -> ssl.SSLContext:
    """A context for a server: TLS 1.2 and 1.3, HTTP/1.1.

    Both arguments are PEM, the chain starting with the server's certificate. The key never
    touches a disk. Raises ssl.SSLError when the two don't belong together or can't be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    # The module reads keys from files only; this one is in memory and has no name.
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, private_key.rstrip() + b"\n" + certificate_chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
