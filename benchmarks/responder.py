"""Answers http-01 validations on loopback."""

from __future__ import annotations

import asyncio
import contextlib

_PREFIX = "/.well-known/acme-challenge/"


class Responder:
    """Serves key authorizations by token on ``127.0.0.1:port``; port 0 takes a free one."""

    def __init__(self) -> None:
        self._answers: dict[str, bytes] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Begin to listen; raises OSError if the port is taken."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def publish(self, token: str, key_authorization: str) -> None:
        """Answer for ``token`` from now on."""
        body = key_authorization.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self._answers[token] = head.encode() + body

    def withdraw(self, token: str) -> None:
        """Stop answering for ``token``."""
        self._answers.pop(token, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode("latin-1")
            missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(self._answers.get(path.removeprefix(_PREFIX), missing))
            await writer.drain()
        writer.close()
