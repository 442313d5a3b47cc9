"""The command: all checks on a whole installation, and how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from acme_server.cli.doctor.examination import CHECKS, examine
from acme_server.cli.doctor.findings import Severity, error, info, ok, warning, worst_of
from acme_server.cli.doctor.site import Site
from acme_server.workflow.sealing import generate_master_key
from support.doctor import with_facts
from support.records import Records, closed_port

Run = Callable[..., Result]
MakeSite = Callable[..., Site]


def ports() -> dict[str, str]:
    """Listeners on free ports, so that a server on this machine doesn't matter."""
    names = ("LISTEN", "STATUS_LISTEN", "OPS_LISTEN")
    return {f"ACME_SERVER__SERVER__{name}": f"127.0.0.1:{closed_port()}" for name in names}


def test_there_are_many_checks_with_names_of_their_own() -> None:
    assert len(CHECKS) >= 30
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_every_check_is_made_in_an_installation_with_a_database(
    run: Run, recorded: dict[str, str], records: Records
) -> None:
    result = run("doctor", "--json", environ=recorded | ports())

    document = json.loads(result.stdout)
    by_check: dict[str, set[str]] = {}
    for finding in document["findings"]:
        by_check.setdefault(finding["check"], set()).add(finding["severity"])
    # Published CRLs can't be had while no server runs; status-url says so.
    silent = {"published-crls"}
    assert set(by_check) == {check.name for check in CHECKS} - silent | {"configuration"}
    # The tests' cluster is fast rather than durable.
    assert "error" in by_check["durability"]
    assert by_check["master-key"] == {"ok"}
    assert by_check["issuers"] == {"ok"}
    assert by_check["crls"] == {"ok"}
    assert document["worst"] == "error"
    assert result.exit_code == 2


def test_findings_have_remedies_and_the_text_shows_them(run: Run, recorded: dict[str, str]) -> None:
    environ = recorded | ports()
    document = json.loads(run("doctor", "--json", environ=environ).stdout)
    text = run("doctor", "--problems", environ=environ).stdout

    for finding in document["findings"]:
        assert finding["remedy"] or finding["severity"] in ("ok", "info")
    assert "-> ALTER SYSTEM SET fsync = on;" in text
    assert "\nok " not in text
    assert re.fullmatch(r"\d+ errors?, \d+ warnings?", text.splitlines()[-1])


def test_wrong_master_key_is_found(run: Run, recorded: dict[str, str]) -> None:
    environ = recorded | ports() | {"MASTER_KEY": generate_master_key()}

    document = json.loads(run("doctor", "--json", environ=environ).stdout)

    messages = [f["message"] for f in document["findings"] if f["check"] == "master-key"]
    assert "the master key is not the one that this database was made with" in messages


def test_faulty_configuration_is_the_only_finding(run: Run) -> None:
    Path("c.yaml").write_text("databse: {}\nserver: {workers: x}\n")

    result = run("doctor", "--config", "c.yaml", "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 2
    assert [finding["check"] for finding in document["findings"]] == ["configuration"] * 2
    assert document["findings"][0]["message"].startswith("c.yaml:1:1: databse: unknown key")


def test_fresh_machine_has_nothing_to_repair(run: Run, tmp_path: Path) -> None:
    environ = ports() | {"ACME_SERVER__DATA_DIR": str(tmp_path / "data")}

    result = run("doctor", "--json", environ=environ)

    findings = json.loads(result.stdout)["findings"]
    assert [f for f in findings if f["severity"] == "error" and f["check"] != "resolvers"] == []
    assert not (tmp_path / "data").exists()


def test_database_that_is_away_leaves_the_other_checks(run: Run) -> None:
    environ = ports() | {
        "ACME_SERVER__DATABASE__URL": f"postgresql://a:hunter2@127.0.0.1:{closed_port()}/d",
        "ACME_SERVER__SECRETS__MASTER_KEY": "env:MASTER_KEY",
        "MASTER_KEY": generate_master_key(),
    }

    result = run("doctor", "--json", environ=environ)

    by_check = {f["check"]: f["severity"] for f in json.loads(result.stdout)["findings"]}
    assert by_check["database"] == "error"
    assert "durability" not in by_check
    assert "python" in by_check
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("findings", "worst", "exit_code"),
    [
        ([], "ok", 0),
        ([ok("a")], "ok", 0),
        ([ok("a"), info("b")], "info", 0),
        ([info("b"), warning("c", "d"), ok("a")], "warning", 1),
        ([error("e", "f"), warning("c", "d")], "error", 2),
    ],
)
def test_worst_finding_decides_the_exit_code(
    findings: list[object], worst: str, exit_code: int
) -> None:
    severity = worst_of(findings)  # type: ignore[arg-type]

    assert severity is Severity(worst)
    assert severity.exit_code == exit_code


def test_findings_come_in_the_order_of_the_checks(make_site: MakeSite, facts: object) -> None:
    names = [check.name for check in CHECKS]

    findings = list(examine(with_facts(make_site(), facts)))  # type: ignore[arg-type]

    order = [names.index(finding.check) for finding in findings]
    assert order == sorted(order)
