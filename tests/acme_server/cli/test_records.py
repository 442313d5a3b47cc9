"""Accounts, orders, certificates and the CA as commands show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography import x509

from policy.model.ids import encode_id
from support.records import Records

Run = Callable[..., Result]
Ask = Callable[..., Any]


def test_accounts_are_listed_page_by_page(ask: Ask, records: Records) -> None:
    page = ask("account", "list", "--limit", "1")
    rest = ask("account", "list", "--after", page["next"])

    (account,) = page["accounts"]
    assert account["id"] == page["next"] == encode_id(records.account.id)
    assert account["status"] == "valid"
    assert account["contacts"] == ["mailto:admin@example.org"]
    assert rest == {"accounts": [], "next": None}


@pytest.mark.parametrize("form", ["{0}", "{1}", "https://acme.example.org/acme/account/{0}/orders"])
def test_account_is_shown_with_its_work(ask: Ask, records: Records, form: str) -> None:
    account_id = records.account.id

    document = ask("account", "show", form.format(encode_id(account_id), account_id))

    assert document["id"] == encode_id(account_id)
    assert [order["id"] for order in document["orders"]] == [
        encode_id(order.id) for order in (records.fresh, records.failed, records.issued)
    ]
    assert [item["serial"] for item in document["certificates"]] == [
        records.certificate.serial.hex()
    ]


@pytest.mark.parametrize(
    ("arguments", "is_found"),
    [
        ((), True),
        (("--name", "www.example.org"), True),
        (("--name", "WWW.example.org"), True),
        (("--name", "ww.example.org"), False),
        (("--name", "example.org"), False),
        (("--status", "issued"), True),
        (("--status", "reserved"), False),
        (("--revoked",), False),
        (("--not-revoked",), True),
        (("--expires-within", "91d"), True),
        (("--expires-within", "1d"), False),
    ],
)
def test_certificates_are_filtered(
    ask: Ask, records: Records, arguments: tuple[str, ...], is_found: bool
) -> None:
    found = ask("certificate", "list", *arguments)["certificates"]

    expected = [records.certificate.serial.hex()] if is_found else []
    assert [item["serial"] for item in found] == expected


def test_certificates_of_another_account_are_left_out(ask: Ask, records: Records) -> None:
    own = ask("certificate", "list", "--account", encode_id(records.account.id))
    other = ask("certificate", "list", "--account", encode_id(records.fresh.id))

    assert len(own["certificates"]) == 1
    assert other["certificates"] == []


def test_list_goes_on_after_a_serial(ask: Ask, records: Records) -> None:
    serial = records.certificate.serial.hex()

    page = ask("certificate", "list", "--limit", "1")
    rest = ask("certificate", "list", "--before", serial)

    assert page["next"] == serial
    assert rest == {"certificates": [], "next": None}


@pytest.mark.parametrize("form", ["{}", "0x{}", "{:colons}"])
def test_certificate_is_found_by_its_serial_in_any_notation(
    ask: Ask, records: Records, form: str
) -> None:
    digits = records.certificate.serial.hex()
    notation = (
        ":".join(digits[n : n + 2].upper() for n in range(0, len(digits), 2))
        if "colons" in form
        else form.format(digits)
    )

    document = ask("certificate", "show", notation)

    certificate = x509.load_pem_x509_certificate(document["pem"].encode())
    assert certificate.serial_number == int(digits, 16)
    assert document["order"] == encode_id(records.issued.id)


def test_pem_is_the_certificate_alone(run: Run, records: Records, recorded: dict[str, str]) -> None:
    result = run("certificate", "show", records.certificate.serial.hex(), "--pem", environ=recorded)

    assert result.exit_code == 0
    assert len(x509.load_pem_x509_certificates(result.stdout.encode())) == 1
    assert result.stdout.startswith("-----BEGIN")
    assert result.stdout.endswith("-----END CERTIFICATE-----\n")


def test_failed_order_is_explained_with_target_reason_and_remedy(
    run: Run, records: Records, recorded: dict[str, str]
) -> None:
    environ = recorded | {"ACME_SERVER__VALIDATION__HTTP_PORT": str(records.failed_port)}

    result = run("order", "explain", encode_id(records.failed.id), "--json", environ=environ)

    document = json.loads(result.stdout)
    assert document["order"]["status"] == "invalid"
    assert document["account"]["id"] == encode_id(records.account.id)
    (authorization,) = document["authorizations"]
    (validation,) = authorization["validations"]
    token = authorization["challenges"][0]["token"]
    path = f"/.well-known/acme-challenge/{token}"
    assert validation["target"] == f"http://demo.localhost:{records.failed_port}{path}"
    assert validation["expected"] == f"{token}.{document['account']['thumbprint']}"
    assert validation["addresses"] == [
        f"[::1]:{records.failed_port}",
        f"127.0.0.1:{records.failed_port}",
    ]
    assert validation["error"]["cause"] == "connection_refused"
    assert validation["seen"].endswith("refused the connection (for demo.localhost).")
    assert validation["likely"] == "Nothing listens there, or a firewall rejects it."
    assert validation["remedy"].startswith("Start the server that answers the challenge")
    assert [event["action"] for event in document["events"]][:1] == ["order_created"]
    assert "authorization_failed" in [event["action"] for event in document["events"]]


def test_explanation_fits_a_screen(run: Run, records: Records, recorded: dict[str, str]) -> None:
    result = run("order", "explain", encode_id(records.failed.id), environ=recorded)

    lines = result.stdout.splitlines()
    assert len(lines) <= 40
    for words in ("target ", "expected ", "seen ", "remedy ", "try 1 ", "order_created"):
        assert any(words in line for line in lines), words


def test_issued_order_is_explained_with_its_certificate(ask: Ask, records: Records) -> None:
    document = ask("order", "explain", f"https://a/acme/order/{encode_id(records.issued.id)}")

    assert document["certificate"]["serial"] == records.certificate.serial.hex()
    actions = [event["action"] for event in document["events"]]
    assert {"order_created", "order_claimed", "certificate_issued"} <= set(actions)


def test_fresh_order_has_no_validations(
    run: Run, records: Records, recorded: dict[str, str]
) -> None:
    result = run("order", "explain", encode_id(records.fresh.id), environ=recorded)

    assert "no challenge was answered yet" in result.stdout


def test_ca_is_shown_and_its_root_exported(ask: Ask, records: Records, tmp_path: Path) -> None:
    shown = ask("ca", "show")["authorities"]
    exported = ask("ca", "export", "--output", str(tmp_path / "roots.pem"))["authorities"]
    issuing = ask("ca", "export", "--name", "ca")["authorities"]

    assert [item["name"] for item in shown] == ["ca-root", "ca"]
    assert [item["active"] for item in shown] == [False, True]
    assert [item["crls"] == item["shards"] for item in shown] == [True, True]
    (root,) = x509.load_pem_x509_certificates((tmp_path / "roots.pem").read_bytes())
    assert root.issuer == root.subject
    assert [item["name"] for item in exported] == ["ca-root"]
    assert [item["name"] for item in issuing] == ["ca"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("account", "show", "A" * 22), "there is no such account"),
        (("order", "explain", "A" * 22), "there is no such order"),
        (("certificate", "show", "ab"), "there is no certificate with the serial ab"),
        (("certificate", "list", "--before", "ab"), "no certificate with the serial of --before"),
        (("ca", "export"), "there is no CA yet"),
        (("ca", "export", "--name", "x"), "there is no such CA"),
    ],
)
def test_what_is_not_there_is_told_in_a_line_and_as_json(
    run: Run, environment: dict[str, str], arguments: tuple[str, ...], message: str
) -> None:
    text = run(*arguments, environ=environment)
    document = run(*arguments, "--json", environ=environment)

    assert (text.exit_code, document.exit_code) == (1, 1)
    assert text.stderr.startswith("acme-server: ")
    assert message in text.stderr
    assert message in json.loads(document.stdout)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("account", "show", "nonsense"),
        ("account", "show", ""),
        ("order", "explain", "A" * 21 + "B"),
        ("certificate", "show", "xyz"),
        ("certificate", "show", "0" * 41),
        ("certificate", "list", "--expires-within", "30"),
        ("certificate", "list", "--limit", "0"),
        ("certificate", "list", "--status", "lost"),
    ],
)
def test_wrong_arguments_are_refused_before_the_database_is_asked(
    run: Run, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert "Usage:" in result.stderr
