"""``doctor``: looks at everything that goes wrong in installations, and says what to do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from acme_server.cli.errors import CommandFailed
from acme_server.cli.invocation import Invocation, operator_command
from acme_server.cli.output import printable

if TYPE_CHECKING:
    from acme_server.cli.doctor.findings import Finding


@click.command("doctor")
@click.option("--problems", is_flag=True, help="Leave out what is well.")
@operator_command
def doctor_command(invocation: Invocation, problems: bool) -> None:
    """Examine this installation, and say for each finding what to do.

    Exit codes: 0 all is well, 1 there are warnings, 2 there are errors.
    """
    from acme_server.cli.doctor.findings import Severity, worst_of

    findings = _examine(invocation)
    worst = worst_of(findings)
    shown = [item for item in findings if not problems or item.severity is not Severity.OK]
    invocation.answer(
        {"worst": worst, "findings": [_document(finding) for finding in shown]},
        lambda: "".join(map(_text, shown)) + _summary(findings),
    )
    sys.exit(worst.exit_code)


def _examine(invocation: Invocation) -> list[Finding]:
    from acme_server.cli.doctor.examination import examine
    from acme_server.cli.doctor.findings import Finding, Severity
    from acme_server.cli.doctor.survey import survey

    try:
        settings = invocation.settings()
    except CommandFailed as failure:
        remedy = "Correct it; acme-server config check tells the same. Nothing else was checked."
        return [
            Finding(Severity.ERROR, line, remedy, "configuration")
            for line in failure.message.splitlines()
        ]
    mode = "lab mode, for one developer on this machine" if settings.lab else "no lab mode"
    valid = Finding(Severity.OK, f"the configuration is valid ({mode})", None, "configuration")
    with survey(settings, invocation.config, invocation.progress) as site:
        return [valid, *examine(site)]


def _document(finding: Finding) -> Mapping[str, object]:
    return {
        "check": finding.check,
        "severity": finding.severity,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _text(finding: Finding) -> str:
    line = f"{finding.severity:8} {finding.check:18} {printable(finding.message)}\n"
    return line if finding.remedy is None else f"{line}{'':28}-> {printable(finding.remedy)}\n"


def _summary(findings: list[Finding]) -> str:
    counts = {
        name: sum(finding.severity == name for finding in findings) for name in ("error", "warning")
    }
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items()) + "\n"
