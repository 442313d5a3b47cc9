"""The DNS challenge (RFC 8555, section 8.4)."""

from __future__ import annotations

import hmac
from typing import Protocol

from policy.model.authorizations import ValidationTask
from policy.model.identifiers import IdentifierType
from validators import causes
from validators.causes import ValidationFailure
from validators.dnserrors import DnsError, NameMissing, NoRecords
from validators.excerpts import excerpt
from validators.keyauth import expected_txt
from validators.resolver import TextRecords
from validators.trace import Trace


class TextResolver(Protocol):
    """Where TXT records come from (``validators.resolver.Resolver``)."""

    async def txt(self, name: str, trace: Trace) -> TextRecords:
        """Raises DnsError."""
        ...


class Dns01Validator:
    """Looks for the digest among the TXT records at ``_acme-challenge.{name}``."""

    type = "dns-01"

    def __init__(self, resolver: TextResolver) -> None:
        self._resolver = resolver

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Returns when control is proven; raises ValidationFailure when it is not."""
        if task.identifier.type is not IdentifierType.DNS:
            raise ValidationFailure(causes.IDENTIFIER_UNSUITED, type=self.type)
        name = f"_acme-challenge.{task.identifier.value}"
        expected = expected_txt(task.token, task.thumbprint)
        try:
            records = await self._resolver.txt(name, trace)
        except NameMissing as error:
            raise ValidationFailure(
                causes.TXT_NAME_MISSING, name=name, expected=expected
            ) from error
        except NoRecords as error:
            raise ValidationFailure(causes.TXT_MISSING, name=name, expected=expected) from error
        except DnsError as error:
            raise error.as_failure() from error
        if not is_published(expected, records.values):
            raise ValidationFailure(
                causes.TXT_DIFFERS,
                name=name,
                expected=expected,
                count=len(records.values),
                first=excerpt(records.values[0], 100),
            )


def is_published(expected: str, values: tuple[bytes, ...]) -> bool:
    """Whether one of the TXT values is exactly ``expected``; all are compared, in constant time."""
    matches = [hmac.compare_digest(value, expected.encode("ascii")) for value in values]
    return any(matches)
