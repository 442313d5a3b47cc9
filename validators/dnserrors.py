"""How a lookup ends without a usable answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from validators import causes
from validators.causes import Cause, ValidationFailure
from validators.excerpts import excerpt


class DnsError(Exception):
    """A lookup without a usable answer. ``name`` and ``type`` are those that were asked for."""

    cause: ClassVar[Cause]

    def __init__(self, name: str, record_type: str) -> None:
        super().__init__(f"{record_type} {name}: {self.cause.code}")
        self.name = name
        self.type = record_type

    def as_failure(self) -> ValidationFailure:
        """The failure of a validation that needed the answer."""
        return ValidationFailure(self.cause, name=excerpt(self.name, 255), type=self.type)


class NameMissing(DnsError):
    """NXDOMAIN: the name, or what it is an alias of, does not exist."""

    cause = causes.DNS_NAME_MISSING


class NoRecords(DnsError):
    """NODATA: the name exists, without records of the type."""

    cause = causes.DNS_NO_ADDRESSES


class NameUnusable(DnsError):
    """The name can't be asked for: it is too long, or has an empty or too long label."""

    cause = causes.DNS_NAME_UNUSABLE


class ChainTooLong(DnsError):
    """Aliases form a loop, or too long a chain."""

    cause = causes.DNS_CHAIN_TOO_LONG


class ServerFailure(DnsError):
    """SERVFAIL, or another code by which a resolver says that it has no answer."""

    cause = causes.DNS_SERVER_FAILURE


class Bogus(DnsError):
    """SERVFAIL, and the resolver says that DNSSEC is the reason (RFC 8914)."""

    cause = causes.DNS_BOGUS


class QueryRefused(DnsError):
    """REFUSED."""

    cause = causes.DNS_REFUSED


class AnswerMalformed(DnsError):
    """An answer came and can't be read."""

    cause = causes.DNS_MALFORMED


class ResolverUnreachable(DnsError):
    """The resolver's address can't be reached, or nothing listens there."""

    cause = causes.DNS_UNREACHABLE


class ResolverUntrusted(DnsError):
    """TLS with the resolver failed: it may be somebody else."""

    cause = causes.DNS_UNTRUSTED


class NotAuthentic(DnsError):
    """An answer came without the resolver's word that DNSSEC vouches for it."""

    cause = causes.DNS_NOT_AUTHENTIC


class QueryTimedOut(DnsError):
    """No answer in time."""

    cause = causes.DNS_TIMEOUT


# That something may exist after all comes before the certainty that it doesn't; an answer says
# more than silence.
_MOST_TELLING_FIRST: tuple[type[DnsError], ...] = (
    NameUnusable,
    ChainTooLong,
    Bogus,
    NotAuthentic,
    ServerFailure,
    QueryRefused,
    AnswerMalformed,
    ResolverUntrusted,
    ResolverUnreachable,
    QueryTimedOut,
    NameMissing,
    NoRecords,
)


def most_telling(errors: Sequence[DnsError]) -> DnsError:
    """Of several errors about one name, the one to report."""
    return min(errors, key=lambda error: _MOST_TELLING_FIRST.index(type(error)))
