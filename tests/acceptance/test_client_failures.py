"""What goes wrong at the applicant's is explained where the applicant looks: in the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certbot import Certbot
from support.clientlab import ClientLab, web_server
from support.lego import Lego
from support.targets import BlackHole

_NAME = "failing.test"
_UNKNOWN = "unknown.test"
_OTHER = "A" * 43


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, and the sentences that tell the applicant of it.

    ``target`` makes what answers at the port of http-01; the client itself answers nothing.
    """

    told: tuple[str, ...]
    target: Callable[[int], AbstractContextManager[object]] = lambda port: nullcontext()
    name: str = _NAME
    challenge: str = "http"


_FAULTS = {
    "refused port": Fault(
        told=(
            f"refused the connection (for {_NAME}).",
            "Start the server that answers the challenge, and open its port.",
        ),
    ),
    "NXDOMAIN": Fault(
        told=(
            f"The name {_UNKNOWN} does not exist in DNS (NXDOMAIN).",
            "Publish an A or AAAA record and wait until all name servers have it.",
        ),
        name=_UNKNOWN,
    ),
    "wrong token": Fault(
        told=(f"http://{_NAME}", "answered with something other than"),
        target=lambda port: web_server(port, lambda token: f"other{token[5:]}.{_OTHER}"),
    ),
    "wrong key authorization": Fault(
        told=(f"http://{_NAME}", "answered with the token and another key's thumbprint."),
        target=lambda port: web_server(port, lambda token: f"{token}.{_OTHER}"),
    ),
    "silent drop": Fault(
        told=("did not accept a connection within 2 s", "A firewall drops the packets"),
        target=lambda port: BlackHole("127.0.0.1", port),
    ),
    "wrong TXT value": Fault(
        told=(f"TXT records at _acme-challenge.{_NAME} is", f'the first is "{_OTHER}"'),
        challenge="dns",
    ),
}


@pytest.fixture(params=_FAULTS)
def fault(request: pytest.FixtureRequest, lab: ClientLab) -> Iterator[Fault]:
    """Each fault in turn, in place while the test runs."""
    fault = _FAULTS[request.param]
    lab.zone.publish(_NAME)
    lab.zone.write(f"_acme-challenge.{_NAME}", _OTHER)
    with fault.target(lab.server.http_port):
        yield fault


def test_certbot_tells_why(fault: Fault, lab_certbot: Certbot) -> None:
    result = lab_certbot.run(
        *("certonly", "--agree-tos", "--register-unsafely-without-email"),
        *("--manual", "--manual-auth-hook", "true", "--preferred-challenges", fault.challenge),
        *("-d", fault.name),
    )

    assert result.returncode != 0
    assert_told(fault, result.stdout)


def test_lego_tells_why(fault: Fault, lego: Lego, lab: ClientLab, tmp_path: Path) -> None:
    options = {
        "http": ("--http", "--http.webroot", str(tmp_path)),
        "dns": ("--dns", "exec", "--dns.disable-cp", "--dns.resolvers", str(lab.zone.endpoint)),
    }
    idle = Lego(
        lego.command, lego.directory_url, lego.roots, lego.folder, {"EXEC_PATH": "/bin/true"}
    )

    result = idle.run(*options[fault.challenge], f"--domains={fault.name}")

    assert result.returncode != 0
    assert_told(fault, result.stdout)


def assert_told(fault: Fault, output: str) -> None:
    """The output has all sentences, however the client breaks its lines."""
    words = " ".join(output.split())
    for sentence in fault.told:
        assert sentence in words, output
