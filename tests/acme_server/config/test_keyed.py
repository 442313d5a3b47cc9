"""Mappings with keys of the operator's: the resolvers of zones."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from acme_server.config.settings import Settings
from acme_server.config.values import EncryptedResolver, Endpoint

Load = Callable[..., Settings]
Refuse = Callable[..., list[str]]

_INNER = Endpoint(ip_address("10.0.0.53"), 53)


def test_each_zone_has_its_servers_in_their_order(load: Load) -> None:
    settings = load(
        """
        validation:
          zone_resolvers:
            Corp.Example: [10.0.0.53, "tls://10.0.0.54"]
            lab.corp.example:
              - 10.0.1.53:5353
        """
    )

    assert settings.validation.zone_resolvers == (
        (
            "corp.example",
            (_INNER, EncryptedResolver(Endpoint(ip_address("10.0.0.54"), 853), "10.0.0.54")),
        ),
        ("lab.corp.example", (Endpoint(ip_address("10.0.1.53"), 5353),)),
    )


@pytest.mark.parametrize(
    ("written", "beginning"),
    [
        ("10.0.0.53", "1:30: validation.zone_resolvers: must be a mapping: DNS name to list"),
        ("[10.0.0.53]", "1:30: validation.zone_resolvers: must be a mapping: DNS name to list"),
        ("{corp.example: 10.0.0.53}", "1:45: validation.zone_resolvers: must be a list in bra"),
        ("{corp.example: []}", "1:45: validation.zone_resolvers: must not be empty"),
        ("{corp.example: [dns.example]}", '1:46: validation.zone_resolvers: "dns.example" must'),
        ("{'*.corp.example': [10.0.0.53]}", '1:31: validation.zone_resolvers: leave the "*."'),
        ("{'': [10.0.0.53]}", '1:31: validation.zone_resolvers: "" is no DNS name'),
        ("{a.b: [10.0.0.5], A.b: [10.0.0.6]}", "1:48: validation.zone_resolvers: a.b is given"),
        ("{a.b: [10.0.0.5, 10.0.0.5]}", "1:47: validation.zone_resolvers: 10.0.0.5:53 stands"),
    ],
)
def test_zones_that_are_not_clear_are_refused(refuse: Refuse, written: str, beginning: str) -> None:
    (line,) = refuse(f"validation: {{zone_resolvers: {written}}}")

    assert line.startswith(f"config.yaml:{beginning}")


def test_zones_can_be_set_by_the_environment(load: Load) -> None:
    variables = {
        "ACME_SERVER__VALIDATION__ZONE_RESOLVERS": "{corp.example: [10.0.0.53]}",
        "ACME_SERVER__SERVER__EXTERNAL_URL": "https://acme.example",
    }

    settings = load(None, variables)

    assert settings.validation.zone_resolvers == (("corp.example", (_INNER,)),)
