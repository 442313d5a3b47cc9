"""What checks of the doctor find, in a form to compare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from acme_server.cli.doctor.findings import Examine
from acme_server.cli.doctor.site import Site
from acme_server.workflow.inspection import DatabaseFacts


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
