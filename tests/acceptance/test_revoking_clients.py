"""Clients revoke what they got, and the CRL that the certificate names says so."""

from __future__ import annotations

import shutil
from pathlib import Path

from cryptography import x509

from support.certbot import Certbot
from support.clientlab import ClientLab
from support.crls import find_revocation, openssl_says, wait_for_revocation
from support.issued import Issued
from support.lego import Lego


def certbot_issued(certbot: Certbot, lab: ClientLab, name: str, *options: str) -> Issued:
    """A certificate by certbot's own web server."""
    port = str(lab.server.http_port)
    lineage = certbot.certonly(
        *("--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", port),
        *("-d", name, *options),
        name=name,
    )
    return Issued(lineage.fullchain, lineage.key)


def reason_of(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    """Why, as the entry of the CRL says; without the extension it is unspecified."""
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified


def test_certbot_revokes_with_the_rsa_key_of_the_certificate_and_no_account(
    lab_certbot: Certbot, lab: ClientLab
) -> None:
    issued = certbot_issued(lab_certbot, lab, "compromised.localhost", "--key-type", "rsa")
    shutil.rmtree(lab_certbot.folder / "config/accounts")

    result = lab_certbot.run(
        *("revoke", "--cert-path", str(issued.chain), "--key-path", str(issued.key)),
        *("--reason", "keycompromise", "--no-delete-after-revoke"),
    )

    assert result.returncode == 0, result.stdout
    assert reason_of(wait_for_revocation(issued)) is x509.ReasonFlags.key_compromise


def test_account_that_has_nothing_to_do_with_a_certificate_cannot_revoke_it(
    lab_certbot: Certbot, certbot_command: Path, lab: ClientLab, tmp_path: Path
) -> None:
    issued = certbot_issued(lab_certbot, lab, "foreign.localhost")
    other = Certbot(certbot_command, lab.directory_url, lab.roots, tmp_path / "other")
    other.run("register", "--agree-tos", "--register-unsafely-without-email")

    result = other.run("revoke", "--cert-path", str(issued.chain), "--no-delete-after-revoke")

    assert result.returncode != 0
    assert "may not revoke it" in " ".join(result.stdout.split()), result.stdout
    assert find_revocation(issued) is None


def test_lego_revokes_once(lego: Lego, lab: ClientLab, tmp_path: Path) -> None:
    http = ("--http", "--http.port", f"127.0.0.1:{lab.server.http_port}")
    issued = lego.obtain(*http, names=("revoked.lego.localhost",))
    domain = "--domains=revoked.lego.localhost"

    assert find_revocation(issued) is None
    assert ": OK" in openssl_says(issued, lab.roots, tmp_path)

    first = lego.run(domain, action="revoke --keep --reason 5")
    second = lego.run(domain, action="revoke --keep --reason 5")

    assert first.returncode == 0, first.stdout
    assert reason_of(wait_for_revocation(issued)) is x509.ReasonFlags.cessation_of_operation
    assert "certificate revoked" in openssl_says(issued, lab.roots, tmp_path)
    assert second.returncode != 0
    assert "alreadyRevoked" in second.stdout, second.stdout
