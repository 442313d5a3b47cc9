"""The CPU that a certificate may cost, in units that mean the same on a fast and a slow machine.

    python -m benchmarks.budget

A unit is the CPU of one round of fixed work (``calibrate``): JSON, hashing, signatures, and plain
Python. A run whose cost is over the budget by more than the slack is a regression, whatever else
the machine was doing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.issuance import Load, lab_target, measure
from benchmarks.lab import LabServer

# Units per certificate, as measured when last changed; benchmarks/README.md says by what run.
SERVER_BUDGET = 32.0
POSTGRES_BUDGET = 18.0
SLACK = 2.0

_ROUNDS = 200
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What a certificate cost, in units; ``unit`` is in milliseconds of CPU."""

    server: float
    postgres: float
    unit: float

    @property
    def is_within_budget(self) -> bool:
        """Whether neither part is over its budget by more than the slack."""
        return self.server <= SERVER_BUDGET * SLACK and self.postgres <= POSTGRES_BUDGET * SLACK

    def __str__(self) -> str:
        return (
            f"server {self.server:.1f} units (budget {SERVER_BUDGET}), PostgreSQL "
            f"{self.postgres:.1f} (budget {POSTGRES_BUDGET}), slack {SLACK}x; "
            f"1 unit = {self.unit:.3f} ms"
        )


def calibrate() -> float:
    """The milliseconds of CPU of one round of fixed work on this machine, now; the best of some
    tries, since what disturbs only ever slows."""
    key = ec.generate_private_key(ec.SECP256R1())
    return min(_calibrate_once(key) for _ in range(_REPEATS))


def _calibrate_once(key: ec.EllipticCurvePrivateKey) -> float:
    public = key.public_key()
    algorithm = ec.ECDSA(hashes.SHA256())
    document = {"identifiers": [{"type": "dns", "value": f"host{i}.test"} for i in range(10)]}
    started = time.process_time()
    for _ in range(_ROUNDS):
        text = json.dumps(document).encode()
        public.verify(key.sign(text, algorithm), text, algorithm)
        for item in json.loads(text)["identifiers"]:
            hashlib.sha256(item["value"].encode()).hexdigest()
        sum(len(str(number)) for number in range(300))
    return (time.process_time() - started) * 1000 / _ROUNDS


def measure_cost(certificates: int = 150, clients: int = 8) -> Cost:
    """The cost of issuance by a server started for it. Raises RuntimeError for any error."""
    unit = calibrate()
    with LabServer() as server:
        wanted = Load(clients=clients, certificates=certificates, suffix="budget.localhost")
        report = asyncio.run(measure(lab_target(server), wanted))
    if report.errors or report.certificates != certificates:
        raise RuntimeError(f"not all certificates were issued: {report.errors}")
    return Cost(report.server_cpu / unit, report.postgres_cpu / unit, unit)


def main() -> int:
    """The exit status: 1 if the cost is over the budget."""
    cost = measure_cost()
    print(cost)
    return 0 if cost.is_within_budget else 1


if __name__ == "__main__":
    sys.exit(main())
