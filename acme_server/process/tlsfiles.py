"""The files of ``server.tls``: read by the parent, which may be root; served by its children."""

from __future__ import annotations

import dataclasses
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from acme_server.config.settings import Settings
from acme_server.config.values import TlsFiles
from acme_server.web.tls import server_context

_MAX_BYTES = 1 << 20


class TlsFilesRefused(Exception):
    """The files can't be used; the text names setting, path and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPem:
    """What the two files held, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def read_tls_files(settings: Settings) -> TlsPem | None:
    """The files as they are now, proven to belong together; None where ``server.tls`` names none.

    Raises TlsFilesRefused.
    """
    files = settings.server.tls
    if not isinstance(files, TlsFiles):
        return None
    pem = TlsPem(
        certificate=_read("server.tls.certificate", files.certificate),
        key=_read("server.tls.key", files.key),
    )
    if b"ENCRYPTED" in pem.key:
        # OpenSSL would ask for the passphrase on the terminal.
        raise TlsFilesRefused(f"server.tls.key: {files.key} is encrypted; store it unencrypted")
    try:
        server_context(pem.certificate, pem.key)
    except ssl.SSLError as error:
        raise TlsFilesRefused(
            f"server.tls: {files.certificate} and {files.key} can't be used together: "
            f"{error.reason or error}; the first holds the certificate and its chain, the second "
            "its key, both in PEM"
        ) from error
    return pem


class TlsCopies:
    """In a child: what the parent read, under paths that nobody else can open."""

    def __init__(self, pem: TlsPem) -> None:
        self._certificate = os.memfd_create("certificate", os.MFD_CLOEXEC)
        self._key = os.memfd_create("key", os.MFD_CLOEXEC)
        self.replace(pem)

    def replace(self, pem: TlsPem) -> None:
        """Hold other files from now on."""
        for descriptor, content in ((self._certificate, pem.certificate), (self._key, pem.key)):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)

    def settings(self, settings: Settings) -> Settings:
        """``settings`` with the copies in place of the files."""
        files = TlsFiles(certificate=_path(self._certificate), key=_path(self._key))
        return dataclasses.replace(settings, server=dataclasses.replace(settings.server, tls=files))


def _path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")


def _read(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise TlsFilesRefused(f"{key}: can't read {path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise TlsFilesRefused(f"{key}: {path} is larger than a certificate with its chain")
    return content
