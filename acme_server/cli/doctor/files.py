"""Checks of files: the data directory, the master key, the configuration, TLS."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from acme_server.cli.doctor.findings import Finding, error, info, ok, warning
from acme_server.cli.doctor.site import Site
from acme_server.config.addresses import host_of
from acme_server.config.masterkey import find_master_key
from acme_server.config.problems import ConfigurationError
from acme_server.config.values import EnvironmentMasterKey, FileMasterKey, TlsFiles

_GENERATE = "Make one with `acme-server secrets generate` and name it in secrets.master_key."
# A certificate in files is renewed by somebody else, who may need some days to be told.
_RENEWAL_NOTICE = timedelta(days=14)


def check_data_directory(site: Site) -> Iterator[Finding]:
    """Nobody else may change what is in the data directory, and we may."""
    path = site.settings.data_dir
    try:
        status = path.stat()
    except FileNotFoundError:
        yield info(f"{path} is not there yet; the first start makes it")
        return
    except OSError as failure:
        yield error(f"{path}: {failure.strerror}", "Run the doctor as the server's account.")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield error(f"{path} is no directory", "Set data_dir to a directory.")
    elif status.st_mode & 0o022:
        yield error(
            f"{path} may be written to by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"chmod go-w {path}",
        )
    elif not os.access(path, os.W_OK | os.X_OK):
        yield error(
            f"{path} may not be written to by this account",
            "Run the doctor as the account that runs the server, or set data_dir.",
        )
    else:
        yield ok(f"{path} is for its owner only to change")


def check_configuration_file(site: Site) -> Iterator[Finding]:
    """A file with passwords in it is not for everyone to read, and nobody else may change it."""
    if site.config is None:
        yield ok("there is no configuration file")
        return
    mode = stat.S_IMODE(site.config.stat().st_mode)
    database = site.settings.database
    has_password = any(_has_password(url) for url in (database.url, database.owner_url) if url)
    if mode & 0o022:
        yield error(
            f"{site.config} may be changed by others (mode {mode:04o})",
            f"chmod go-w {site.config}",
        )
    elif mode & 0o004 and has_password:
        yield warning(
            f"{site.config} holds the database's password and may be read by everyone",
            f"chmod o-r {site.config}",
        )
    else:
        yield ok(f"{site.config} has mode {mode:04o}")


def check_master_key(site: Site) -> Iterator[Finding]:
    """The master key is there, nobody else can read it, and it is the database's."""
    source = site.settings.secrets.master_key
    try:
        text = find_master_key(site.settings, site.environ)
    except ConfigurationError as failure:
        yield error(failure.problems[0].message, _GENERATE)
        return
    if text is None:
        yield from _missing_master_key(site)
        return
    if (fault := _fault_of_key(text)) is not None:
        yield error(f"{source}: {fault}", _GENERATE)
        return
    if isinstance(source, EnvironmentMasterKey):
        yield ok(f"the master key is in the environment variable {source.name}")
    else:
        path = source.path if isinstance(source, FileMasterKey) else site.settings.master_key_file
        yield from _check_key_mode(path)
    if site.master_key_fits is False:
        yield error(
            "the master key is not the one that this database was made with",
            "Set secrets.master_key to the old key; without it the CA's keys can't be opened.",
        )


def check_tls_files(site: Site) -> Iterator[Finding]:
    """The certificate in files can be served: it has its key, is valid and names our host."""
    tls = site.settings.server.tls
    if not isinstance(tls, TlsFiles):
        yield ok(f"no files: server.tls is {tls}")
        return
    try:
        chain, key = tls.certificate.read_bytes(), tls.key.read_bytes()
    except OSError as failure:
        yield error(f"{failure.filename}: {failure.strerror}", "Correct the paths in server.tls.")
        return
    if tls.key.stat().st_mode & 0o077:
        yield warning(f"{tls.key} can be read by others", f"chmod 0600 {tls.key}")
    yield from _check_tls_pair(site, tls, chain, key)


def _missing_master_key(site: Site) -> Iterator[Finding]:
    path = site.settings.master_key_file
    if site.database is not None and site.database.check_value is not None:
        yield error(
            f"{path} is missing, and the database was made with a key",
            f"Restore {path} from your copy; without it the CA's keys can't be opened.",
        )
    else:
        yield info(f"{path} is not there yet; the first start makes it")


def _fault_of_key(text: str) -> str | None:
    from acme_server.workflow.sealing import decode_master_key

    try:
        decode_master_key(text)
    except ValueError as failure:
        return str(failure)
    return None


def _check_key_mode(path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007 or mode & 0o020:
        yield error(
            f"{path} can be read or changed by others (mode {mode:04o}): who has it and the "
            "database has the CA",
            f"chmod 0400 {path}",
        )
    elif mode & 0o040:
        yield info(f"{path} can be read by its group (mode {mode:04o})", f"chmod 0400 {path}")
    else:
        yield ok(f"{path} has mode {mode:04o}")


def _check_tls_pair(site: Site, tls: TlsFiles, chain: bytes, key: bytes) -> Iterator[Finding]:
    import ssl

    from cryptography import x509

    from acme_server.cli.doctor.certificates import fault_of_certificate
    from acme_server.web.tls import server_context

    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        server_context(chain, key)
    except (ValueError, IndexError):
        yield error(f"{tls.certificate} holds no PEM certificate", "Correct server.tls.")
        return
    except ssl.SSLError as failure:
        reason = (failure.reason or "unreadable").replace("_", " ").lower()
        yield error(
            f"{tls.key} is no key for {tls.certificate}: {reason}",
            "Give the certificate and its own, unencrypted key, both as PEM.",
        )
        return
    host = host_of(site.settings.server.external_url)
    now = site.now()
    if (fault := fault_of_certificate(certificate, host, now)) is not None:
        yield error(f"{tls.certificate} {fault}", "Renew it, then send SIGHUP to the server.")
    elif certificate.not_valid_after_utc - now < _RENEWAL_NOTICE:
        yield warning(
            f"{tls.certificate} expires on {certificate.not_valid_after_utc:%Y-%m-%d}",
            "Renew it, then send SIGHUP to the server.",
        )
    else:
        yield ok(f"{tls.certificate} is valid until {certificate.not_valid_after_utc:%Y-%m-%d}")


def _has_password(url: str) -> bool:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        return parts.password is not None or "password=" in parts.query
    return False
