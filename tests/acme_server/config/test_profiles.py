"""Profiles in the configuration: what they come to, and all that is wrong with them at once."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from acme_server.config.changes import Change, changes_between
from acme_server.config.profiles import all_profiles, default_profile, offered_profiles
from acme_server.config.settings import Settings
from policy.extraextensions import ExtraExtension
from policy.keys import KeyRules
from policy.model.identifiers import IdentifierType
from policy.profiles import TLS_SERVER, CommonName, Profile, SubjectPattern
from policy.shippedprofiles import SHIPPED

from .conftest import Load, Refuse

DAY = timedelta(days=1)
FULL = """
profiles:
  web:
    base: webserver
    description: https://pki.example/profiles#web
    validity: 30d
    maximum_validity: 60d
    backdate: 1m
    ec_key_usages: [digital_signature]
    rsa_key_usages: [digital_signature, key_encipherment]
    extended_key_usages: [server_auth, 1.2.3.4]
    country: DE
    organization: Bäckerei Ö
    organizational_unit: Ops
    common_name: none
    identifier_types: [dns, ip]
    maximum_identifiers: 7
    must_staple: false
    policies: [1.3.6.1.4.1.99999.7]
    key_types: [ec, rsa]
    curves: [P-256, P-384]
    minimum_rsa_bits: 3072
    maximum_rsa_bits: 4096
    challenge_types: [dns-01]
    issuer: ca
    extensions: ["1.3.6.1.4.1.99999.1=0500"]
    needs_approval: false
acme:
  profiles: [web, tls_server]
