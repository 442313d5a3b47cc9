"""Both ends understand each other, and nonsense is told from silence."""

from __future__ import annotations

import asyncio
import socket

import pytest

from acme_server.process.channel import Channel, Gibberish, Message


async def channel_and_raw_end() -> tuple[Channel, socket.socket]:
    """A channel, and the other end as a plain socket."""
    ours, theirs = socket.socketpair()
    return await Channel.open(ours), theirs


@pytest.mark.parametrize("kind", list(Message))
async def test_message_arrives_with_its_content(kind: Message) -> None:
    ours, theirs = map(Channel.open, socket.socketpair())
    sender, receiver = await ours, await theirs
    content = {"text": "line\nbreak", "numbers": [1, 2.5, None]}

    sender.send(kind, content)

    assert await receiver.receive() == (kind, content)
    await sender.close()
    assert await receiver.receive() is None
    await receiver.close()


async def test_large_message_arrives_whole() -> None:
    ours, theirs = map(Channel.open, socket.socketpair())
    sender, receiver = await ours, await theirs
    content = ["x" * 1000] * 1000

    sender.send(Message.METRICS, content)
    _, received = await asyncio.gather(sender.flush(), receiver.receive())

    assert received == (Message.METRICS, content)
    await sender.close()
    await receiver.close()


async def test_half_a_message_at_the_end_is_none() -> None:
    channel, other = await channel_and_raw_end()
    other.sendall(b'["accepting",')
    other.close()

    assert await channel.receive() is None
    await channel.close()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"hello\n",
        b"7\n",
        b'["accepting"]\n',
        b'["unheard", 1]\n',
        b'[["a"], 1]\n',
        b"\xff\n",
    ],
)
async def test_nonsense_is_told_as_such(line: bytes) -> None:
    channel, other = await channel_and_raw_end()
    other.sendall(line)

    with pytest.raises(Gibberish):
        await channel.receive()

    other.close()
    await channel.close()


async def test_line_without_an_end_is_nonsense() -> None:
    channel, other = await channel_and_raw_end()
    flood = asyncio.get_running_loop().run_in_executor(None, send_much, other)

    with pytest.raises(Gibberish):
        await channel.receive()

    await channel.close()
    await flood
    other.close()


def send_much(end: socket.socket) -> None:
    """More than any message, until nobody takes it."""
    try:
        for _ in range(64):
            end.sendall(b"x" * 262_144)
    except OSError:
        return


async def test_speaking_to_who_is_gone_is_no_fault() -> None:
    channel, other = await channel_and_raw_end()
    other.close()

    for _ in range(3):
        channel.send(Message.GO)
        await channel.flush()
        assert await channel.receive() is None

    await channel.close()
    channel.send(Message.GO)
