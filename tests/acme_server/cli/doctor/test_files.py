"""Findings about files, each provoked with real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from acme_server.cli.doctor import files
from acme_server.cli.doctor.site import Site
from acme_server.config.values import (
    AutoMasterKey,
    EnvironmentMasterKey,
    FileMasterKey,
    MasterKeySource,
    TlsFiles,
)
from acme_server.workflow.inspection import DatabaseFacts
from acme_server.workflow.sealing import generate_master_key
from support.doctor import found, only, with_facts

MakeSite = Callable[..., Site]


@pytest.mark.parametrize(
    ("mode", "severity"), [(0o700, "ok"), (0o711, "ok"), (0o755, "ok"), (0o770, "error"),
                           (0o777, "error"), (0o702, "error")]
)  # fmt: skip
def test_data_directory_is_for_its_owner_to_change(
    make_site: MakeSite, tmp_path: Path, mode: int, severity: str
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)

    assert only(files.check_data_directory, make_site({"data_dir": path}))[0] == severity


def test_data_directory_may_be_missing_but_not_a_file(make_site: MakeSite, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    missing = only(files.check_data_directory, make_site({"data_dir": tmp_path / "no"}))
    no_directory = only(files.check_data_directory, make_site({"data_dir": file}))
    below = only(files.check_data_directory, make_site({"data_dir": file / "data"}))

    assert missing[0] == "info"
    assert no_directory == ("error", f"{file} is no directory")
    assert below == ("error", f"{file}/data: Not a directory")


def test_data_directory_that_we_may_not_write_to_is_an_error(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o500)
    # Root may write everywhere; the check asks the kernel by access(2).
    monkeypatch.setattr(os, "access", lambda *_: False)

    severity, message = only(files.check_data_directory, make_site({"data_dir": path}))

    assert severity == "error"
    assert "may not be written to by this account" in message


@pytest.mark.parametrize(
    ("mode", "url", "severity"),
    [
        (0o600, "postgresql://app:pw@db/acme", "ok"),
        (0o640, "postgresql://app:pw@db/acme", "ok"),
        (0o644, "postgresql://app:pw@db/acme", "warning"),
        (0o644, "postgresql://db/acme?password=pw", "warning"),
        (0o644, "postgresql://app@db/acme", "ok"),
        (0o644, "embedded", "ok"),
        (0o664, "embedded", "error"),
        (0o646, "embedded", "error"),
    ],
)
def test_configuration_file_is_as_secret_as_what_is_in_it(
    make_site: MakeSite, tmp_path: Path, mode: int, url: str, severity: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("")
    path.chmod(mode)

    site = make_site({"database.url": url}, config=path)

    assert only(files.check_configuration_file, site)[0] == severity


def test_no_configuration_file_is_fine(make_site: MakeSite) -> None:
    assert only(files.check_configuration_file, make_site())[0] == "ok"


@pytest.mark.parametrize(
    ("mode", "severity"),
    [(0o400, "ok"), (0o600, "ok"), (0o440, "info"), (0o444, "error"), (0o620, "error"),
     (0o601, "error")],
)  # fmt: skip
def test_master_key_file_is_for_its_owner_only(
    make_site: MakeSite, tmp_path: Path, mode: int, severity: str
) -> None:
    path = tmp_path / "key"
    path.write_text(generate_master_key())
    path.chmod(mode)

    site = make_site({"secrets.master_key": FileMasterKey(path)})

    assert only(files.check_master_key, site)[0] == severity


@pytest.mark.parametrize(
    ("source", "severity", "message"),
    [
        (FileMasterKey(Path("/nowhere")), "error", "can't read /nowhere: No such file"),
        (EnvironmentMasterKey("OTHER"), "error", "the environment variable OTHER is not set"),
        (EnvironmentMasterKey("SHORT"), "error", "env:SHORT: a master key is 32 bytes"),
        (EnvironmentMasterKey("GOOD"), "ok", "the master key is in the environment variable"),
        (AutoMasterKey(), "info", "master_key is not there yet"),
    ],
)
def test_master_key_is_there_and_is_a_key(
    make_site: MakeSite, source: MasterKeySource, severity: str, message: str
) -> None:
    environ = {"SHORT": "c2hvcnQ", "GOOD": generate_master_key()}
    site = make_site({"secrets.master_key": source}, environ=environ)

    finding = only(files.check_master_key, site)

    assert finding[0] == severity
    assert message in finding[1]
    assert "c2hvcnQ" not in finding[1]


def test_lost_master_key_of_a_database_is_an_error(
    make_site: MakeSite, facts: DatabaseFacts
) -> None:
    site = with_facts(make_site({"secrets.master_key": AutoMasterKey()}), facts, check_value=b"x")

    severity, message = only(files.check_master_key, site)

    assert severity == "error"
    assert "is missing, and the database was made with a key" in message


def test_key_of_another_database_is_an_error(make_site: MakeSite) -> None:
    site = make_site(environ={"MASTER_KEY": generate_master_key()})

    fits = found(files.check_master_key, replace(site, master_key_fits=True))
    foreign = found(files.check_master_key, replace(site, master_key_fits=False))

    assert [severity for severity, _ in fits] == ["ok"]
    assert [severity for severity, _ in foreign] == ["ok", "error"]


@pytest.fixture
def authority() -> trustme.CA:
    """A CA for certificates in files."""
    return trustme.CA()


def tls_site(make_site: MakeSite, folder: Path, leaf: trustme.LeafCert, **more: object) -> Site:
    certificate, key = folder / "chain.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    key.chmod(0o600)
    return make_site(
        {
            "server.tls": TlsFiles(certificate=certificate, key=key),
            "server.external_url": "https://acme.example.org",
        },
        **more,
    )


@pytest.mark.parametrize(
    ("names", "days", "severity", "message"),
    [
        (("acme.example.org",), 90, "ok", "is valid until"),
        (("*.example.org",), 90, "ok", "is valid until"),
        (("acme.example.org",), 10, "warning", "expires on"),
        (("acme.example.org",), -1, "error", "expired on"),
        (("www.example.org",), 90, "error", "does not name acme.example.org"),
        (("*.acme.example.org",), 90, "error", "does not name acme.example.org"),
        (("192.0.2.1",), 90, "error", "does not name acme.example.org"),
    ],
)
def test_certificate_in_files_is_judged_as_clients_do(
    make_site: MakeSite,
    tmp_path: Path,
    authority: trustme.CA,
    names: tuple[str, ...],
    days: int,
    severity: str,
    message: str,
) -> None:
    leaf = authority.issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=days))

    finding = only(files.check_tls_files, tls_site(make_site, tmp_path, leaf))

    assert finding[0] == severity
    assert message in finding[1]


def test_certificate_of_the_future_is_an_error(
    make_site: MakeSite, tmp_path: Path, authority: trustme.CA
) -> None:
    leaf = authority.issue_cert("acme.example.org")
    site = tls_site(make_site, tmp_path, leaf, now=lambda: datetime(1990, 1, 1, tzinfo=UTC))

    severity, message = only(files.check_tls_files, site)

    assert severity == "error"
    assert "is valid from" in message


def test_key_of_another_certificate_is_an_error(
    make_site: MakeSite, tmp_path: Path, authority: trustme.CA
) -> None:
    site = tls_site(make_site, tmp_path, authority.issue_cert("acme.example.org"))
    other = authority.issue_cert("acme.example.org")
    (tmp_path / "key.pem").write_bytes(other.private_key_pem.bytes())

    severity, message = only(files.check_tls_files, site)

    assert severity == "error"
    assert "is no key for" in message


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_file_without_a_certificate_is_an_error(
    make_site: MakeSite, tmp_path: Path, authority: trustme.CA, content: bytes
) -> None:
    site = tls_site(make_site, tmp_path, authority.issue_cert("acme.example.org"))
    (tmp_path / "chain.pem").write_bytes(content)

    severity, message = only(files.check_tls_files, site)

    assert severity == "error"
    assert "holds no PEM certificate" in message


def test_missing_file_is_named(make_site: MakeSite, tmp_path: Path, authority: trustme.CA) -> None:
    site = tls_site(make_site, tmp_path, authority.issue_cert("acme.example.org"))
    (tmp_path / "key.pem").unlink()

    severity, message = only(files.check_tls_files, site)

    assert (severity, message) == ("error", f"{tmp_path}/key.pem: No such file or directory")


def test_key_that_others_can_read_is_a_warning(
    make_site: MakeSite, tmp_path: Path, authority: trustme.CA
) -> None:
    site = tls_site(make_site, tmp_path, authority.issue_cert("acme.example.org"))
    (tmp_path / "key.pem").chmod(0o640)

    findings = found(files.check_tls_files, site)

    assert [severity for severity, _ in findings] == ["warning", "ok"]


def test_own_certificate_needs_no_files(make_site: MakeSite) -> None:
    assert only(files.check_tls_files, make_site())[0] == "ok"