"""


def test_without_a_word_about_profiles_tls_server_is_offered_as_it_always_was(load: Load) -> None:
    settings = load("server: {}")

    (profile,) = offered_profiles(settings).values()

    assert profile.version == TLS_SERVER.version
    assert default_profile(settings) == "tls_server"
    assert list(all_profiles(settings)) == list(SHIPPED)
    assert settings.profiles == ()


def test_every_setting_reaches_the_profile(load: Load) -> None:
    settings = load(FULL)

    profile = offered_profiles(settings)["web"]

    assert profile.version == (
        Profile(
            name="web",
            validity=30 * DAY,
            maximum_validity=60 * DAY,
            backdate=timedelta(minutes=1),
            key_usages={
                "ec": frozenset({"digital_signature"}),
                "rsa": frozenset({"digital_signature", "key_encipherment"}),
            },
            extended_key_usages=("1.3.6.1.5.5.7.3.1", "1.2.3.4"),
            subject=SubjectPattern(
                country="DE", organization="Bäckerei Ö", organizational_unit="Ops"
            ),
            common_name=CommonName.NONE,
            identifier_types=frozenset(IdentifierType),
            maximum_identifiers=7,
            policies=("1.3.6.1.4.1.99999.7",),
            keys=KeyRules(
                kinds=frozenset({"ec", "rsa"}),
                curves=frozenset({"secp256r1", "secp384r1"}),
                min_rsa_bits=3072,
                max_rsa_bits=4096,
            ),
            challenge_types=frozenset({"dns-01"}),
            allows_must_staple=False,
            extensions=(ExtraExtension("1.3.6.1.4.1.99999.1", b"\x05\x00"),),
            issuer="ca",
        ).version
    )
    assert profile.description == "https://pki.example/profiles#web"
    assert default_profile(settings) == "web"


def test_empty_settings_are_as_in_the_base(load: Load) -> None:
    settings = load("profiles: {mine: {base: client_auth, organization: Example}, other: }")

    profiles = all_profiles(settings)

    base = SHIPPED["client_auth"]
    assert profiles["mine"].validity == base.validity
    assert profiles["mine"].extended_key_usages == base.extended_key_usages
    assert profiles["mine"].subject == SubjectPattern(organization="Example")
    assert profiles["other"].validity == TLS_SERVER.validity
    assert profiles["other"].name == "other"


def test_shipped_profile_is_changed_under_its_own_name(load: Load) -> None:
    settings = load("profiles: {tls_short: {validity: 2d}}")

    profile = all_profiles(settings)["tls_short"]

    assert (profile.validity, profile.maximum_validity) == (2 * DAY, 2 * DAY)
    assert profile.key_usages == SHIPPED["tls_short"].key_usages


def test_certificate_lifetime_is_the_validity_of_tls_server_alone(load: Load) -> None:
    settings = load("ca: {certificate_lifetime: 20d}")

    profiles = all_profiles(settings)

    assert profiles["tls_server"].validity == profiles["tls_server"].maximum_validity == 20 * DAY
    assert profiles["webserver"].validity == 90 * DAY


@pytest.mark.parametrize(
    ("validity", "backdate"), [("10m", timedelta(minutes=2.5)), ("1h", timedelta(minutes=5))]
)
def test_short_certificate_does_not_start_with_much_of_it_gone(
    load: Load, validity: str, backdate: timedelta
) -> None:
    settings = load(
        f"{{ca: {{certificate_lifetime: {validity}}}, "
        f"profiles: {{brief: {{validity: {validity}}}}}}}"
    )

    profiles = all_profiles(settings)

    assert profiles["brief"].backdate == profiles["tls_server"].backdate == backdate


def test_profiles_are_set_by_the_environment_too(load: Load) -> None:
    settings = load(
        "profiles: {mine: {validity: 5d}}",
        {
            "ACME_SERVER__PROFILES__MINE__VALIDITY": "4d",
            "ACME_SERVER__PROFILES__TLS_SHORT__VALIDITY": "3d",
            "ACME_SERVER__ACME__PROFILES": "[mine, tls_short]",
        },
    )

    validities = {name: p.validity for name, p in offered_profiles(settings).items()}

    assert validities == {"mine": 4 * DAY, "tls_short": 3 * DAY}
    assert [name for name, _ in settings.profiles] == ["mine", "tls_short"]


def test_changed_profile_is_a_live_change(load: Load) -> None:
    before, after = load("profiles: {a: {validity: 5d}}"), load("profiles: {a: {validity: 6d}}")

    assert list(changes_between(before, after)) == [Change("profiles", is_live=True)]
    assert list(changes_between(before, load("profiles: {a: {validity: 5d}}"))) == []


def test_settings_with_profiles_reach_other_processes(load: Load) -> None:
    settings = load(FULL)

    again = pickle.loads(pickle.dumps(settings))

    assert isinstance(again, Settings)
    assert again == settings
    assert offered_profiles(again)["web"].version == offered_profiles(settings)["web"].version


REFUSED = {
    "an unknown key with a likely one": (
        "profiles: {web: {validty: 3d}}",
        'profiles.web.validty: unknown key, did you mean "profiles.web.validity"?',
    ),
    "a profile that is no section": (
        "profiles: {web: 3d}",
        "profiles.web: must be a section, with its settings indented below",
    ),
    "profiles that are no section": (
        "profiles: [web]",
        "profiles: must be a section, with its settings indented below",
    ),
    "a name with a dot": (
        "profiles: {we.b: {validity: 3d}}",
        'profiles.we.b: must be 1 to 64 small letters, digits, "_" and "-"',
    ),
    "a name in capitals": ("profiles: {Web: }", "profiles.Web: must be 1 to 64 small letters"),
    "a base that is not shipped": (
        "profiles: {a: {base: b}, b: {}}",
        "profiles.a.base: must be one of tls_server, webserver",
    ),
    "another base of a shipped profile": (
        "profiles: {tls_short: {base: webserver}}",
        "profiles.tls_short.base: must be empty",
    ),
    "a maximum below the validity": (
        "profiles: {a: {validity: 3d, maximum_validity: 2d}}",
        "profiles.a.maximum_validity: must not be shorter",
    ),
    "a backdate as long as the validity": (
        "profiles: {a: {validity: 10m, backdate: 10m}}",
        "profiles.a.backdate: must be shorter",
    ),
    "a validity of the issuer's": (
        "{profiles: {a: {validity: 20d}}, ca: {issuing_lifetime: 20d, certificate_lifetime: 3d}}",
        "profiles.a.validity: 20d must be shorter than ca.issuing_lifetime (20d)",
    ),
    "RSA sizes the wrong way round": (
        "profiles: {a: {minimum_rsa_bits: 4096, maximum_rsa_bits: 3072}}",
        "profiles.a.minimum_rsa_bits: must not be above the largest size (3072)",
    ),
    "an unknown key usage": (
        "profiles: {a: {ec_key_usages: [key_cert_sign]}}",
        'profiles.a.ec_key_usages: "key_cert_sign" is not one of digital_signature',
    ),
    "usages that TLS has not": (
        "profiles: {a: {ec_key_usages: [digital_signature, key_agreement]}}",
        "profiles.a.ec_key_usages: key_agreement is not used in TLS with such a key",
    ),
    "no purposes": (
        "profiles: {a: {extended_key_usages: []}}",
        "profiles.a.extended_key_usages: must not be empty",
    ),
    "any purpose": (
        "profiles: {a: {extended_key_usages: [2.5.29.37.0]}}",
        "profiles.a.extended_key_usages: 2.5.29.37.0 is for no subscriber's certificate",
    ),
    "a purpose that is none": (
        "profiles: {a: {extended_key_usages: [serverauth]}}",
        'profiles.a.extended_key_usages: "serverauth" is not one of server_auth',
    ),
    "a policy that is no OID": (
        "profiles: {a: {policies: [gold]}}",
        'profiles.a.policies: "gold" is no object identifier',
    ),
    "a country in small letters": (
        "profiles: {a: {country: de}}",
        "profiles.a.country: must be two capital letters",
    ),
    "an organization of blanks": (
        'profiles: {a: {organization: " "}}',
        "profiles.a.organization: must be 1 to 64 characters",
    ),
    "an extension that the server builds": (
        'profiles: {a: {extensions: ["2.5.29.17=3000"]}}',
        "profiles.a.extensions: the extension 2.5.29.17 is not for profiles to add",
    ),
    "an extension that is no DER": (
        'profiles: {a: {extensions: ["1.2.3.4=0501"]}}',
        "profiles.a.extensions: the value of 1.2.3.4 is not DER",
    ),
    "an extension without a value": (
        'profiles: {a: {extensions: ["1.2.3.4"]}}',
        "profiles.a.extensions: the value of 1.2.3.4 has 1 to 4096 bytes",
    ),
    "an extension that is not in hexadecimal": (
        'profiles: {a: {extensions: ["1.2.3.4=NULL"]}}',
        'profiles.a.extensions: "1.2.3.4=NULL" must be an OID, "=" and the DER',
    ),
    "an organization in a public certificate": (
        "profiles: {public_tls: {organization: Example}}",
        "profiles.public_tls.organization: stands in no domain validated certificate",
    ),
    "an address in a public certificate": (
        "profiles: {public_tls: {identifier_types: [dns, ip]}}",
        "profiles.public_tls.identifier_types: must be dns alone in public certificates",
    ),
    "an unknown profile on offer": (
        "acme: {profiles: [tls_servre]}",
        'acme.profiles: there is no profile "tls_servre", did you mean "tls_server"?',
    ),
    "no profile on offer": ("acme: {profiles: []}", "acme.profiles: must not be empty"),
    "a default that is not on offer": (
        "acme: {profiles: [tls_server], default_profile: webserver}",
        "acme.default_profile: webserver is not one of acme.profiles (tls_server)",
    ),
    "a profile that needs approvals": (
        "acme: {profiles: [code_signing]}",
        "certificates of code_signing need an approval, and approvals are not available in this",
    ),
    "a profile that nobody could prove anything for": (
        "{acme: {challenge_types: [http-01]}, profiles: {tls_server: {challenge_types: [dns-01]}}}",
        "acme.profiles: none of the challenge types of tls_server is in acme.challenge_types",
    ),
}


@pytest.mark.parametrize(("text", "refusal"), REFUSED.values(), ids=REFUSED)
def test_profile_that_can_not_be_had_is_refused_by_its_path(
    refuse: Refuse, text: str, refusal: str
) -> None:
    (line,) = refuse(text)

    assert refusal in line
    assert line.startswith("config.yaml:1:")


def test_all_faults_of_all_profiles_are_told_at_once(refuse: Refuse) -> None:
    lines = refuse(
        """\
        profiles:
          a:
            validity: soon
            country: Germany
            extended_key_usages: []
          b:
            maximum_validity: 1d
            bsae: webserver
        acme:
          default_profile: c
        """
    )

    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "profiles.a.validity",
        "profiles.a.country",
        "profiles.a.extended_key_usages",
        "profiles.b.maximum_validity",
        "profiles.b.bsae",
        "acme.default_profile",
    ]


def test_approval_can_be_done_without(load: Load) -> None:
    settings = load(
        "{acme: {profiles: [code_signing]}, profiles: {code_signing: {needs_approval: false}}}"
    )

    assert not offered_profiles(settings)["code_signing"].needs_approval


def test_unknown_variable_of_a_profile_is_refused(refuse: Refuse) -> None:
    (line,) = refuse("server: {}", {"ACME_SERVER__PROFILES__TLS_SHORT__VALIDTY": "3d"})

    assert "did you mean ACME_SERVER__PROFILES__TLS_SHORT__VALIDITY?" in line


@pytest.mark.parametrize("validity", ["601s", "610s", "613s"])
def test_a_short_certificate_begins_at_a_whole_second(load: Load, validity: str) -> None:
    settings = load(
        f"{{ca: {{certificate_lifetime: {validity}}}, "
        f"profiles: {{brief: {{validity: {validity}}}}}}}"
    )

    for profile in all_profiles(settings).values():
        start, end = profile.validity_of(None, None, datetime.now(UTC))
        assert (start.microsecond, end.microsecond) == (0, 0)


@pytest.mark.parametrize("key", ["validity", "maximum_validity", "backdate"])
def test_fractions_of_seconds_are_refused(refuse: Refuse, key: str) -> None:
    (line,) = refuse(f"profiles: {{brief: {{{key}: 700500ms}}}}")

    assert f"profiles.brief.{key}: must be in whole seconds" in line
