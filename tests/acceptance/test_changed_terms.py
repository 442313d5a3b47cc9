"""The terms of service change under a certbot that is in use."""

from __future__ import annotations

from benchmarks.lab import LabServer
from support.certbot import Certbot

SETTING = "ACME_SERVER__ACME__TERMS_OF_SERVICE"
OLD, NEW = "https://terms.example/1", "https://terms.example/2"


def test_certbot_names_the_new_terms_and_agrees_by_registering_anew(
    certbot: Certbot, server: LabServer
) -> None:
    options = ["--standalone", "--http-01-address", "127.0.0.1"]
    options += ["--http-01-port", str(server.http_port), "-d", "terms.localhost"]
    server.stop()
    server.environment[SETTING] = OLD
    server.start()
    certbot.certonly(*options, name="terms")
    server.stop()
    server.environment[SETTING] = NEW
    server.start()

    refused = certbot.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
    left = certbot.run("unregister")
    certbot.certonly(*options, "--force-renewal", name="terms")

    assert refused.returncode != 0
    assert NEW in refused.stdout, refused.stdout
    assert left.returncode == 0, left.stdout
