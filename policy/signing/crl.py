"""Certificate revocation lists (RFC 5280, section 5): the bytes to be signed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509

from policy.model.certificates import RevocationReason, RevokedEntry
from policy.signing import der
from policy.signing.template import IssuerFacts

_VERSION_2 = der.integer(b"\x01")
_CRL_REASON = der.object_identifier("2.5.29.21")
_REASONS = {
    reason: der.sequence(
        der.sequence(
            _CRL_REASON,
            der.tlv(der.OCTET_STRING, der.tlv(der.ENUMERATED, bytes((reason.value,)))),
        )
    )
    for reason in RevocationReason
}


def build_crl_tbs(
    issuer: IssuerFacts,
    shard: int,
    number: int,
    entries: Iterable[RevokedEntry],
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """The DER of a TBSCertList for one shard.

    The critical issuingDistributionPoint repeats the URI that the shard's certificates carry, so
    that no shard can be passed off as another (section 5.2.5).
    """
    revoked = b"".join(map(_entry, entries))
    extensions = der.sequence(
        _extension(x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None)),
        _extension(x509.CRLNumber(number)),
        _extension(_distribution_point(issuer.crl_url(shard)), is_critical=True),
    )
    return der.sequence(
        _VERSION_2,
        issuer.algorithm,
        issuer.subject,
        der.time(this_update),
        der.time(next_update),
        # An empty list must be left out (section 5.1.2.6).
        der.sequence(revoked) if revoked else b"",
        der.explicit(0, extensions),
    )


def _entry(entry: RevokedEntry) -> bytes:
    # "unspecified" is said by saying nothing (section 5.3.1).
    is_silent = entry.reason is RevocationReason.UNSPECIFIED
    return der.sequence(
        der.integer(entry.serial),
        der.time(entry.revoked_at.replace(microsecond=0)),
        b"" if is_silent else _REASONS[entry.reason],
    )


def _distribution_point(url: str) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _extension(value: x509.ExtensionType, *, is_critical: bool = False) -> bytes:
    return der.extension(value.oid.dotted_string, value.public_bytes(), is_critical=is_critical)
