"""Anti-replay nonces (RFC 8555, section 6.5): made without a database, accepted at most once.

A nonce seals the second it was made in and the epoch of the ledger; any worker of any replica
opens it with the key they share. Redeeming writes its 12-byte identifier into the ledger, and
requests that arrive together share one statement.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from policy.model.errors import ErrorKind, ServerError
from storage.nonces import NonceLedger, RedeemResult

KEY_PURPOSE = "nonce-key"
_SHAPE = re.compile(r"[A-Za-z0-9_-]{55}", re.ASCII)
_EPOCH_LENGTH = 8
_CONTEXT = b"acme-server nonce 1"
# What one statement carries at most; more waits for the next.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class OpenedNonce:
    """A nonce that this installation made. ``second`` is Unix time by the database's clock."""

    identifier: bytes
    epoch: bytes
    second: int


class NonceSeal:
    """Makes and opens nonces; holds no state that another process would need.

    The IV is 8 random bytes drawn once per process and a counter, so it never repeats under the
    shared key; that the nonce can't be guessed is the authentication tag's doing.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._new_prefix()

    def seal(self, epoch: bytes, second: int) -> str:
        """The text of a nonce made at ``second`` in ``epoch`` (8 bytes): 55 characters."""
        count = next(self._counter)
        if count >> 32:
            self._new_prefix()
            count = next(self._counter)
        iv = self._prefix + count.to_bytes(4)
        sealed = self._aead.encrypt(iv, epoch + second.to_bytes(5), _CONTEXT)
        return base64.urlsafe_b64encode(iv + sealed).rstrip(b"=").decode("ascii")

    def open(self, text: str) -> OpenedNonce | None:
        """What ``seal`` made; None for anything else, other encodings of it included."""
        if not _SHAPE.fullmatch(text):
            return None
        raw = base64.urlsafe_b64decode(text + "=")
        if base64.urlsafe_b64encode(raw)[:55].decode("ascii") != text:
            return None
        iv = raw[:12]
        try:
            plaintext = self._aead.decrypt(iv, raw[12:], _CONTEXT)
        except InvalidTag:
            return None
        return OpenedNonce(iv, plaintext[:_EPOCH_LENGTH], int.from_bytes(plaintext[_EPOCH_LENGTH:]))

    def _new_prefix(self) -> None:
        self._prefix = os.urandom(8)
        self._counter = itertools.count()


class NonceUseCases:
    """Issues nonces and redeems them, one statement for all that wait."""

    def __init__(self, ledger: NonceLedger, seal: NonceSeal) -> None:
        self._ledger = ledger
        self._seal = seal
        self._epoch: bytes = b""
        self._database_offset = 0.0
        self._waiting: list[tuple[OpenedNonce, asyncio.Future[bool]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn the ledger's epoch and clock. Raises DatabaseUnavailable."""
        self._learn(await self._ledger.redeem([]))

    def issue(self) -> str:
        """A fresh nonce; no I/O."""
        return self._seal.seal(self._epoch, int(time.time() + self._database_offset))

    async def redeem(self, text: str) -> None:
        """Accept ``text`` once, ever.

        Raises ServerError(BAD_NONCE) for one that was used, is too old or isn't ours, and
        DatabaseUnavailable.
        """
        opened = self._seal.open(text)
        if opened is None:
            raise ServerError(ErrorKind.BAD_NONCE, "The nonce was not issued by this server.")
        accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((opened, accepted))
        if self._flush is None:
            self._flush = asyncio.get_running_loop().create_task(self._flush_all())
        if not await accepted:
            raise ServerError(
                ErrorKind.BAD_NONCE,
                "The nonce was used before or is too old; repeat the request with the nonce "
                "of this answer.",
            )

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                await self._flush_batch(batch)
        finally:
            self._flush = None

    async def _flush_batch(self, batch: list[tuple[OpenedNonce, asyncio.Future[bool]]]) -> None:
        try:
            result = await self._ledger.redeem([(n.identifier, n.second) for n, _ in batch])
        except BaseException as error:
            for _, accepted in batch:
                if not accepted.done():
                    accepted.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self._learn(result)
        # Two requests with one nonce in one batch: the ledger took it once, so does this loop.
        unclaimed = set(result.accepted)
        for nonce, accepted in batch:
            is_first = nonce.identifier in unclaimed and nonce.epoch == self._epoch
            unclaimed.discard(nonce.identifier)
            if not accepted.done():
                accepted.set_result(is_first)

    def _learn(self, result: RedeemResult) -> None:
        self._epoch = result.epoch[:_EPOCH_LENGTH].rjust(_EPOCH_LENGTH, b"\x00")
        self._database_offset = result.now - time.time()
