"""CRLs: of one shard each, read by OpenSSL and the library, and by nobody for another shard."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from policy.model.certificates import RevocationReason, RevokedEntry
from policy.signing.crl import build_crl_tbs
from policy.signing.template import build_tbs
from support.signing import NOW, TestAuthority, authority, template_for, write_pem

WEEK = timedelta(days=7)


def _entry(
    serial: bytes,
    reason: RevocationReason = RevocationReason.KEY_COMPROMISE,
    revoked_at: datetime = NOW,
) -> RevokedEntry:
    return RevokedEntry(serial=serial, revoked_at=revoked_at, reason=reason)


def _crl(
    *entries: RevokedEntry, shard: int = 3, number: int = 1, ca: TestAuthority | None = None
) -> bytes:
    ca = ca or authority()
    return ca.issue(build_crl_tbs(ca.facts, shard, number, entries, NOW, NOW + WEEK))


def _serial(shard: int) -> bytes:
    return b"\x01" + os.urandom(12) + shard.to_bytes(4)


def test_crl_says_whose_which_and_when() -> None:
    crl = x509.load_der_x509_crl(_crl(number=2**100))
    facts = authority().facts

    assert crl.issuer.public_bytes() == facts.subject
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + WEEK)
    assert {type(e.value): (e.critical, e.value) for e in crl.extensions} == {
        x509.AuthorityKeyIdentifier: (
            False,
            x509.AuthorityKeyIdentifier(facts.key_identifier, None, None),
        ),
        x509.CRLNumber: (False, x509.CRLNumber(2**100)),
        x509.IssuingDistributionPoint: (
            True,
            x509.IssuingDistributionPoint(
                [x509.UniformResourceIdentifier(facts.crl_url(3))],
                None,
                False,
                False,
                None,
                False,
                False,
            ),
        ),
    }


@pytest.mark.parametrize("key_type", ["ec-p256", "ec-p384", "rsa-2048", "ed25519"])
def test_signature_is_the_issuers(key_type: str) -> None:
    ca = authority(key_type)
    crl = x509.load_der_x509_crl(_crl(_entry(_serial(3)), ca=ca))
    issuing = x509.load_der_x509_certificate(ca.issuing).public_key()

    assert crl.is_signature_valid(issuing)  # type: ignore[arg-type]
    other = x509.load_der_x509_certificate(ca.root).public_key()
    assert not crl.is_signature_valid(other)  # type: ignore[arg-type]


def test_empty_crl_has_no_list() -> None:
    crl = x509.load_der_x509_crl(_crl())

    assert list(crl) == []


@pytest.mark.parametrize("reason", RevocationReason)
def test_entry_says_its_reason_unless_unspecified(reason: RevocationReason) -> None:
    serial = b"\xff" + os.urandom(16)

    (entry,) = x509.load_der_x509_crl(_crl(_entry(serial, reason)))

    assert entry.serial_number == int.from_bytes(serial)
    assert entry.revocation_date_utc == NOW
    if reason is RevocationReason.UNSPECIFIED:
        assert len(entry.extensions) == 0
    else:
        (extension,) = entry.extensions
        assert isinstance(extension.value, x509.CRLReason)
        assert not extension.critical
        names = extension.value.reason.name.replace("_", ""), reason.name.lower().replace("_", "")
        assert names[0] == names[1]


def test_moment_of_revocation_is_cut_to_seconds() -> None:
    moment = NOW.replace(microsecond=999_999)

    (entry,) = x509.load_der_x509_crl(_crl(_entry(b"\x01", revoked_at=moment)))

    assert entry.revocation_date_utc == NOW


def test_all_of_many_entries_are_found() -> None:
    serials = [_serial(3) for _ in range(5000)]
    crl = x509.load_der_x509_crl(_crl(*map(_entry, serials)))

    assert len(crl) == 5000
    for serial in (serials[0], serials[2500], serials[-1]):
        found = crl.get_revoked_certificate_by_serial_number(int.from_bytes(serial))
        assert found is not None
    assert crl.get_revoked_certificate_by_serial_number(1) is None


def _verify(
    directory: Path, leaf: bytes, crls: Sequence[bytes]
) -> subprocess.CompletedProcess[str]:
    """OpenSSL's verdict on a certificate with CRLs."""
    root, issuing = authority().write_pem(directory)
    listed = directory / "crls.pem"
    listed.write_bytes(
        b"".join(x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM) for crl in crls)
    )
    command = ["openssl", "verify", "-x509_strict", "-crl_check", "-extended_crl"]
    return subprocess.run(
        [
            *command,
            "-attime",
            str(int(NOW.timestamp())),
            "-CAfile",
            root,
            "-untrusted",
            issuing,
            "-CRLfile",
            listed,
            write_pem(directory / "leaf.pem", leaf),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_openssl_finds_the_revoked_certificate_and_no_other(tmp_path: Path) -> None:
    serials = [_serial(3), _serial(3)]
    revoked, good = (
        authority().issue(build_tbs(template_for(serial=serial))) for serial in serials
    )
    crl = _crl(_entry(serials[0]))

    verdict = _verify(tmp_path, revoked, [crl])

    assert verdict.returncode != 0
    assert "certificate revoked" in verdict.stderr
    assert _verify(tmp_path, good, [crl]).returncode == 0


def test_crl_of_another_shard_says_nothing(tmp_path: Path) -> None:
    leaf = authority().issue(build_tbs(template_for(serial=_serial(4))))

    verdict = _verify(tmp_path, leaf, [_crl(shard=3)])

    assert verdict.returncode != 0
    assert "scope" in verdict.stderr or "unable to get certificate CRL" in verdict.stderr
    assert _verify(tmp_path, leaf, [_crl(shard=4)]).returncode == 0
