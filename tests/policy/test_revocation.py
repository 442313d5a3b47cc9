"""Certificates and reasons that revocations name: read strictly, refused with what would do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from policy.model.certificates import RevocationReason
from policy.model.errors import ErrorKind, ServerError
from policy.revocation import (
    CLIENT_REASONS,
    MAX_CERTIFICATE_BYTES,
    OPERATOR_REASONS,
    UnverifiedCertificate,
    check_reason,
    parse_certificate,
)


def certificate(
    serial: int = 0x00FF_0102_0304_0506_0708,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> x509.Certificate:
    """A certificate signed by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def outcome_of(octets: bytes) -> UnverifiedCertificate | ErrorKind:
    """The parts, or how they are refused."""
    try:
        return parse_certificate(octets)
    except ServerError as refusal:
        return refusal.kind


CERTIFICATE = certificate()
DER = CERTIFICATE.public_bytes(Encoding.DER)


@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0xFF01, 2**159 - 1])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_parts_are_those_of_the_certificate(serial: int, kind: str) -> None:
    key = rsa.generate_private_key(65_537, 2048) if kind == "rsa" else None
    made = certificate(serial, key)

    parts = parse_certificate(made.public_bytes(Encoding.DER))

    assert int.from_bytes(parts.serial) == serial
    assert parts.serial[0] != 0
    assert parts.tbs == made.tbs_certificate_bytes
    assert parts.signature == made.signature


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0",
        b"\x30\0",
        b"\x30\x03\x02\x01\x01",
        DER[:-1],
        DER + b"\0",
        DER[1:],
        b"\x31" + DER[1:],
        b"\x30\x80" + DER[4:] + b"\0\0",
        CERTIFICATE.public_bytes(Encoding.PEM),
        b"\n" + CERTIFICATE.public_bytes(Encoding.PEM),
        b"MIIB" + bytes(100),
        bytes(MAX_CERTIFICATE_BYTES + 1),
    ],
)
def test_what_is_no_certificate_in_der_is_malformed(octets: bytes) -> None:
    with pytest.raises(ServerError) as refusal:
        parse_certificate(octets)

    assert refusal.value.kind is ErrorKind.MALFORMED


def test_outer_algorithm_must_repeat_the_inner_one() -> None:
    """Or two encodings would have equal parts."""
    sha256, sha384 = (bytes.fromhex(f"2a8648ce3d0403{last}") for last in ("02", "03"))
    place = DER.rindex(sha256)
    assert place != DER.index(sha256)

    with pytest.raises(ServerError):
        parse_certificate(DER[:place] + sha384 + DER[place + len(sha384) :])


def test_signature_must_have_whole_octets() -> None:
    place = len(DER) - len(CERTIFICATE.signature) - 1
    assert DER[place] == 0

    with pytest.raises(ServerError):
        parse_certificate(DER[:place] + b"\1" + DER[place + 1 :])


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_changed_certificate_is_malformed_or_has_other_parts(place: int, change: int) -> None:
    changed = DER[:place] + bytes((DER[place] ^ change,)) + DER[place + 1 :]

    assert outcome_of(changed) != parse_certificate(DER)


@given(st.binary(max_size=300))
def test_other_octets_are_malformed(octets: bytes) -> None:
    assert outcome_of(octets) is ErrorKind.MALFORMED


@pytest.mark.parametrize("reason", CLIENT_REASONS)
def test_reason_that_clients_may_give_is_known_by_its_code(reason: RevocationReason) -> None:
    assert check_reason(reason.value) is reason


def test_no_reason_is_unspecified() -> None:
    assert check_reason(None) is RevocationReason.UNSPECIFIED


@pytest.mark.parametrize("code", [-1, 2, 6, 7, 8, 9, 10, 11, 2**63])
def test_other_reasons_are_refused_with_those_that_would_do(code: int) -> None:
    with pytest.raises(ServerError) as refusal:
        check_reason(code)

    assert refusal.value.kind is ErrorKind.BAD_REVOCATION_REASON
    assert refusal.value.detail == (
        "The reason of a revocation must be one of 0 (unspecified), 1 (keyCompromise), "
        "3 (affiliationChanged), 4 (superseded), 5 (cessationOfOperation)."
    )


def test_operators_may_withdraw_a_privilege() -> None:
    assert check_reason(9, OPERATOR_REASONS) is RevocationReason.PRIVILEGE_WITHDRAWN
