"""Looks at certificates with tools that had no part in making them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def openssl(*arguments: str | Path, succeeds: bool = True) -> str:
    """What an openssl command prints; fails the test, with its errors, if it fails.

    With ``succeeds=False`` it must fail, and its errors are what counts.
    """
    result = subprocess.run(
        ["openssl", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode == 0) is succeeds, result.stderr
    return result.stdout if succeeds else result.stderr


def verify_chain(certificate: Path, chain: Path, roots: Path) -> None:
    """openssl accepts the certificate as a TLS server's below the roots."""
    printed = openssl(
        "verify",
        *("-CAfile", roots),
        *("-untrusted", chain),
        *("-purpose", "sslserver"),
        "-x509_strict",
        certificate,
    )
    assert printed.strip() == f"{certificate}: OK"


def names_in(certificate: Path) -> list[str]:
    """The DNS names in the subjectAltName extension."""
    printed = openssl("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
    return sorted(re.findall(r"DNS:([^,\s]+)", printed))


def public_key_of_certificate(certificate: Path) -> str:
    """The certificate's public key as PEM."""
    return openssl("x509", "-in", certificate, "-noout", "-pubkey")


def public_key_of_private_key(key: Path) -> str:
    """The public part of a private key as PEM."""
    return openssl("pkey", "-in", key, "-pubout")


def serial_of(certificate: Path) -> str:
    """The serial number in hexadecimal."""
    return openssl("x509", "-in", certificate, "-noout", "-serial").strip().partition("=")[2]
