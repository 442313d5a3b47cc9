"""A child that misbehaves towards its parent; how is the name of the factory it is given."""

from __future__ import annotations

import signal
import socket
import sys

from acme_server.process.handover import decode_handover

_LINES = {
    "babbles": b"hello\n",
    "invents": b'["metrics", [["x", "x", "summary", []]]]\n',
    "exaggerates": b'["metrics", [["x", "x", "counter", [["x_total", [], "many"]]]]]\n',
}


def main() -> None:
    """Read the handover, misbehave, and stay."""
    handover = decode_handover(sys.stdin.buffer.read())
    end = socket.socket(fileno=handover.channel)
    end.sendall(b'["accepting", null]\n')
    if handover.factory in _LINES:
        end.sendall(_LINES[handover.factory])
    elif handover.factory == "hangs up":
        end.close()
    # Whatever it is told.
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
