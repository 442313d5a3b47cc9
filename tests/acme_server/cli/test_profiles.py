"""The commands about profiles: what there is, what it says, and whether it can be issued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography import x509

from policy.shippedprofiles import SHIPPED

Run = Callable[..., Result]
CONFIGURATION = """\
acme: {profiles: [mine, tls_server]}
profiles:
  mine:
    base: client_auth
    organization: Example GmbH
    description: For our robots.
    curves: [P-384]
    extensions: ["1.3.6.1.4.1.99999.1=0500"]
"""
# The library reads this vendor's extension, and there is no such template in NULL.
UNREADABLE = """\
profiles:
  broken: {extensions: ["1.3.6.1.4.1.311.21.7=0500"]}
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], str]:
    """Write a configuration; its path."""

    def write(text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


def _document(run: Run, *arguments: str) -> Any:
    result = run("profile", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_list_has_the_shipped_profiles_and_tells_the_default(run: Run) -> None:
    document = _document(run, "list")

    assert [entry["name"] for entry in document["profiles"]] == list(SHIPPED)
    assert [entry["name"] for entry in document["profiles"] if entry["default"]] == ["tls_server"]
    assert [entry["name"] for entry in document["profiles"] if entry["offered"]] == ["tls_server"]


def test_list_is_a_table_with_the_configured_profiles(
    run: Run, configured: Callable[[str], str]
) -> None:
    result = run("profile", "list", "--config", configured(CONFIGURATION))

    assert result.exit_code == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in result.stdout.splitlines()}
    assert lines["mine"] == "mine default 365d client_auth For our robots."
    assert lines["tls_server"].startswith("tls_server yes 90d server_auth")
    assert lines["code_signing"].startswith("code_signing no 1095d code_signing")


def test_show_tells_everything_in_the_words_of_the_configuration(
    run: Run, configured: Callable[[str], str]
) -> None:
    path = configured(CONFIGURATION)

    document = _document(run, "show", "mine", "--config", path)
    text = run("profile", "show", "mine", "--config", path).stdout

    assert len(document.pop("version")) == 16
    assert document == {
        "name": "mine",
        "description": "For our robots.",
        "validity": "365d",
        "maximum_validity": "365d",
        "backdate": "5m",
        "ec_key_usages": ["digital_signature"],
        "rsa_key_usages": ["digital_signature"],
        "extended_key_usages": ["client_auth"],
        "country": None,
        "organization": "Example GmbH",
        "organizational_unit": None,
        "common_name": "first_name",
        "identifier_types": ["dns"],
        "maximum_identifiers": 100,
        "must_staple": False,
        "policies": [],
        "key_types": ["ec", "rsa"],
        "curves": ["P-384"],
        "minimum_rsa_bits": 2048,
        "maximum_rsa_bits": 4096,
        "challenge_types": [
            "dns-01",
            "dns-account-01",
            "dns-persist-01",
            "http-01",
            "tls-alpn-01",
        ],
        "issuer": None,
        "extensions": ["1.3.6.1.4.1.99999.1=0500"],
        "baseline_requirements": False,
        "needs_approval": False,
        "offered": True,
        "default": True,
    }
    assert "organization           Example GmbH\n" in text


@pytest.mark.parametrize("command", ["show", "lint"])
def test_profile_that_is_not_there_is_told(run: Run, command: str) -> None:
    result = run("profile", command, "other")

    assert result.exit_code == 1
    assert "there is no profile other" in result.stderr


def test_lint_finds_nothing_in_the_shipped_profiles(run: Run) -> None:
    document = _document(run, "lint")

    assert [entry["name"] for entry in document["profiles"]] == list(SHIPPED)
    assert [entry["findings"] for entry in document["profiles"]] == [[]] * len(SHIPPED)
    assert all(entry["openssl"] for entry in document["profiles"])


def test_lint_makes_a_sample_for_each_kind_of_key(
    run: Run, configured: Callable[[str], str]
) -> None:
    document = _document(run, "lint", "mine", "--config", configured(CONFIGURATION))

    (entry,) = document["profiles"]
    samples = [x509.load_pem_x509_certificate(pem.encode()) for pem in entry["certificates"]]
    keys = [getattr(sample.public_key(), "key_size", None) for sample in samples]
    assert keys == [384, 2048]
    for sample in samples:
        (part,) = sample.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
        assert part.value == "Example GmbH"


def test_lint_says_what_it_looked_at(run: Run) -> None:
    result = run("profile", "lint", "tls_short")

    assert result.exit_code == 0
    assert result.stdout == "tls_short: no faults in 4 samples (lint and openssl)\n"


def test_lint_does_without_openssl(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    result = run("profile", "lint", "tls_short")

    assert result.exit_code == 0
    assert "openssl is not installed" in result.stdout


def test_value_that_an_extension_cannot_have_is_refused_in_the_configuration(
    run: Run, configured: Callable[[str], str]
) -> None:
    result = run("config", "check", "--config", configured(UNREADABLE))

    assert result.exit_code == 2
    assert "profiles.broken.extensions" in result.stderr


def test_fault_that_only_a_certificate_shows_is_found(
    run: Run, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the configuration lets pass, for whatever reason, the lint of a certificate finds.
    monkeypatch.setattr("policy.profilechecks._can_be_read", lambda extra: True)
    path = configured(UNREADABLE)

    text = run("profile", "lint", "broken", "--config", path)
    document = run("profile", "lint", "broken", "--config", path, "--json")

    assert text.exit_code == document.exit_code == 1
    assert "the bytes are no certificate" in text.stdout
    (entry,) = json.loads(document.stdout)["profiles"]
    assert entry["certificates"] == []
    assert entry["findings"]


def test_configuration_in_force_has_what_profiles_were_given(
    run: Run, configured: Callable[[str], str]
) -> None:
    path = configured(CONFIGURATION)

    result = run("config", "show", "--json", "--config", path)

    settings = json.loads(result.stdout)["settings"]
    assert {key: value["value"] for key, value in settings.items() if key[:9] == "profiles."} == {
        "profiles.mine.base": "client_auth",
        "profiles.mine.description": "For our robots.",
        "profiles.mine.organization": "Example GmbH",
        "profiles.mine.curves": ["P-384"],
        "profiles.mine.extensions": ["1.3.6.1.4.1.99999.1=0500"],
    }
    assert settings["profiles.mine.organization"]["source"] == f"{path}:5:5"
