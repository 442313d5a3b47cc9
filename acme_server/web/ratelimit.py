"""How many requests one address may send: counted in memory, before anything costs more."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address

from policy.model.errors import ErrorKind, ServerError

# Some 200 bytes each.
_MAX_ENTRIES = 50_000
_HOST_BITS = 64
_SECOND = 1_000_000_000


class RequestLimit:
    """``burst`` requests at once per IPv4 address or IPv6 network of 64 bits, given back one by one
    within ``period`` seconds.

    Each process counts for itself. Of ``max_entries`` addresses, those that have been quiet longest
    are forgotten first. ``clock`` is in nanoseconds.
    """

    def __init__(
        self,
        burst: int,
        period: float,
        *,
        max_entries: int = _MAX_ENTRIES,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        # In nanoseconds, whole ones, so that the burst is exact.
        self._step = math.ceil(period * _SECOND / burst)
        self._slack = self._step * (burst - 1)
        self._max_entries = max_entries
        self._clock = clock
        # When all that was taken is given back (as in ``storage.limits``).
        self._given_back_at: OrderedDict[str | int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._given_back_at)

    def take(self, address: str) -> None:
        """Count a request. Raises ServerError(RATE_LIMITED), which says when to come again."""
        key = _key_of(address)
        now = self._clock()
        given_back_at = max(self._given_back_at.get(key, now), now)
        wait = given_back_at - self._slack - now
        if wait > 0:
            self._given_back_at.move_to_end(key)
            seconds = math.ceil(wait / _SECOND)
            raise ServerError(
                ErrorKind.RATE_LIMITED,
                f"Too many requests from the address {address} (requests_per_address); try again "
                f"in {seconds} second{'' if seconds == 1 else 's'}.",
                retry_after=seconds,
            )
        self._given_back_at[key] = given_back_at + self._step
        self._given_back_at.move_to_end(key)
        if len(self._given_back_at) > self._max_entries:
            self._given_back_at.popitem(last=False)


def _key_of(address: str) -> str | int:
    """What an address is counted as; one host can have a whole IPv6 network."""
    if ":" not in address:
        return address
    try:
        return int(IPv6Address(address)) >> _HOST_BITS
    except ValueError:
        return address
