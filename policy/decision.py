"""What policy answers: allowed, denied, or for a human to approve, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request may be fulfilled; ``rule`` says why."""

    rule: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The request may not be fulfilled; ``reason`` is for the client, ``rule`` for "explain"."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A human decides first."""

    rule: str


Decision: TypeAlias = Allowed | Denied | NeedsApproval
