"""Judging certificates that a client of ours would meet."""

from __future__ import annotations

import ipaddress
from datetime import datetime

from cryptography import x509


def fault_of_certificate(certificate: x509.Certificate, host: str, now: datetime) -> str | None:
    """Why a client that connects to ``host`` at ``now`` would refuse it; None if it wouldn't.

    Says nothing about who issued it.
    """
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d} only"
    if not _names(certificate, host):
        return f"does not name {host}"
    return None


def _names(certificate: x509.Certificate, host: str) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    names = extension.value
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        dns = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        return host in dns or f"*.{host.partition('.')[2]}" in dns
    return address in names.get_values_for_type(x509.IPAddress)
