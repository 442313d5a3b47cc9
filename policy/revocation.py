"""What may be asked for when a certificate is revoked (RFC 8555, section 7.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policy import der
from policy.model.certificates import RevocationReason
from policy.model.errors import ErrorKind, ServerError

MAX_CERTIFICATE_BYTES = 48 * 1024
# The reasons that a holder of a certificate can know of (BR 4.9.1.1); the others are the CA's.
CLIENT_REASONS = (
    RevocationReason.UNSPECIFIED,
    RevocationReason.KEY_COMPROMISE,
    RevocationReason.AFFILIATION_CHANGED,
    RevocationReason.SUPERSEDED,
    RevocationReason.CESSATION_OF_OPERATION,
)
OPERATOR_REASONS = (*CLIENT_REASONS, RevocationReason.PRIVILEGE_WITHDRAWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedCertificate:
    """The parts of a certificate that somebody sent: with equal parts it is the one on record.

    ``serial`` is without the sign octet, ``tbs`` the DER of the TBSCertificate, ``signature`` the
    value of the BIT STRING.
    """

    serial: bytes
    tbs: bytes
    signature: bytes


def check_reason(
    code: int | None, allowed: Sequence[RevocationReason] = CLIENT_REASONS
) -> RevocationReason:
    """The reason with this code (RFC 5280, section 5.3.1); None: unspecified.

    Raises ServerError(BAD_REVOCATION_REASON), which names the allowed ones.
    """
    for reason in allowed:
        if reason == (code or 0):
            return reason
    names = ", ".join(f"{reason.value} ({reason.word})" for reason in allowed)
    raise ServerError(
        ErrorKind.BAD_REVOCATION_REASON, f"The reason of a revocation must be one of {names}."
    )


def parse_certificate(unverified: bytes) -> UnverifiedCertificate:
    """The parts of a certificate in DER (RFC 5280, section 4.1); its meaning is not looked at.

    The outer algorithm must repeat the inner one, so that parts equal to those on record make the
    whole equal to it. Raises ServerError(MALFORMED).
    """
    if unverified.lstrip().startswith((b"-----", b"MI")):
        raise _malformed("send its DER in base64url, neither PEM nor another base64 within")
    if len(unverified) > MAX_CERTIFICATE_BYTES:
        raise _malformed(f"it has more than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        return _split(unverified)
    except ValueError as error:
        raise _malformed("it is no well-formed certificate in DER") from error


def _split(unverified: bytes) -> UnverifiedCertificate:
    content = der.whole(unverified, der.SEQUENCE)
    tag, start, tbs_end = der.read(content, 0)
    _, _, algorithm_end = der.read(content, tbs_end)
    bits = der.whole(content[algorithm_end:], der.BIT_STRING)
    serial, algorithm = _head_of(content[start:tbs_end])
    if tag != der.SEQUENCE or algorithm != content[tbs_end:algorithm_end] or bits[:1] != b"\x00":
        raise ValueError("not the shape of a certificate")
    return UnverifiedCertificate(serial=serial, tbs=content[:tbs_end], signature=bits[1:])


def _head_of(tbs: bytes) -> tuple[bytes, bytes]:
    """Serial and algorithm, which follow the version."""
    _, _, version_end = der.read(tbs, 0)
    tag, serial, serial_end = der.read(tbs, version_end)
    _, _, algorithm_end = der.read(tbs, serial_end)
    number = der.positive_integer(tbs[serial:serial_end])
    if tag != der.INTEGER:
        raise ValueError("no serial")
    return number.to_bytes((number.bit_length() + 7) // 8), tbs[serial_end:algorithm_end]


def _malformed(reason: str) -> ServerError:
    return ServerError(ErrorKind.MALFORMED, f"The certificate can't be read: {reason}.")
