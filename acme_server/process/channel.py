"""Messages between the parent and a child: JSON, one per line, on a socket pair."""

from __future__ import annotations

import asyncio
import enum
import socket
from typing import Any

import orjson

_MAX_LINE = 4 * 1024 * 1024


class Message(enum.StrEnum):
    """What is said.

    A child says ACCEPTING once it serves, RETIRING when an operator asked it to stop and it waits
    for its replacement, RELOADED, and METRICS with its samples. The parent says GO, after which
    the child ends in good order, and RELOAD with the TLS files as they are now.
    """

    ACCEPTING = "accepting"
    RETIRING = "retiring"
    RELOADED = "reloaded"
    METRICS = "metrics"
    GO = "go"
    RELOAD = "reload"


class Gibberish(Exception):
    """The other end said what is no message."""


class Channel:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Talk over ``end``, which is the channel's from now on."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_MAX_LINE)
        return cls(reader, writer)

    async def receive(self) -> tuple[Message, Any] | None:
        """The next message and its content; None when the other end is gone. Raises Gibberish."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        except ValueError as error:
            raise Gibberish("a line without end") from error
        if not line.endswith(b"\n"):
            return None
        try:
            kind, content = orjson.loads(line)
            return Message(kind), content
        except (ValueError, TypeError) as error:
            raise Gibberish(str(error)) from error

    def send(self, kind: Message, content: object = None) -> None:
        """Say something; lost if the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps([kind.value, content]) + b"\n")

    async def flush(self) -> None:
        """Wait until the other end takes what it was told."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def close(self) -> None:
        """Send the rest and close this end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
