"""What docs/clients says is pasted as it is, against a running server in lab mode."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.clientlab import ClientLab
from support.crls import wait_for_revocation
from support.environments import install_node, install_python, system_command
from support.issued import Issued
from support.pages import paste, pasted_lines


def _of_system(*commands: str) -> Callable[[Path], Path | None]:
    """Commands of Debian packages of the same names, but Apache's."""

    def prepare(folder: Path) -> Path | None:
        for command in commands:
            package = {"apache2": "apache2-bin"}.get(command, command)
            system_command(command, package=package)
        return None

    return prepare


def _of_python(environment: str) -> Callable[[Path], Path | None]:
    return lambda folder: install_python(environment)


def _of_node(folder: Path) -> None:
    (folder / "node_modules").symlink_to(install_node("acme-client"))


@dataclass(frozen=True, slots=True)
class Page:
    """What a page's lines leave behind. ``prepare`` stands for its section about installing, and
    returns a folder of commands if they are not the system's."""

    chain: str
    key: str
    prepare: Callable[[Path], Path | None]
    is_revoked: bool = False


_PAGES = {
    "certbot": Page(
        "certbot/config/live/demo.localhost/fullchain.pem",
        "certbot/config/live/demo.localhost/privkey.pem",
        _of_python("certbot"),
    ),
    "lego": Page(
        "lego/certificates/demo.localhost.crt",
        "lego/certificates/demo.localhost.key",
        _of_system("lego"),
    ),
    "uacme": Page(
        "uacme/config/demo.localhost/revoked-*.pem",
        "uacme/config/private/demo.localhost/key.pem",
        _of_system("uacme", "curl"),
        is_revoked=True,
    ),
    "dehydrated": Page(
        "dehydrated/certs/demo.localhost/fullchain.pem",
        "dehydrated/certs/demo.localhost/privkey.pem",
        _of_system("dehydrated", "curl"),
    ),
    "caddy": Page(
        "caddy/chain.pem",
        "caddy/certificates/*/demo.localhost/demo.localhost.key",
        _of_python("caddy"),
    ),
    "mod_md": Page(
        "apache/md/domains/demo.localhost/pubcert.pem",
        "apache/md/domains/demo.localhost/privkey.pem",
        _of_system("apache2", "curl"),
    ),
    "python-acme": Page("demo.pem", "demo.key", _of_python("certbot")),
    "acme-client": Page("demo.pem", "demo.key", _of_node),
}
_NOT_RUN = {"README", "acme.sh", "cert-manager", "terraform"}


@pytest.fixture
def folder(lab: ClientLab) -> Iterator[Path]:
    """An empty folder with the server's data next to it, that other accounts get through to."""
    folder = Path(tempfile.mkdtemp(prefix="acme-page-"))
    folder.chmod(0o711)
    (folder / "acme-server-data").mkdir()
    shutil.copy(lab.roots, folder / "acme-server-data")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", _PAGES)
def test_lines_of_a_page_work_as_pasted(name: str, folder: Path, lab: ClientLab) -> None:
    printed = paste_page(name, folder, lab)

    assert "OK" in printed
    left = issued(name, folder)
    left.check(lab.roots, "demo.localhost")
    if _PAGES[name].is_revoked:
        wait_for_revocation(left)


def test_mod_md_proves_control_by_tls_alpn01_if_it_may_do_nothing_else(
    folder: Path, lab: ClientLab
) -> None:
    may = "MDCAChallenges tls-alpn-01\nProtocols acme-tls/1 http/1.1\n"

    paste_page("mod_md", folder, lab, lambda lines: lines.replace("MDomain ", f"{may}MDomain "))

    assert may in (folder / "apache/httpd.conf").read_text()
    issued("mod_md", folder).check(lab.roots, "demo.localhost")


def paste_page(
    name: str, folder: Path, lab: ClientLab, edit: Callable[[str], str] = lambda lines: lines
) -> str:
    """Run a page's lines, after ``edit``, against the lab's server; what they printed."""
    commands = _PAGES[name].prepare(folder)
    path = os.environ["PATH"] if commands is None else f"{commands}:{os.environ['PATH']}"
    ports = {14000: lab.server.port, 5002: lab.server.http_port, 5001: lab.server.tls_port}
    return paste(edit(pasted_lines(f"docs/clients/{name}.md", ports)), folder, path)


def issued(name: str, folder: Path) -> Issued:
    """What a page's lines left in ``folder``."""
    (chain,), (key,) = folder.glob(_PAGES[name].chain), folder.glob(_PAGES[name].key)
    return Issued(chain, key)


def test_every_page_is_run_or_says_that_it_was_not() -> None:
    pages = {page.stem for page in ROOT.glob("docs/clients/*.md")}

    assert pages == _PAGES.keys() | _NOT_RUN
    for name in ("cert-manager", "terraform"):
        assert "**Not run.**" in (ROOT / f"docs/clients/{name}.md").read_text()
