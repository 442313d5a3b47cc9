"""Arguments as operators have them at hand: ids or whole URLs, serials in any notation."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

if TYPE_CHECKING:
    from policy.model.certificates import RevocationReason

_SERIAL = re.compile(r"(?:0x)?([0-9a-f]{2,40})", re.ASCII)


class ObjectId(click.ParamType):  # type: ignore[type-arg] # generic in recent versions only
    """An id as in URLs, as in the audit trail, or as part of a URL of ours."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> UUID:
        """The id; refuses what is none."""
        from policy.model.ids import parse_id

        text = str(value).removesuffix("/finalize").removesuffix("/orders")
        text = text.rpartition("/")[2].rpartition(":")[2]
        found = parse_id(text)
        if found is not None:
            return found
        try:
            return UUID(text)
        except ValueError:
            self.fail(f"{value!r} is no id, and no URL that ends with one", param, ctx)


class Serial(click.ParamType):  # type: ignore[type-arg] # generic in recent versions only
    """A serial in hexadecimal, with or without colons."""

    name = "serial"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """The serial's bytes without leading zeros; refuses what is none."""
        shape = _SERIAL.fullmatch(str(value).lower().replace(":", "").replace(" ", ""))
        if shape is None:
            self.fail(f"{value!r} is no serial: it has up to 40 hexadecimal digits", param, ctx)
        digits = shape[1]
        serial = bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        return serial.lstrip(b"\x00") or b"\x00"


class DurationText(click.ParamType):  # type: ignore[type-arg] # generic in recent versions only
    """A duration as in the configuration, ``30d``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """The duration."""
        from acme_server.config.kinds import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Reason(click.ParamType):  # type: ignore[type-arg] # generic in recent versions only
    """A reason for a revocation, as RFC 5280 writes it."""

    name = "reason"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> RevocationReason:
        """The reason; refuses those that are not for certificates of servers."""
        from policy.revocation import OPERATOR_REASONS

        wanted = str(value).lower().replace("_", "").replace("-", "")
        for reason in OPERATOR_REASONS:
            if reason.word.lower() == wanted:
                return reason
        words = ", ".join(reason.word for reason in OPERATOR_REASONS)
        return self.fail(f"{value!r} is none of {words}", param, ctx)


limit_option: Callable[[Any], Any] = click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="How many at most.",
)
