"""Settings that contradict each other, each beside its twin that is accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acme_server.config.settings import Settings

Load = Callable[..., Settings]
Refuse = Callable[..., list[str]]

_ELEVEN = "[" + ", ".join(f"{letter}.example" for letter in "abcdefghijk") + "]"
_EXTERNAL = "database: {url: postgresql://app:pw@db/acme}\n"


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        (
            "server: {external_url: 'http://acme.example.org'}",
            "1:10: server.external_url: must be https:// (RFC 8555, section 6.1)",
        ),
        (
            "server: {listen: '0.0.0.0:443'}",
            "1:10: server.external_url: must be set, to the URL that clients use",
        ),
        (
            "server: {external_url: 'https://a.example', status_url: 'http://localhost:1'}",
            "1:45: server.status_url: http://localhost:1 would stand in certificates for their",
        ),
        (
            "server: {external_url: 'https://a.example', status_url: 'http://[::1]'}",
            "1:45: server.status_url: http://[::1] would stand in certificates for their",
        ),
        (
            "server: {ops_listen: '127.0.0.1:14080'}",
            "1:10: server.ops_listen: 127.0.0.1:14080 is taken by server.status_listen",
        ),
        (
            "server: {status_listen: '[::]:14000'}",
            "1:10: server.status_listen: [::]:14000 is taken by server.listen (127.0.0.1:14000)",
        ),
        (_EXTERNAL, "1:12: secrets.master_key: must be set for an external database, to file:"),
        (
            "database: {owner_url: postgresql://owner:pw@db/acme}",
            "1:12: database.owner_url: is for an external database",
        ),
        (
            "validation: {dnssec: resolver}",
            "1:14: validation.dnssec: resolver needs validation.resolvers: name one",
        ),
        (
            "validation: {dnssec: resolver, resolvers: [127.0.0.1, 10.0.0.53]}",
            "1:32: validation.resolvers: anybody on the way to 10.0.0.53:53 could vouch for",
        ),
        (
            "validation: {caa: enforce}",
            "1:14: validation.caa: enforce needs acme.caa_identities: the names that domains",
        ),
        (
            "acme: {challenge_types: [dns-persist-01]}",
            "1:8: acme.challenge_types: dns-persist-01 needs acme.caa_identities or",
        ),
        (
            f"acme: {{challenge_types: [dns-01, dns-persist-01], caa_identities: {_ELEVEN}}}",
            "1:51: acme.caa_identities: dns-persist-01 takes at most 10 names; set acme.issuer_dom",
        ),
        (
            f"acme: {{issuer_domain_names: {_ELEVEN}}}",
            "1:8: acme.issuer_domain_names: has more than 10 names; clients refuse that",
        ),
        (
            "acme: {allowed_names: [a.example], denied_names: [a.example, b.a.example]}",
            "1:36: acme.denied_names: a.example is allowed as well, and denied wins",
        ),
        (
            "validation: {deadline: 2s}",
            "1:14: validation.connect_timeout: 5s must be shorter than validation.deadline (2s)",
        ),
        (
            "validation: {connect_timeout: 20s}",
            "1:14: validation.connect_timeout: 20s must be shorter than validation.deadline (20s)",
        ),
        (
            "database: {statement_timeout: 5s}",
            "1:12: database.lock_timeout: 5s must be shorter than database.statement_timeout",
        ),
        (
            "ca: {crl_lifetime: 1d}",
            "1:6: ca.crl_interval: 1d must be shorter than ca.crl_lifetime (1d)",
        ),
        (
            "ca: {issuing_lifetime: 30d}",
            "1:6: ca.certificate_lifetime: 90d must be shorter than ca.issuing_lifetime (30d)",
        ),
        (
            "ca: {root_lifetime: 365d}",
            "1:6: ca.issuing_lifetime: 1825d must be shorter than ca.root_lifetime (365d)",
        ),
        (
            "validation: {concurrency: 10}",
            "1:14: validation.account_concurrency: must not be above validation.concurrency (10)",
        ),
    ],
)
def test_contradiction_is_refused_at_the_setting_to_change(
    refuse: Refuse, text: str, beginning: str
) -> None:
    assert refuse(text)[0].startswith(f"config.yaml:{beginning}")


@pytest.mark.parametrize(
    "text",
    [
        "server: {external_url: 'http://acme.example.org', tls: off}",
        "server: {external_url: 'https://acme.example.org', tls: off}",
        "server: {external_url: 'https://acme.example.org', listen: '0.0.0.0:443'}",
        "server: {listen: '127.0.0.1:9000'}",
        "server: {external_url: 'https://localhost', status_url: 'http://localhost'}",
        "server: {external_url: 'https://a.example', status_url: 'http://a.example'}",
        "server: {ops_listen: '127.0.0.2:14080'}",
        _EXTERNAL + "secrets: {master_key: 'env:KEY'}",
        _EXTERNAL + "secrets: {master_key: 'file:/k'}",
        "acme: {allowed_names: [example], denied_names: [a.example]}",
        "secrets: {master_key: 'env:KEY'}",
        "validation: {caa: enforce}\nacme: {caa_identities: [ca.example]}",
        "validation: {caa: advisory}",
        "acme: {challenge_types: [dns-persist-01], caa_identities: [ca.example]}",
        "acme: {challenge_types: [dns-persist-01], issuer_domain_names: [ca.example]}",
        f"acme: {{challenge_types: [dns-01, dns-account-01], caa_identities: {_ELEVEN}}}",
        (
            "acme: {challenge_types: [dns-persist-01], issuer_domain_names: [a.example], "
            f"caa_identities: {_ELEVEN}}}"
        ),
        "validation: {caa: off}",
        "validation: {dnssec: resolver, resolvers: [127.0.0.1, '[::1]:5353', 'tls://9.9.9.9']}",
        "validation: {dnssec: off, resolvers: [10.0.0.53]}",
    ],
)
def test_settings_that_agree_are_accepted(load: Load, text: str) -> None:
    assert not load(text).lab


def test_rule_is_not_applied_to_what_is_faulty_already(refuse: Refuse) -> None:
    lines = refuse("server: {listen: '0.0.0.0:443', external_url: 'acme.example.org'}\n")

    fault = '"acme.example.org" must start with https:// or http://'
    assert lines == [f"config.yaml:1:47: server.external_url: {fault}"]


def test_contradiction_of_variables_names_the_variable(refuse: Refuse) -> None:
    lines = refuse(None, {"ACME_SERVER__DATABASE__URL": "postgresql://app:pw@db/acme"})

    assert len(lines) == 1
    assert lines[0].startswith("ACME_SERVER__DATABASE__URL: secrets.master_key: must be set")
