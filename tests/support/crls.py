"""Whether a certificate is revoked, as a relying party finds out: by the CRL that it names."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from support.issued import Issued

# CRLs are made in the background; a request for one is taken up within seconds.
_SECONDS = 30


def wait_for_revocation(issued: Issued) -> x509.RevokedCertificate:
    """The entry of the certificate in its CRL, once it is there; fails the test after long."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if (entry := find_revocation(issued)) is not None:
            return entry
        time.sleep(0.2)
    raise AssertionError("the CRL never listed the certificate")


def find_revocation(issued: Issued) -> x509.RevokedCertificate | None:
    """The entry of the certificate in the CRL as it is now; None if it isn't revoked."""
    crl = x509.load_der_x509_crl(_fetch(issued.leaf))
    _, issuer, *_ = x509.load_pem_x509_certificates(issued.chain.read_bytes())
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    return crl.get_revoked_certificate_by_serial_number(issued.leaf.serial_number)


def openssl_says(issued: Issued, roots: Path, folder: Path) -> str:
    """What openssl prints when it verifies the certificate together with its CRL."""
    crl = folder / "current.crl"
    crl.write_bytes(x509.load_der_x509_crl(_fetch(issued.leaf)).public_bytes(Encoding.PEM))
    result = subprocess.run(
        [
            *("openssl", "verify", "-crl_check", "-CRLfile", crl),
            *("-CAfile", roots, "-untrusted", issued.chain, issued.chain),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def _fetch(leaf: x509.Certificate) -> bytes:
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    (name,) = points[0].full_name or ()
    with urllib.request.urlopen(name.value, timeout=30) as answer:
        body: bytes = answer.read()
        return body
