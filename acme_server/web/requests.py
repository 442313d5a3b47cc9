"""The request as front ends see it: checked by the edge, its body read and within the limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """One request.

    ``target`` is the request target as received, ``path`` its part before any ``?``; neither is
    decoded. ``parameters`` are the variable parts of the path in order. ``headers`` is
    case-insensitive and gives the first value of a repeated one. ``address`` is the client's
    (``web.addresses``), ``id`` stands in the log and in answers about failures of ours.
    """

    method: str
    target: str
    path: str
    headers: Mapping[str, str]
    id: str
    address: str
    body: bytes = b""
    parameters: tuple[str, ...] = ()
    # Told by whoever authenticates, for the log: the id of the account or principal.
    account: str | None = field(default=None)
