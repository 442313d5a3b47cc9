"""Certificate profiles: what a certificate of a kind looks like, whoever asks for it."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType

from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import IdentifierType

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
DIGITAL_SIGNATURE = "digital_signature"
KEY_ENCIPHERMENT = "key_encipherment"
# RFC 5280, section 4.1.2.5: both ends belong to the validity.
_INCLUSIVE = timedelta(seconds=1)


_TLS_KEY_USAGES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ec": frozenset({DIGITAL_SIGNATURE}),
        "rsa": frozenset({DIGITAL_SIGNATURE, KEY_ENCIPHERMENT}),
    }
)


class CommonName(enum.StrEnum):
    """Where the subject's common name comes from. FIRST_NAME: the first DNS name of at most 64
    characters."""

    NONE = "none"
    FIRST_NAME = "first_name"


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """One kind of certificate. Durations are what the certificate says, both ends included.
    Profiles are compared by identity, and their content by ``version``.

    ``key_usages`` are the KeyUsage bits by the type of the key (``ec``, ``rsa``);
    ``extended_key_usages`` are OIDs; ``policies`` the OIDs of certificate policies.
    """

    name: str
    validity: timedelta
    maximum_validity: timedelta
    backdate: timedelta = timedelta(minutes=5)
    key_usages: Mapping[str, frozenset[str]] = field(default_factory=lambda: _TLS_KEY_USAGES)
    extended_key_usages: tuple[str, ...] = (SERVER_AUTH,)
    common_name: CommonName = CommonName.NONE
    identifier_types: frozenset[IdentifierType] = frozenset({IdentifierType.DNS})
    maximum_identifiers: int = 100
    policies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not timedelta(0) < self.validity <= self.maximum_validity:
            raise ValueError(f"profile {self.name}: validity must be above 0 and below its maximum")
        if not timedelta(0) <= self.backdate < self.validity:
            raise ValueError(f"profile {self.name}: backdate must be below the validity")

    @cached_property
    def version(self) -> str:
        """Changes with whatever changes a certificate: a hash of the profile, 16 hex digits."""
        content = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        text = json.dumps(content | {"key_usages": self._usages()}, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check_requested_validity(
        self, not_before: datetime | None, not_after: datetime | None, now: datetime
    ) -> None:
        """Raises ServerError(MALFORMED) for a validity that no certificate of this profile could
        have: it is never silently altered (RFC 8555, section 7.4)."""
        start, end = self.validity_of(not_before, not_after, now)
        if end <= start:
            raise _malformed("notAfter must be later than notBefore.")
        if end + _INCLUSIVE - start > self.maximum_validity:
            raise _malformed(
                f"The profile {self.name} allows certificates of at most {self.maximum_validity}."
            )
        if end <= now:
            raise _malformed("notAfter has passed.")
        if start < now - self.backdate - timedelta(minutes=1):
            raise _malformed("notBefore is in the past.")

    def validity_of(
        self, not_before: datetime | None, not_after: datetime | None, now: datetime
    ) -> tuple[datetime, datetime]:
        """notBefore and notAfter of a certificate made at ``now``, in whole seconds."""
        present = now.replace(microsecond=0)
        start = present - self.backdate if not_before is None else not_before
        end = start + self.validity - _INCLUSIVE if not_after is None else not_after
        return start.replace(microsecond=0), end.replace(microsecond=0)

    def _usages(self) -> dict[str, list[str]]:
        return {kind: sorted(usages) for kind, usages in sorted(self.key_usages.items())}


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"a profile holds no {type(value).__name__}")


def _malformed(detail: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, detail)


TLS_SERVER = Profile(
    name="tls_server",
    validity=timedelta(days=90),
    maximum_validity=timedelta(days=90),
)

# The server's own TLS certificate; addresses too, since a lab is reached by them.
SERVICE = Profile(
    name="service",
    validity=timedelta(days=30),
    maximum_validity=timedelta(days=30),
    identifier_types=frozenset(IdentifierType),
    maximum_identifiers=10,
)
