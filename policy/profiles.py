"""Certificate profiles: what a certificate of a kind looks like, whoever asks for it."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType

from policy.baseline import limits_at
from policy.extraextensions import ExtraExtension
from policy.keys import KeyRules
from policy.model.errors import ErrorKind, ServerError
from policy.model.identifiers import IdentifierType

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
DIGITAL_SIGNATURE = "digital_signature"
KEY_ENCIPHERMENT = "key_encipherment"
# The "challenge" of names that the operator configured as the server's own.
CONFIGURED = "configured"
# How far from now a certificate may start: a client whose clock is a little behind must accept
# it, and a proof of control is not to be kept for later.
MAX_BACKDATE = timedelta(hours=1)
MAX_DELAY = timedelta(days=1)
# RFC 5280, section 4.1.2.5: both ends belong to the validity.
_INCLUSIVE = timedelta(seconds=1)

_TLS_KEY_USAGES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ec": frozenset({DIGITAL_SIGNATURE}),
        "rsa": frozenset({DIGITAL_SIGNATURE, KEY_ENCIPHERMENT}),
    }
)
# All that the server knows: which are offered is the installation's to say.
_CHALLENGE_TYPES = frozenset(
    {"http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01"}
)


class CommonName(enum.StrEnum):
    """Where the subject's common name comes from. FIRST_NAME: the first DNS name of at most 64
    characters."""

    NONE = "none"
    FIRST_NAME = "first_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectPattern:
    """What the subject says beside its common name, the same in all certificates; None: nothing.

    ``country`` is a code of ISO 3166-1 in two letters.
    """

    country: str | None = None
    organization: str | None = None
    organizational_unit: str | None = None

    @property
    def attributes(self) -> tuple[tuple[str, str], ...]:
        """OIDs and values, in their order in the subject (BR 7.1.4.2)."""
        named = (
            ("2.5.4.6", self.country),
            ("2.5.4.10", self.organization),
            ("2.5.4.11", self.organizational_unit),
        )
        return tuple((oid, value) for oid, value in named if value is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """One kind of certificate. Durations are what the certificate says, both ends included.
    Profiles are compared by identity, and their content by ``version``.

    ``description`` is for people: a sentence or a URL. ``key_usages`` are the KeyUsage bits by the
    type of the key (``ec``, ``rsa``); ``extended_key_usages`` are OIDs; ``policies`` the OIDs of
    certificate policies; ``challenge_types`` the ways to prove control that it accepts;
    ``allows_must_staple`` whether a CSR may ask for the TLS feature extension (RFC 7633);
    ``issuer`` the name of the CA, None for the active one. ``is_public``: the Baseline
    Requirements hold, with their limits of the day. ``needs_approval``: a human decides first.
    """

    name: str
    description: str = ""
    validity: timedelta
    maximum_validity: timedelta
    backdate: timedelta = timedelta(minutes=5)
    key_usages: Mapping[str, frozenset[str]] = field(default_factory=lambda: _TLS_KEY_USAGES)
    extended_key_usages: tuple[str, ...] = (SERVER_AUTH,)
    subject: SubjectPattern = field(default_factory=SubjectPattern)
    common_name: CommonName = CommonName.NONE
    identifier_types: frozenset[IdentifierType] = frozenset({IdentifierType.DNS, IdentifierType.IP})
    maximum_identifiers: int = 100
    policies: tuple[str, ...] = ()
    keys: KeyRules = field(default_factory=KeyRules)
    challenge_types: frozenset[str] = _CHALLENGE_TYPES
    allows_must_staple: bool = False
    extensions: tuple[ExtraExtension, ...] = ()
    issuer: str | None = None
    is_public: bool = False
    needs_approval: bool = False

    def __post_init__(self) -> None:
        if not timedelta(0) < self.validity <= self.maximum_validity:
            raise ValueError(f"profile {self.name}: validity must be above 0 and below its maximum")
        if not timedelta(0) <= self.backdate <= min(MAX_BACKDATE, self.validity - _INCLUSIVE):
            raise ValueError(f"profile {self.name}: backdate must be below the validity and 1 h")
        if any(each.microseconds for each in (self.validity, self.maximum_validity, self.backdate)):
            raise ValueError(f"profile {self.name}: certificates know whole seconds only")

    @cached_property
    def version(self) -> str:
        """Changes with whatever changes a certificate: a hash of the profile, 16 hex digits."""
        names = (entry.name for entry in fields(self) if entry.name != "description")
        content = {name: getattr(self, name) for name in names}
        text = json.dumps(content, default=_plain, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def longest_validity(self, moment: datetime) -> timedelta:
        """The longest validity of a certificate issued at ``moment``."""
        if not self.is_public:
            return self.maximum_validity
        return min(self.maximum_validity, limits_at(moment).validity)

    def oldest_proof(self, moment: datetime) -> timedelta | None:
        """How old a proof of control may be when a certificate is issued at ``moment``; None:
        as old as the authorization that it made valid."""
        return limits_at(moment).reuse if self.is_public else None

    def check_requested_validity(
        self,
        not_before: datetime | None,
        not_after: datetime | None,
        now: datetime,
        issuer_not_after: datetime | None = None,
    ) -> None:
        """Raises ServerError(MALFORMED) for a validity that no certificate of this profile could
        have: it is never silently altered (RFC 8555, section 7.4)."""
        self.validity_of(not_before, not_after, now, issuer_not_after)

    def validity_of(
        self,
        not_before: datetime | None,
        not_after: datetime | None,
        now: datetime,
        issuer_not_after: datetime | None = None,
    ) -> tuple[datetime, datetime]:
        """notBefore and notAfter of a certificate made at ``now``, in whole seconds of UTC.

        Where no end is asked for, it is the profile's or the issuer's, whichever comes first.
        Raises ServerError(MALFORMED) for what can't be had as asked for.
        """
        present = now.replace(microsecond=0)
        start = present - self.backdate if not_before is None else _checked_start(not_before, now)
        # Limits only shrink: what starts later than it is issued has the later day's.
        longest = self.longest_validity(max(start, present))
        if not_after is None:
            end = start + min(self.validity, longest) - _INCLUSIVE
            return start, end if issuer_not_after is None else min(end, issuer_not_after)
        if not_after > start + longest - _INCLUSIVE:
            raise _malformed(
                f"The profile {self.name} allows certificates of at most {in_words(longest)}, "
                "both ends included."
            )
        if issuer_not_after is not None and not_after > issuer_not_after:
            raise _malformed(f"The CA itself ends earlier than notAfter, at {issuer_not_after}.")
        if not_after <= max(start, present):
            raise _malformed("notAfter must be later than notBefore, and in the future.")
        return start, _utc(not_after)


def in_words(duration: timedelta) -> str:
    """A duration for people: in days where it has no hours."""
    return f"{duration.days} days" if duration == timedelta(days=duration.days) else str(duration)


def _checked_start(not_before: datetime, now: datetime) -> datetime:
    if not_before < now - MAX_BACKDATE:
        raise _malformed(f"notBefore is more than {MAX_BACKDATE} ago; place a new order.")
    if not_before > now + MAX_DELAY:
        raise _malformed(f"notBefore is more than {MAX_DELAY} ahead.")
    return _utc(not_before)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, KeyRules | SubjectPattern | ExtraExtension):
        return {entry.name: getattr(value, entry.name) for entry in fields(value)}
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
    challenge_types=frozenset({CONFIGURED}),
)
