"""acme, the library of certbot, in what certbot itself never does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from support.checkout import ROOT
from support.clientlab import ClientLab
from support.crls import wait_for_revocation
from support.environments import install_python
from support.inspection import names_in, verify_chain
from support.issued import Issued

Tell = Callable[[str], dict[str, Any]]


@pytest.fixture
def tell(lab: ClientLab) -> Tell:
    """Runs a story of ``tests/support/acme_library.py``; its document."""
    python = install_python("certbot") / "python"
    script = ROOT / "tests/support/acme_library.py"

    def run(story: str) -> dict[str, Any]:
        result = subprocess.run(
            [python, "-P", script, story, lab.directory_url, str(lab.server.http_port)],
            env=os.environ | {"REQUESTS_CA_BUNDLE": str(lab.roots)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    return run


def test_account_goes_on_with_its_new_key_and_not_with_the_old_one(
    tell: Tell, lab: ClientLab, tmp_path: Path
) -> None:
    told = tell("key_change")

    chain = tmp_path / "chain.pem"
    chain.write_text(told["chain"])
    verify_chain(chain, chain, lab.roots)
    assert names_in(chain) == ["after.acme.localhost"]
    assert told["with_old_key"] == "malformed"


def test_order_for_a_name_that_was_proven_ahead_is_ready_at_once(tell: Tell) -> None:
    told = tell("preauthorization")

    assert told["proven"] == "valid"
    assert told["proofs_of_order"] == [told["proof"]]
    assert told["order"] == "ready"


def test_list_of_orders_has_the_orders_of_its_account_only(tell: Tell) -> None:
    told = tell("order_list")

    assert sorted(told["listed"]) == sorted(told["made"])
    assert told["listed_for_other"] == []


def test_account_with_proofs_for_all_names_may_revoke_the_certificate_of_another(
    tell: Tell, tmp_path: Path
) -> None:
    told = tell("third_party_revocation")

    assert told["tries"] == ["unauthorized", "unauthorized", "revoked", "alreadyRevoked"]
    chain = tmp_path / "chain.pem"
    chain.write_text(told["chain"])
    wait_for_revocation(Issued(chain, chain))


def test_alternate_chain_goes_on_to_the_root(tell: Tell, lab: ClientLab, tmp_path: Path) -> None:
    told = tell("alternates")

    (alternate,) = told["alternates"]
    chain = tmp_path / "chain.pem"
    chain.write_text(alternate)
    verify_chain(chain, chain, lab.roots)
    certificates = x509.load_pem_x509_certificates(alternate.encode())
    default = x509.load_pem_x509_certificates(told["default"].encode())
    roots = x509.load_pem_x509_certificates(lab.roots.read_bytes())
    assert certificates == [*default, *roots]
