"""certbot and a server that enforces CAA: it is told what forbids, and gets what is permitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certbot import Certbot
from support.clientlab import ClientLab, client_lab
from support.issued import Issued

IDENTITY = "ca.example"


@pytest.fixture(scope="module")
def strict_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientLab]:
    """A server of its own that enforces CAA."""
    settings = {
        "ACME_SERVER__VALIDATION__CAA": "enforce",
        "ACME_SERVER__ACME__CAA_IDENTITIES": f"[{IDENTITY}]",
    }
    with client_lab(tmp_path_factory.mktemp("strict"), settings) as lab:
        yield lab


@pytest.fixture
def strict_certbot(certbot_command: Path, strict_lab: ClientLab, tmp_path: Path) -> Certbot:
    """certbot with an account of its own there."""
    folder = tmp_path / "certbot"
    return Certbot(certbot_command, strict_lab.directory_url, strict_lab.roots, folder)


def dns_options(lab: ClientLab) -> list[str]:
    """certbot's options for dns-01 in the lab's zone."""
    record = '"_acme-challenge.$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION"'
    return [
        *("--manual", "--preferred-challenges", "dns"),
        *("--manual-auth-hook", f"{lab.zone.hook} present {record}"),
        *("--manual-cleanup-hook", f"{lab.zone.hook} cleanup {record}"),
    ]


def test_certbot_shows_the_record_that_forbids(
    strict_certbot: Certbot, strict_lab: ClientLab
) -> None:
    strict_lab.zone.restrict("forbidden.test", '0 issue "other.example"')

    result = strict_certbot.run(
        *("certonly", "--agree-tos", "--register-unsafely-without-email"),
        *(*dns_options(strict_lab), "-d", "www.forbidden.test"),
    )

    shown = re.sub(r"\s+", " ", result.stdout)
    assert result.returncode != 0
    assert 'forbidden.test. CAA 0 issue "other.example"' in shown
    assert f'forbidden.test. CAA 0 issue "{IDENTITY}"' in shown


def test_certbot_gets_what_the_records_permit_to_its_account(
    strict_certbot: Certbot, strict_lab: ClientLab
) -> None:
    options = dns_options(strict_lab)
    strict_certbot.certonly(*options, "-d", "free.test", name="free")
    account = strict_certbot.run("show_account")
    found = re.search(r"Account URL: (\S+)", account.stdout)
    assert found is not None, account.stdout
    strict_lab.zone.restrict(
        "mine.test",
        f'0 issue "{IDENTITY}; accounturi={found[1]}; validationmethods=dns-01"',
        '0 issuewild ";"',
    )

    lineage = strict_certbot.certonly(*options, "-d", "www.mine.test", name="mine")
    wild = strict_certbot.run("certonly", *options, "-d", "*.mine.test")

    Issued(lineage.fullchain, lineage.key).check(strict_lab.roots, "www.mine.test")
    assert wild.returncode != 0
    assert "issuewild" in wild.stdout
