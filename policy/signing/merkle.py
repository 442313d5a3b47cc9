"""Merkle trees over audit events (the hashing of RFC 9162, section 2.1), and their checkpoints."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry, told apart from inner nodes by its prefix."""
    return hashlib.sha256(_LEAF + entry).digest()


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; of none, the hash of nothing (RFC 9162, section 2.1.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        # An odd last node goes up as it is: the split at the largest power of two below n.
        paired = [
            hashlib.sha256(_NODE + level[i] + level[i + 1]).digest()
            for i in range(0, len(level) - 1, 2)
        ]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def checkpoint_text(
    origin: str, number: int, events: int, root: bytes, previous_root: bytes
) -> bytes:
    """What is signed for a batch: who, which batch, how many events, both roots.

    The previous batch's root chains the batches: removing, reordering or altering any of them
    changes every later checkpoint.
    """
    lines = [
        f"{origin} audit checkpoint 1",
        str(number),
        str(events),
        base64.b64encode(root).decode(),
        base64.b64encode(previous_root).decode(),
    ]
    return ("\n".join(lines) + "\n").encode()
