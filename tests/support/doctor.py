"""What checks of the doctor find, in a form to compare."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from acme_server.cli.doctor.findings import Examine
from acme_server.cli.doctor.site import Site
from acme_server.workflow.inspection import DatabaseFacts
from support.postgres import PostgresCluster


def found(examine: Examine, site: Site) -> list[tuple[str, str]]:
    """What a check finds: severities and messages. Whatever is wrong has a remedy."""
    findings = list(examine(site))
    for finding in findings:
        assert finding.severity in ("ok", "info") or finding.remedy
    return [(str(finding.severity), finding.message) for finding in findings]


def only(examine: Examine, site: Site) -> tuple[str, str]:
    """The one finding of a check."""
    (finding,) = found(examine, site)
    return finding


def with_facts(site: Site, facts: DatabaseFacts, **changes: Any) -> Site:
    """The site with a database of which some facts are others."""
    return replace(site, database=replace(facts, **changes))


@contextmanager
def own_database(cluster: PostgresCluster, template: str) -> Iterator[str]:
    """The URL, as the role that serves, of a fresh database for the block."""
    name = f"doctor_{uuid.uuid4().hex}"
    cluster.create_database(name, template=template)
    try:
        yield cluster.app_url(name)
    finally:
        cluster.drop_database(name)
