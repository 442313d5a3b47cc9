"""CPU time of each step from a CSR to a signature, without a database or a network.

    .venv/bin/python -m benchmarks.signing

The least of many short runs, in microseconds of this thread: other load on the machine hardly
moves it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from policy.blocklists import KeyBlocklist
from policy.csr import check_csr, jwk_thumbprint, parse_csr
from policy.decision import decide
from policy.moduli import weakness_of_modulus
from policy.names import NameRules, check_identifiers
from policy.profiles import TLS_SERVER
from policy.signing.authorities import AuthorityTemplate, issuer_facts, make_root
from policy.signing.lint import lint
from policy.signing.serials import make_serial
from policy.signing.signer import generate_signer
from policy.signing.template import CertificateTemplate, build_tbs

NAMES = ("www.example.com", "example.com")
_ROUNDS, _CALLS = 60, 50
# Nobody's key, but of a key's size and with nothing to be found in it.
_MODULUS = 2**4095 + 2**2048 + 5


def microseconds(step: Callable[[], object]) -> float:
    """The least CPU time of one call."""
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.thread_time_ns()
        for _ in range(_CALLS):
            step()
        best = min(best, (time.thread_time_ns() - start) / _CALLS / 1000)
    return best


def _csr() -> bytes:
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(names, False)
    key = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _steps(key_type: str) -> dict[str, Callable[[], object]]:
    now = datetime.now(UTC).replace(microsecond=0)
    signer = generate_signer(key_type)
    root = AuthorityTemplate(
        common_name="Benchmark",
        organization=None,
        serial=make_serial(os.urandom),
        not_before=now,
        lifetime=timedelta(days=1000),
        path_length=None,
    )
    facts = issuer_facts("ca", make_root(root, signer), signer, "http://status.example", 128)
    csr, rules = _csr(), NameRules()
    request = parse_csr(csr)
    asked = [("dns", name) for name in NAMES]
    identifiers = check_identifiers(asked, rules, 100)

    def template() -> CertificateTemplate:
        start, end = TLS_SERVER.validity_of(None, None, now, facts.not_after)
        return CertificateTemplate(
            profile=TLS_SERVER,
            issuer=facts,
            serial=make_serial(os.urandom),
            identifiers=identifiers,
            key=request.key,
            spki=request.spki,
            not_before=start,
            not_after=end,
        )

    sample = template()
    tbs = build_tbs(sample)
    return {
        "check_identifiers": lambda: check_identifiers(asked, rules, 100),
        "parse_csr": lambda: parse_csr(csr),
        "check_csr": lambda: check_csr(request, identifiers),
        "jwk_thumbprint": lambda: jwk_thumbprint(request.key),
        "template": template,
        "decide (and find no proof)": lambda: decide(
            sample, (), rules, now=now, blocklist=KeyBlocklist()
        ),
        "checks of an RSA-4096 modulus": lambda: weakness_of_modulus.__wrapped__(_MODULUS),
        "build_tbs": lambda: build_tbs(sample),
        "lint": lambda: lint(tbs, sample),
        "sign and verify": lambda: signer.sign(tbs),
    }


def main() -> None:
    """Print a table of steps by the type of the CA's key."""
    key_types = ("ec-p256", "ec-p384", "ed25519", "rsa-2048")
    tables = [_steps(key_type) for key_type in key_types]
    print(f"{'µs of CPU':28}" + "".join(f"{key_type:>10}" for key_type in key_types))
    for name in tables[0]:
        print(f"{name:28}" + "".join(f"{microseconds(table[name]):10.1f}" for table in tables))


if __name__ == "__main__":
    main()
