"""What ``run`` prints when it is ready."""

from __future__ import annotations

from pathlib import Path

from acme_server.config.settings import Settings


def ready_banner(settings: Settings) -> str:
    """Where the server is; in lab mode also how to get a first certificate from it."""
    url = f"{settings.server.external_url}/directory"
    lines = ["", f"acme-server is ready: {url}"]
    if settings.lab:
        lines += _lab_lines(settings, url)
    return "\n".join([*lines, ""])


def _lab_lines(settings: Settings, url: str) -> list[str]:
    roots = (settings.data_dir / "roots.pem").absolute()
    return [
        "This is lab mode: everything is on loopback, and any name below .localhost can have a",
        "certificate. For real use see docs/tutorial.md.",
        "",
        f"Root certificate: {roots} (also {settings.server.external_url}/roots.pem)",
        "",
        "A certificate with certbot, in a second terminal:",
        f"  {certbot_line(settings, url, roots)}",
        "",
        "The same with acme.sh:",
        f"  {acme_sh_line(settings, url, roots)}",
    ]


def certbot_line(settings: Settings, url: str, roots: Path) -> str:
    """Installs certbot into an environment of its own and gets a certificate; works as pasted,
    without root."""
    home = "$HOME/.acme-server-certbot"
    return (
        f'python3 -m venv "{home}" && "{home}/bin/pip" install -q certbot && '
        f'REQUESTS_CA_BUNDLE="{roots}" "{home}/bin/certbot" certonly --standalone '
        f"--http-01-port {settings.validation.http_port} --server {url} -d demo.localhost "
        "--agree-tos --register-unsafely-without-email --non-interactive "
        f'--config-dir "{home}/config" --work-dir "{home}/work" --logs-dir "{home}/logs" && '
        f'openssl verify -CAfile "{roots}" -untrusted '
        f'"{home}/config/live/demo.localhost/chain.pem" '
        f'"{home}/config/live/demo.localhost/cert.pem"'
    )


def acme_sh_line(settings: Settings, url: str, roots: Path) -> str:
    """acme.sh's own web server answers the challenge (it needs socat)."""
    return (
        f"acme.sh --issue --standalone --httpport {settings.validation.http_port} "
        f'--server {url} --ca-bundle "{roots}" -d demo.localhost'
    )
