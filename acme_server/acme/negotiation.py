"""Choosing the form of an answer by ``Accept`` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# As far as a client's list is read; nobody has more to say.
_MAX_RANGES = 50
_RANGE = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)/([!#$%&'*+.^_`|~0-9a-z-]+)", re.ASCII)
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """The media type of ``offered`` that the client likes best, the first of equals.

    The first one also where the client likes none: to disregard the header is allowed, and helps
    clients that send a wrong one more than 406 does.
    """
    if not accept or accept == "*/*":
        return offered[0]
    weights = dict(_weights(accept))
    best = max(offered, key=lambda media_type: _weight_of(media_type, weights))
    return best if _weight_of(best, weights) > 0 else offered[0]


def _weight_of(media_type: str, weights: Mapping[str, float]) -> float:
    """The weight of the most specific range that has the type."""
    for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if candidate in weights:
            return weights[candidate]
    return 0.0


def _weights(accept: str) -> Iterator[tuple[str, float]]:
    """Range and weight of each member of the list that is well-formed; parameters of media types
    make no difference between those that are offered."""
    for member in accept.lower().split(",")[:_MAX_RANGES]:
        media_range, *parameters = (part.strip() for part in member.split(";"))
        weights = [_WEIGHT.fullmatch(part) for part in parameters if part.startswith("q=")]
        if _RANGE.fullmatch(media_range) and all(weights):
            yield media_range, min((float(weight[1]) for weight in weights if weight), default=1.0)
