"""A DNS server for tests: real UDP and TCP on loopback, scripted per name and type.

A handler gets the question and returns the messages to send, or None for silence. Names that
nothing is known about get NXDOMAIN, as from a recursive resolver.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from validators.addresses import Endpoint

_MAX_CHASE = 8


@dataclass(frozen=True)
class Question:
    """What was asked. ``name`` is as it came, so with mixed case; ``text`` in lower case."""

    name: dns.name.Name
    type: dns.rdatatype.RdataType
    transport: str
    message: dns.message.Message

    @property
    def text(self) -> str:
        """The name in lower case, without the final dot."""
        return self.name.to_text(omit_final_dot=True).lower()


Handler = Callable[[Question], Sequence[bytes] | None]


def reply(question: Question, *lines: str, rcode: str = "NOERROR") -> dns.message.Message:
    """A response with the records in ``lines``, such as ``www.example.test. A 192.0.2.1``."""
    message = dns.message.make_response(question.message, recursion_available=True)
    message.set_rcode(dns.rcode.from_text(rcode))
    for line in lines:
        owner, record_type, text = line.split(" ", 2)
        message.answer.append(dns.rrset.from_text(owner, 60, "IN", record_type, text))
    return message


def wire(message: dns.message.Message) -> bytes:
    """The message as octets, however large."""
    return message.to_wire(max_size=65535)


def damaged(question: Question, *lines: str) -> bytes:
    """A reply with ``lines`` that announces more records than it has."""
    octets = bytearray(wire(reply(question, *lines)))
    octets[7] = 99
    return bytes(octets)


def records(*lines: str) -> Handler:
    """Answers with these records."""
    return lambda question: [wire(reply(question, *lines))]


def failing(rcode: str) -> Handler:
    """Answers with an error code."""
    return lambda question: [wire(reply(question, rcode=rcode))]


def silent(question: Question) -> None:
    """Never answers."""


def raw(make: Callable[[Question], Sequence[bytes]]) -> Handler:
    """Sends just what ``make`` makes."""
    return make


def truncated(handler: Handler) -> Handler:
    """Over UDP an empty answer that says "ask over TCP"; there ``handler`` answers."""

    def handle(question: Question) -> Sequence[bytes] | None:
        if question.transport == "tcp":
            return handler(question)
        message = reply(question)
        message.flags |= dns.flags.TC
        return [wire(message)]

    return handle


def in_turn(*handlers: Handler) -> Handler:
    """The first handler for the first question and so on; the last one for all further."""
    left = list(handlers)

    def handle(question: Question) -> Sequence[bytes] | None:
        return (left.pop(0) if len(left) > 1 else left[0])(question)

    return handle


class DnsServer:
    """``async with DnsServer() as server``; then ``server.endpoint`` can be asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._data: dict[tuple[str, str], list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked: list[Question] = []
        self.has_tcp = True
        self.port = 0

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(ip_address(self._host), self.port)

    def add(self, name: str, record_type: str, *texts: str) -> None:
        """Publish records. CNAMEs are followed, and ``*.`` names match, as in real zones."""
        self._data.setdefault((name, record_type), []).extend(texts)

    def script(self, name: str, record_type: str, handler: Handler) -> None:
        """Let ``handler`` answer for this name and type; ``ANY`` for all types."""
        self._handlers[name, record_type] = handler

    def names_asked(self, record_type: str) -> list[str]:
        """The names that were asked for, in order."""
        wanted = dns.rdatatype.from_text(record_type)
        return [question.text for question in self.asked if question.type == wanted]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, self._host, 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self._host, self.port)
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._udp.close()
        self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer(self, octets: bytes, transport: str) -> Sequence[bytes] | None:
        """The messages to send for a query."""
        message = dns.message.from_wire(octets)
        asked = message.question[0]
        question = Question(asked.name, asked.rdtype, transport, message)
        self.asked.append(question)
        handler = self._handlers.get((question.text, question.type.name)) or self._handlers.get(
            (question.text, "ANY")
        )
        return self._look_up(question) if handler is None else handler(question)

    def _look_up(self, question: Question) -> Sequence[bytes]:
        lines: list[str] = []
        name = question.text
        for _ in range(_MAX_CHASE):
            texts = self._find(name, question.type.name)
            if texts is not None:
                lines += [f"{name}. {question.type.name} {text}" for text in texts]
                break
            aliases = self._find(name, "CNAME")
            if not aliases:
                break
            lines.append(f"{name}. CNAME {aliases[0]}.")
            name = aliases[0]
        exists = any(known == name for known, _ in self._data)
        rcode = "NOERROR" if lines or exists else "NXDOMAIN"
        return [wire(reply(question, *lines, rcode=rcode))]

    def _find(self, name: str, record_type: str) -> list[str] | None:
        wildcard = f"*.{name.partition('.')[2]}"
        return self._data.get((name, record_type)) or self._data.get((wildcard, record_type))

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Cancelled only by ``__aexit__``; streams would report that as an error.
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
                await self._answer_tcp(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2))
        answers = self.answer(await reader.readexactly(length), "tcp")
        if not self.has_tcp:
            return
        for octets in answers or ():
            writer.write(len(octets).to_bytes(2) + octets)
            await writer.drain()
        await reader.read()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for octets in self._server.answer(data, "udp") or ():
            self._transport.sendto(octets, addr)  # type: ignore[attr-defined]
