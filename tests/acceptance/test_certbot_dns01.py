"""certbot proves control by dns-01; a real DNS server on loopback answers."""

from __future__ import annotations

import pytest

from support.certbot import Certbot
from support.clientlab import ClientLab
from support.issued import Issued


@pytest.fixture
def dns_options(lab: ClientLab) -> list[str]:
    """certbot's options for the manual plugin with hooks that write the lab's zone."""
    record = '"_acme-challenge.$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION"'
    return [
        *("--manual", "--preferred-challenges", "dns"),
        *("--manual-auth-hook", f"{lab.zone.hook} present {record}"),
        *("--manual-cleanup-hook", f"{lab.zone.hook} cleanup {record}"),
    ]


def test_wildcard_and_its_base_are_certified_and_renewed(
    lab_certbot: Certbot, lab: ClientLab, dns_options: list[str]
) -> None:
    names = ("-d", "example.test", "-d", "*.example.test")

    lineage = lab_certbot.certonly(*dns_options, *names, name="wild")

    issued = Issued(lineage.fullchain, lineage.key)
    first = issued.check(lab.roots, "*.example.test", "example.test")
    renewal = lab_certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
    assert renewal.returncode == 0, renewal.stdout
    assert issued.leaf.serial_number != first.serial_number
    issued.check(lab.roots, "*.example.test", "example.test")


def test_wildcard_is_never_certified_by_http01(lab_certbot: Certbot, lab: ClientLab) -> None:
    result = lab_certbot.run(
        *("certonly", "--agree-tos", "--register-unsafely-without-email"),
        *("--standalone", "--http-01-port", str(lab.server.http_port)),
        *("-d", "*.example.test"),
    )

    assert result.returncode != 0
    assert "DNS" in result.stdout
