"""Sealing the audit trail: events in Merkle batches, each batch signed and chained to the last.

Events are inserted unchained in the transactions that they tell of (a chain link computed there
would be one global lock). What the sealer orders is what no running transaction can add to.
"""

from __future__ import annotations

import base64
from datetime import timedelta

import orjson

from policy.signing.merkle import checkpoint_text, leaf_hash, root_hash
from policy.signing.signer import SoftwareSigner
from storage.audit import AuditEvent, AuditEvents
from storage.leases import Leases

_LEASE_NAME = "audit-sealing"
_LEASE = timedelta(seconds=30)
_BATCH = 5_000
_NO_ROOT = bytes(32)


class AuditUseCases:
    """Seals what happened. ``origin`` names the installation in its checkpoints."""

    def __init__(
        self,
        events: AuditEvents,
        leases: Leases,
        signer: SoftwareSigner,
        *,
        origin: str,
        owner: str,
    ) -> None:
        self._events = events
        self._leases = leases
        self._signer = signer
        self._origin = origin
        self._owner = owner

    async def seal(self) -> int:
        """Seal the events that are due; their number. Only one process at a time does."""
        if await self._leases.take(_LEASE_NAME, self._owner, _LEASE) is None:
            return 0
        events = await self._events.unsealed(_BATCH)
        if not events:
            return 0
        last = await self._events.last_batch()
        number, previous = (1, _NO_ROOT) if last is None else (last[0] + 1, last[1])
        root = root_hash([leaf_hash(canonical_event(event)) for event in events])
        text = checkpoint_text(self._origin, number, len(events), root, previous)
        signature = base64.b64encode(self._signer.sign(text))
        is_sealed = await self._events.seal(
            number, events[-1], len(events), root, text + signature + b"\n"
        )
        return len(events) if is_sealed else 0


def canonical_event(event: AuditEvent) -> bytes:
    """The bytes of an event that are hashed; equal for equal events, whoever reads them."""
    return orjson.dumps(
        [
            event.id.hex,
            event.at.isoformat(),
            event.transaction_id,
            event.actor,
            event.action,
            event.subject,
            event.detail,
        ]
    )
