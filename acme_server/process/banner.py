"""What ``run`` prints when it is ready."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from acme_server.config.settings import Settings

# certbot's environment and its folders, below the directory that the line is pasted in.
_FOLDER = "acme-lab"
_NAME = "demo.localhost"


def ready_banner(settings: Settings) -> str:
    """Where the server is; in lab mode also how to get a first certificate from it."""
    url = f"{settings.server.external_url}/directory"
    lines = ["", f"acme-server is ready: {url}"]
    if settings.lab:
        lines += _lab_lines(settings, url)
    return "\n".join([*lines, ""])


def _lab_lines(settings: Settings, url: str) -> list[str]:
    roots = settings.data_dir / "roots.pem"
    return [
        "This is lab mode: everything is on loopback, and any name below .localhost can have a",
        "certificate. For real use see docs/tutorial.md.",
        "",
        f"Root certificate: {roots} (also {settings.server.external_url}/roots.pem)",
        "",
        "A certificate with certbot, as any user, in a second terminal:",
        f"  {certbot_line(settings, url, roots)}",
        "",
        "It chains up to the root:",
        f"  {verify_line(roots)}",
        "",
        "The same with acme.sh, where that is installed:",
        f"  {acme_sh_line(settings, url, roots)}",
    ]


def certbot_line(settings: Settings, url: str, roots: Path) -> str:
    """Installs certbot into an environment of its own and gets a certificate; works as pasted,
    in any directory that may be written to, without root."""
    return (
        f"python3 -m venv {_FOLDER} && {_FOLDER}/bin/pip install -q certbot && "
        f"REQUESTS_CA_BUNDLE={quote(str(roots))} {_FOLDER}/bin/certbot certonly --standalone "
        f"--http-01-port {settings.validation.http_port} --server {url} -d {_NAME} "
        "--agree-tos --register-unsafely-without-email --non-interactive "
        f"--config-dir {_FOLDER}/config --work-dir {_FOLDER}/work --logs-dir {_FOLDER}/logs"
    )


def verify_line(roots: Path) -> str:
    """Checks what certbot got, in the same directory."""
    live = f"{_FOLDER}/config/live/{_NAME}"
    return f"openssl verify -CAfile {quote(str(roots))} -untrusted {live}/chain.pem {live}/cert.pem"


def acme_sh_line(settings: Settings, url: str, roots: Path) -> str:
    """acme.sh's own web server answers the challenge; it needs socat or Python."""
    return (
        f"acme.sh --issue --standalone --httpport {settings.validation.http_port} "
        f"--server {url} --ca-bundle {quote(str(roots))} -d {_NAME}"
    )
