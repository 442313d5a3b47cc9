"""The real parts in these processes: what a stand-in can't show."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.issuance import Load, lab_target, measure
from benchmarks.lab import LabServer
from benchmarks.report import Report
from support.checkout import ROOT
from support.serverprocess import until

# How long issuance goes on in the long run, and the pause between two restarts of a worker.
_LONG_SECONDS = 300.0
_BETWEEN_SECONDS = 10.0
# Python runs it at the start of each process: it tells what is imported after root was given up,
# when the files of the installation may be out of reach.
_INFORMER = """
import os, sys
setuid = os.setuid
def tell_from_now_on(uid):
    setuid(uid)
    os.write(2, b"root given up\\n")
    sys.addaudithook(
        lambda event, args: event == "import" and os.write(2, f"late: {args[0]}\\n".encode())
    )
os.setuid = tell_from_now_on
"""


def events(server: LabServer) -> list[dict[str, object]]:
    """What the server logged so far."""
    whole, _, _ = server.output.rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def workers(server: LabServer) -> set[int]:
    """The HTTP workers that serve now."""
    pids: set[int] = set()
    for event in events(server):
        if event.get("child_role") == "http" and isinstance(event["child"], int):
            if event["event"] == "process_started":
                pids.add(event["child"])
            else:
                pids.discard(event["child"])
    return pids


@pytest.mark.root
def test_nothing_is_imported_after_root_was_given_up(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_INFORMER)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with LabServer(environment) as server:
        wanted = Load(clients=2, certificates=4, suffix="late.localhost")
        report = asyncio.run(measure(lab_target(server), wanted))
        refused = Load(clients=1, certificates=1, suffix="spät.localhost")
        refusals = asyncio.run(measure(lab_target(server), refused))
        server.stop()

        lines = server.output.splitlines()
        assert report.errors == {}
        assert report.certificates == 4
        assert list(refusals.errors) == ["newOrder: 400 malformed"]
        assert lines.count("root given up") >= 2
        assert [line for line in lines if line.startswith("late: ")] == []


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_five_minutes_of_issuance_go_on_while_workers_retire() -> None:
    with LabServer({"ACME_SERVER__SERVER__WORKERS": "2"}) as server:
        issuing = asyncio.ensure_future(issue_for(_LONG_SECONDS, server))
        retired = await asyncio.to_thread(retire_until_done, server, issuing)
        reports = await issuing

        assert [report.errors for report in reports if report.errors] == []
        assert sum(report.certificates for report in reports) >= retired
        assert retired >= 2
        assert [event for event in events(server) if event["event"] == "process_died"] == []


async def issue_for(seconds: float, server: LabServer) -> list[Report]:
    """What sixteen clients got, each with a connection that it keeps."""
    until_then = time.monotonic() + seconds
    reports: list[Report] = []
    while time.monotonic() < until_then:
        wanted = Load(clients=16, certificates=1000, suffix=f"retire{len(reports)}.localhost")
        reports.append(await measure(lab_target(server), wanted))
    return reports


def retire_until_done(server: LabServer, issuing: asyncio.Future[list[Report]]) -> int:
    """Retire one worker after another, as a rolling restart does; how many."""
    count = 0
    while not issuing.done():
        veteran = min(workers(server))
        os.kill(veteran, signal.SIGTERM)
        until(lambda pid=veteran: pid not in workers(server), "the end of a worker")  # type: ignore[misc]
        count += 1
        time.sleep(_BETWEEN_SECONDS)
    return count
