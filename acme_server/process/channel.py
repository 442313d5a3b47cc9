"""Messages between the parent and a child: JSON objects, one per line, on a socket pair."""

from __future__ import annotations

import asyncio
import enum
import socket
from typing import Any

import orjson

_MAX_LINE = 4 * 1024 * 1024


class Message(enum.StrEnum):
    """What is said. From a child: ACCEPTING once it serves, RETIRING when it was asked to stop
    by an operator and waits for its replacement, METRICS. From the parent: GO to a retiring
    child, STOP, RELOAD."""

    ACCEPTING = "accepting"
    RETIRING = "retiring"
    METRICS = "metrics"
    GO = "go"
    STOP = "stop"
    RELOAD = "reload"


class Channel:
    """One end of the pair. ``receive`` ends with None when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Talk over ``end``, which is the channel's from now on."""
        reader, writer = await asyncio.open_connection(sock=end, limit=_MAX_LINE)
        return cls(reader, writer)

    async def receive(self) -> tuple[Message, Any] | None:
        """The next message and its content; None at the end."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        kind, content = orjson.loads(line)
        return Message(kind), content

    def send(self, kind: Message, content: object = None) -> None:
        """Say something; lost if the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps([kind.value, content]) + b"\n")

    async def flush(self) -> None:
        """Wait until what was said is on its way."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
