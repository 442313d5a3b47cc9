"""Whatever the octets of a request are: it is read, or refused as a bad CSR, and nothing else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from policy.csr import CertificateRequest, parse_csr
from policy.model.errors import ErrorKind, ServerError
from policy.names import parse_identifier
from policy.requestedextensions import ExtensionRefused, read_extensions
from policy.signing import der
from support import csrs
from support.csrs import common_name, dns_names, requested, write_csr

SEEDS = [
    write_csr(
        dns_names("www.example.com", "*.example.org"),
        der.extension("2.5.29.15", b"\x03\x02\x05\xa0", is_critical=True),
        der.extension("2.5.29.37", der.sequence(der.object_identifier("1.3.6.1.5.5.7.3.1"))),
        der.extension("2.5.29.19", der.sequence()),
        der.extension("1.3.6.1.5.5.7.1.24", der.sequence(b"\x02\x01\x05")),
        subject=[common_name(b"www.example.com")],
        key=key,
    )
    for key in (csrs.ec_key(), csrs.rsa_key())
]
OIDS = [
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.17",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.37",
    "1.3.6.1.5.5.7.1.1",
    "1.3.6.1.5.5.7.1.24",
    "1.2.3.4",
]
TAGS = st.sampled_from(
    [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x30, 0x31, 0x82, 0x87, 0xA0]
)


def _value_of(parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    contents = st.lists(parts, max_size=3).map(b"".join)
    return st.builds(der.tlv, TAGS, contents)


# Values within values within values, mostly well-formed, of tags that stand in requests.
LEAVES = st.binary(max_size=16)
VALUES = LEAVES | _value_of(LEAVES) | _value_of(LEAVES | _value_of(LEAVES | _value_of(LEAVES)))


def _is_read_or_refused(octets: bytes) -> bool:
    try:
        request = parse_csr(octets)
    except ServerError as refusal:
        return refusal.kind is ErrorKind.BAD_CSR and refusal.detail.isprintable()
    return isinstance(request, CertificateRequest) and all(
        parse_identifier(name.type, name.value, ip=True, single_label=True) == name
        for name in request.identifiers
    )


@given(octets=st.binary(max_size=400))
@example(octets=b"0\x80" * 20_000)
@example(octets=b"\x30\x84\xff\xff\xff\xff")
def test_any_octets(octets: bytes) -> None:
    assert _is_read_or_refused(octets)


@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_good_request_with_octets_changed(seed: bytes, changes: list[tuple[int, int]]) -> None:
    octets = bytearray(seed)
    for position, value in changes:
        octets[position % len(octets)] = value

    assert _is_read_or_refused(bytes(octets))


@given(
    extensions=st.lists(st.tuples(st.sampled_from(OIDS), VALUES, st.booleans()), max_size=4),
    subject=st.lists(VALUES, max_size=2),
)
def test_signed_request_with_any_extensions(
    extensions: list[tuple[str, bytes, bool]], subject: list[bytes]
) -> None:
    encoded = (
        der.extension(oid, value, is_critical=is_critical) for oid, value, is_critical in extensions
    )

    assert _is_read_or_refused(write_csr(*encoded, subject=subject))


@given(values=st.lists(VALUES, max_size=4))
def test_signed_request_with_any_names(values: list[bytes]) -> None:
    san = der.extension("2.5.29.17", der.sequence(*values))

    assert _is_read_or_refused(write_csr(san, subject=[common_name(b"www.example.com")]))


@given(attributes=VALUES | st.lists(VALUES).map(lambda values: requested(*values)))
def test_reader_of_extensions_with_any_attributes(attributes: bytes) -> None:
    try:
        requested = read_extensions(attributes)
    except (ExtensionRefused, ValueError):
        return

    assert requested.unverified_names is None or isinstance(requested.unverified_names, list)
