"""certbot revokes, by its account and by the certificate's key; the CRL tells within seconds."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509

from support.certbot import Certbot, Lineage
from support.clientlab import ClientLab
from support.inspection import openssl

# The CRL is made within a second or two on an idle machine.
PATIENCE = 60.0


@pytest.fixture
def certbot(lab_certbot: Certbot) -> Certbot:
    """certbot with an account and folders of its own, for the shared server."""
    return lab_certbot


def obtain(certbot: Certbot, lab: ClientLab, name: str, *options: str) -> Lineage:
    """A certificate for one name."""
    port = str(lab.server.http_port)
    here = ("--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", port)
    return certbot.certonly(*here, *options, "-d", name, name=name)


def published_crl(certificate: x509.Certificate, folder: Path) -> Path:
    """The CRL that the certificate points to, as it is published now."""
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = points[0].full_name or ()
    path = folder / "list.crl"
    with urllib.request.urlopen(str(name.value), timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/pkix-crl"
        path.write_bytes(answer.read())
    return path


def revoked_in_crl(lineage: Lineage, folder: Path) -> x509.RevokedCertificate:
    """The certificate's entry, as soon as the CRL has it."""
    certificate = x509.load_pem_x509_certificate(lineage.certificate.read_bytes())
    deadline = time.monotonic() + PATIENCE
    while True:
        crl = x509.load_der_x509_crl(published_crl(certificate, folder).read_bytes())
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None:
            return entry
        assert time.monotonic() < deadline, "the revocation is not published"
        time.sleep(0.1)


def is_refused_by_openssl(lineage: Lineage, lab: ClientLab, folder: Path) -> bool:
    """Whether openssl, with the CRL, takes the certificate for revoked."""
    pem = folder / "crl.pem"
    verified = openssl(
        "crl", "-inform", "DER", "-in", folder / "list.crl", "-CAfile", lineage.chain, "-out", pem
    )
    assert verified == ""
    printed = openssl(
        "verify",
        *("-crl_check", "-CRLfile", pem),
        *("-CAfile", lab.roots, "-untrusted", lineage.chain),
        lineage.certificate,
        succeeds=False,
    )
    return "certificate revoked" in printed


def test_account_revokes_its_certificate(certbot: Certbot, lab: ClientLab, tmp_path: Path) -> None:
    lineage = obtain(certbot, lab, "ended.localhost")

    result = certbot.run(
        *("revoke", "--cert-path", str(lineage.certificate)),
        *("--reason", "superseded", "--no-delete-after-revoke"),
    )

    assert result.returncode == 0, result.stdout
    entry = revoked_in_crl(lineage, tmp_path)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.superseded
    assert is_refused_by_openssl(lineage, lab, tmp_path)


def test_key_of_the_certificate_revokes_it_and_is_refused_from_then_on(
    certbot: Certbot, lab: ClientLab, tmp_path: Path
) -> None:
    lineage = obtain(certbot, lab, "stolen.localhost")
    other = Certbot(certbot.command, certbot.directory_url, certbot.roots, tmp_path / "other")

    result = other.run(
        *("revoke", "--cert-path", str(lineage.certificate), "--key-path", str(lineage.key)),
        *("--reason", "keycompromise", "--no-delete-after-revoke"),
    )
    again = certbot.run("renew", "--force-renewal", "--reuse-key", "--no-random-sleep-on-renew")

    assert result.returncode == 0, result.stdout
    entry = revoked_in_crl(lineage, tmp_path)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    assert is_refused_by_openssl(lineage, lab, tmp_path)
    assert again.returncode != 0
    assert "compromised" in again.stdout


def test_second_revocation_is_told_to_be_one(certbot: Certbot, lab: ClientLab) -> None:
    lineage = obtain(certbot, lab, "twice.localhost")
    arguments = ("revoke", "--cert-path", str(lineage.certificate), "--no-delete-after-revoke")

    first, second = certbot.run(*arguments), certbot.run(*arguments)

    assert first.returncode == 0, first.stdout
    assert second.returncode != 0
    assert "alreadyRevoked" in second.stdout or "revoked already" in second.stdout
