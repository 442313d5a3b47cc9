"""Why a validation failed: every cause, with what the applicant should do about it.

Details may name addresses, since only addresses that the policy allows are ever contacted; for
refused ones there is one fixed sentence, so that nobody can map a network through this server.
What a target sent is never repeated, except that TXT values are quoted, cut and escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy.model.errors import ErrorKind, Problem

MAX_DETAIL = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One way to fail. ``code`` is stable: logs, metrics and the operator's tools count by it.

    ``seen`` says what was met, ``likely`` the usual reason, ``next_step`` what to do; together
    they are a format. A transient cause may be gone a moment later, so the attempt is repeated.
    ``is_ours`` marks what the applicant can do nothing about.
    """

    code: str
    kind: ErrorKind
    seen: str
    likely: str
    next_step: str
    is_transient: bool = False
    is_ours: bool = False


class ValidationFailure(Exception):
    """An attempt ended without proof of control; ``values`` fill the cause's format.

    Values that came from outside must be excerpts (``validators.excerpts``).
    """

    def __init__(self, cause: Cause, **values: object) -> None:
        super().__init__(cause.code)
        self.cause = cause
        self.values = values

    @property
    def is_ours(self) -> bool:
        """Whether this server could not look, so that nothing is known of the applicant."""
        cause = self.cause
        if cause is CAA_LOOKUP_FAILED:
            cause = CAUSES.get(str(self.values["reason"]), cause)
        return cause.is_ours

    def as_problem(self) -> Problem:
        """The problem to show to the applicant."""
        cause = self.cause
        sentences = " ".join(part for part in (cause.seen, cause.likely, cause.next_step) if part)
        detail = sentences.format_map(self.values)[:MAX_DETAIL]
        return Problem(kind=cause.kind, detail=detail, cause=cause.code)


ADDRESS_REFUSED = Cause(
    code="address_refused",
    kind=ErrorKind.CONNECTION,
    seen="The target has no address that this server contacts for validation.",
    likely="It is a loopback, link-local, private or otherwise special address.",
    next_step="Publish an address of the host, or ask the operator about allowed networks.",
)
CONNECTION_REFUSED = Cause(
    code="connection_refused",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} refused the connection (for {host}).",
    likely="Nothing listens there, or a firewall rejects it.",
    next_step="Start the server that answers the challenge, and open its port.",
)
CONNECTION_TIMEOUT = Cause(
    code="connection_timeout",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} did not accept a connection within {seconds:g} s (for {host}).",
    likely="A firewall drops the packets, or the address is out of date.",
    next_step="Open the port for this server and check the address records.",
    is_transient=True,
)
CONNECTION_UNREACHABLE = Cause(
    code="connection_unreachable",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} is unreachable (for {host}).",
    likely="The address is out of date, or there is no route to it from this server.",
    next_step="Check the address records and the route.",
)
CONNECTION_RESET = Cause(
    code="connection_reset",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} broke the connection off (for {host}).",
    likely="The server or a firewall in between ended it.",
    next_step="Look into the logs of the server that answers the challenge.",
    is_transient=True,
)
CONNECTION_FAILED = Cause(
    code="connection_failed",
    kind=ErrorKind.CONNECTION,
    seen="Connecting to {endpoint} failed: {reason} (for {host}).",
    likely="",
    next_step="Check the address records and the network between.",
)
TLS_FAILED = Cause(
    code="tls_failed",
    kind=ErrorKind.TLS,
    seen="The TLS handshake with {endpoint} failed: {reason} (for {host}).",
    likely="The server speaks no TLS 1.2 or newer on this port, or refuses the name.",
    next_step="Check the TLS settings of the server for this name.",
)
TLS_TIMEOUT = Cause(
    code="tls_timeout",
    kind=ErrorKind.CONNECTION,
    seen="The TLS handshake with {endpoint} was not done within {seconds:g} s (for {host}).",
    likely="The server accepts connections but doesn't speak TLS on this port.",
    next_step="Check the TLS settings of the server for this name.",
    is_transient=True,
)
REDIRECT_TLS_FAILED = Cause(
    code="redirect_tls_failed",
    kind=ErrorKind.CONNECTION,
    seen="The TLS handshake with {endpoint} failed after a redirect: {reason} (for {host}).",
    likely="The server speaks no TLS 1.2 or newer on this port, or refuses the name.",
    next_step="Answer the challenge on the HTTP port without a redirect, or repair TLS there.",
)

DNS_NAME_MISSING = Cause(
    code="dns_name_missing",
    kind=ErrorKind.DNS,
    seen="The name {name} does not exist in DNS (NXDOMAIN).",
    likely="The record isn't published yet, or the name is misspelled.",
    next_step="Publish an A or AAAA record and wait until all name servers have it.",
)
DNS_NO_ADDRESSES = Cause(
    code="dns_no_addresses",
    kind=ErrorKind.DNS,
    seen="The name {name} has neither A nor AAAA records.",
    likely="The name exists, but no address is published for it.",
    next_step="Publish an A or AAAA record.",
)
DNS_SERVER_FAILURE = Cause(
    code="dns_server_failure",
    kind=ErrorKind.DNS,
    seen="The DNS resolver could not answer {type} for {name} (SERVFAIL).",
    likely="The zone's name servers are unreachable, or DNSSEC is broken for it.",
    next_step="Check the delegation, the name servers and the signatures of the zone.",
    is_transient=True,
)
DNS_TIMEOUT = Cause(
    code="dns_timeout",
    kind=ErrorKind.DNS,
    seen="There was no answer to {type} for {name} in time.",
    likely="The zone's name servers, or this server's resolvers, don't answer.",
    next_step="Check that the name servers answer for this name; then the resolvers.",
    is_transient=True,
)
DNS_REFUSED = Cause(
    code="dns_refused",
    kind=ErrorKind.DNS,
    seen="The DNS resolver refused to answer {type} for {name}.",
    likely="The resolver doesn't serve this server, or a server of the zone refuses the name.",
    next_step="Check the delegation of the zone; the operator should check the resolvers.",
)
DNS_UNREACHABLE = Cause(
    code="dns_unreachable",
    kind=ErrorKind.DNS,
    seen="No DNS resolver of this server could be reached to ask {type} for {name}.",
    likely="The resolvers in the server's configuration are down.",
    next_step="Tell the operator of this server.",
    is_transient=True,
    is_ours=True,
)
DNS_NAME_UNUSABLE = Cause(
    code="dns_name_unusable",
    kind=ErrorKind.DNS,
    seen="{name} can't be asked for in DNS.",
    likely="The name, or one of its labels, is too long.",
    next_step="Use a shorter name.",
)
DNS_CHAIN_TOO_LONG = Cause(
    code="dns_chain_too_long",
    kind=ErrorKind.DNS,
    seen="The CNAME records of {name} form a loop or too long a chain.",
    likely="An alias points back to itself.",
    next_step="Let the alias point to a name with the record itself.",
)
DNS_MALFORMED = Cause(
    code="dns_malformed",
    kind=ErrorKind.DNS,
    seen="The answer to {type} for {name} could not be understood.",
    likely="A name server or a middle box sends damaged DNS messages.",
    next_step="Check the name servers of the zone.",
    is_transient=True,
)
DNS_BOGUS = Cause(
    code="dns_bogus",
    kind=ErrorKind.DNS,
    seen="The DNS resolver refuses the answer to {type} for {name}: DNSSEC shows it to be bogus.",
    likely="Signatures of the zone have expired, or the DS record in the zone above is another's.",
    next_step="Sign the zone anew, and compare its keys with the DS record in the zone above.",
)
DNS_NOT_AUTHENTIC = Cause(
    code="dns_not_authentic",
    kind=ErrorKind.DNS,
    seen="The answer to {type} for {name} is not authenticated by DNSSEC, as this server demands.",
    likely="The zone, or one above it, is not signed, or its DS record is missing.",
    next_step="Sign the zone and publish its DS record in the zone above.",
)
DNS_UNTRUSTED = Cause(
    code="dns_untrusted",
    kind=ErrorKind.DNS,
    seen="No DNS resolver of this server proved its identity to be asked {type} for {name}.",
    likely="A resolver's TLS certificate has expired, or is not for the configured name.",
    next_step="Tell the operator of this server.",
    is_ours=True,
)
TXT_NAME_MISSING = Cause(
    code="txt_name_missing",
    kind=ErrorKind.DNS,
    seen="The name {name} does not exist in DNS (NXDOMAIN).",
    likely="The TXT record isn't published yet, or in the wrong zone.",
    next_step="Publish the TXT record {expected} there and wait until all name servers have it.",
)
TXT_MISSING = Cause(
    code="txt_missing",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="The name {name} has no TXT record.",
    likely="The record isn't published yet, or under another name.",
    next_step="Publish the TXT record {expected} there and wait until all name servers have it.",
)
TXT_DIFFERS = Cause(
    code="txt_differs",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen='None of the {count} TXT records at {name} is {expected}; the first is "{first}".',
    likely="The record is from an earlier order or of another account, or not spread yet.",
    next_step="Publish the expected value, without quotes or spaces, as a record of its own.",
)

ACCOUNT_TXT_NAME_MISSING = Cause(
    code="account_txt_name_missing",
    kind=ErrorKind.DNS,
    seen="The name {name}, made for the account {account}, does not exist in DNS (NXDOMAIN).",
    likely="The TXT record isn't published yet, or under another account's label.",
    next_step="Publish the TXT record {expected} there and wait until all name servers have it.",
)
ACCOUNT_TXT_MISSING = Cause(
    code="account_txt_missing",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="The name {name}, made for the account {account}, has no TXT record.",
    likely="The record isn't published yet, or under another account's label.",
    next_step="Publish the TXT record {expected} there and wait until all name servers have it.",
)
PERSIST_ISSUER = Cause(
    code="persist_issuer",
    kind=ErrorKind.UNAUTHORIZED,
    seen='None of the {count} TXT records at {name} names this CA; one is "{record}".',
    likely="The records are for other CAs, or the domain name before the semicolon is misspelled.",
    next_step="Publish the TXT record {expected} beside them.",
)
PERSIST_MALFORMED = Cause(
    code="persist_malformed",
    kind=ErrorKind.MALFORMED,
    seen='The TXT record "{record}" at {name} is not as RFC 8659, section 4.2, has it.',
    likely="It lacks accounturi, has a parameter twice, a persistUntil that is no UNIX time, or a "
    "semicolon at its end.",
    next_step="Replace it by the TXT record {expected}.",
)
PERSIST_ACCOUNT = Cause(
    code="persist_account",
    kind=ErrorKind.UNAUTHORIZED,
    seen='The TXT record "{record}" at {name} is for another account.',
    likely="The client got a new account, or uses another one.",
    next_step="Publish the TXT record {expected} beside it, or instead of it.",
)
PERSIST_EXPIRED = Cause(
    code="persist_expired",
    kind=ErrorKind.UNAUTHORIZED,
    seen='The TXT record "{record}" at {name} is over: its persistUntil has passed.',
    likely="It was not renewed in time.",
    next_step="Replace it by the TXT record {expected}, with a later persistUntil or without one.",
)
PERSIST_POLICY = Cause(
    code="persist_policy",
    kind=ErrorKind.UNAUTHORIZED,
    seen='The TXT record "{record}" at {name} is for that one name, without the policy wildcard.',
    likely="A wildcard, or a name below, needs policy=wildcard in the record.",
    next_step="Replace it by the TXT record {expected}.",
)

CAA_FORBIDDEN = Cause(
    code="caa_forbidden",
    kind=ErrorKind.CAA,
    seen="The record {record} does not allow this CA to issue.",
    likely="The CAA records of the domain name other CAs, or none.",
    next_step="Publish {publish} beside it, or remove the restriction.",
)
CAA_CRITICAL = Cause(
    code="caa_critical",
    kind=ErrorKind.CAA,
    seen="The record {record} has a critical property that this CA does not know.",
    likely="The property is misspelled, or of another CA.",
    next_step="Remove the record or its critical flag, and let {publish} stand there.",
)
CAA_ACCOUNT = Cause(
    code="caa_account",
    kind=ErrorKind.CAA,
    seen="The record {record} allows this CA to issue, for another account (accounturi).",
    likely="The ACME client uses another account than the one that the record names.",
    next_step="Use that account, or publish {publish}.",
)
CAA_METHOD = Cause(
    code="caa_method",
    kind=ErrorKind.CAA,
    seen="The record {record} allows this CA to issue, but not by {method} (validationmethods).",
    likely="The ACME client answered another challenge than the record allows.",
    next_step="Answer a challenge of an allowed type in a new order, or publish {publish}.",
)
CAA_LOOKUP_FAILED = Cause(
    code="caa_lookup_failed",
    kind=ErrorKind.DNS,
    seen="The CAA records of {name} could not be looked up ({reason}).",
    likely="A name server of the zone fails, or doesn't know the record type CAA (257).",
    next_step="Let the name servers answer CAA questions, with no records if there are none.",
    is_transient=True,
)

HTTP_TIMEOUT = Cause(
    code="http_timeout",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} did not answer in full within {seconds:g} s (for {url}).",
    likely="The server is overloaded, or waits for something itself.",
    next_step="Check that the URL answers quickly from outside.",
    is_transient=True,
)
HTTP_CLOSED = Cause(
    code="http_closed",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} closed the connection before its answer was complete (for {url}).",
    likely="The server crashed, or wants another protocol on this port.",
    next_step="Look into the logs of the server that answers the challenge.",
    is_transient=True,
)
HTTP_MALFORMED = Cause(
    code="http_malformed",
    kind=ErrorKind.CONNECTION,
    seen="{endpoint} sent no acceptable HTTP answer: {reason} (for {url}).",
    likely="Something other than a web server answers on this port.",
    next_step="Check what listens there.",
)
HTTP_STATUS = Cause(
    code="http_status",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="{url} answered with status {status} from {endpoint}; it must be 200.",
    likely="The file is not where the server looks for it, or access to it is restricted.",
    next_step="Make the URL answer with the key authorization, to everyone.",
)
HTTP_DIFFERS = Cause(
    code="http_differs",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="{url} ({endpoint}) answered with something other than {expected}.",
    likely="Another host or a catch-all page answers for this name.",
    next_step="Make the URL answer with exactly the key authorization.",
)
HTTP_TOO_LONG = Cause(
    code="http_too_long",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="{url} ({endpoint}) answered with more than a key authorization.",
    likely="A web page or a catch-all answers for this name.",
    next_step="Make the URL answer with exactly {expected}.",
)
HTTP_TOKEN_ONLY = Cause(
    code="http_token_only",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="{url} ({endpoint}) answered with the token alone; it must be {expected}.",
    likely="The key authorization is the token, a dot and the account key's thumbprint.",
    next_step="Let the file hold the whole key authorization.",
)
HTTP_OTHER_ACCOUNT = Cause(
    code="http_other_account",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="{url} ({endpoint}) answered with the token and another key's thumbprint.",
    likely="Another ACME account's client answers for this name, or the account key changed.",
    next_step="Answer with {expected}.",
)
REDIRECT_REFUSED = Cause(
    code="redirect_refused",
    kind=ErrorKind.CONNECTION,
    seen="{url} redirects to a location that is not followed: {reason}.",
    likely="",
    next_step="Answer the challenge without a redirect, or correct the Location header.",
)
REDIRECT_WITHOUT_SLASH = Cause(
    code="redirect_without_slash",
    kind=ErrorKind.CONNECTION,
    seen="{url} redirects to the host {host}, which ends in the start of the path.",
    likely="The redirect rule lacks a slash after the host name.",
    next_step="Check the web server's configuration for a missing slash in the redirect target.",
)
REDIRECT_LOOP = Cause(
    code="redirect_loop",
    kind=ErrorKind.CONNECTION,
    seen="{url} redirects to a URL that was visited already.",
    likely="Two redirect rules point at each other.",
    next_step="Answer the challenge without a redirect.",
)
REDIRECT_TOO_MANY = Cause(
    code="redirect_too_many",
    kind=ErrorKind.CONNECTION,
    seen="{url} is one redirect too many; {limit} are followed.",
    likely="Redirect rules build on each other.",
    next_step="Answer the challenge without a redirect.",
)

ALPN_MISSING = Cause(
    code="alpn_missing",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen='{endpoint} did not negotiate the protocol "acme-tls/1" (for {host}).',
    likely="The TLS server knows nothing of the challenge, or another one answers on this port.",
    next_step="Let the server that answers the challenge terminate TLS on this port.",
)
ALPN_REFUSED = Cause(
    code="alpn_refused",
    kind=ErrorKind.TLS,
    seen='{endpoint} refused the protocol "acme-tls/1" (for {host}).',
    likely="The TLS server knows nothing of the challenge, or has no certificate for it.",
    next_step="Let the server that answers the challenge terminate TLS on this port.",
)
ALPN_CERTIFICATE = Cause(
    code="alpn_certificate",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="The challenge certificate of {endpoint} is not acceptable: {reason} (for {host}).",
    likely="It is not a certificate made for this challenge.",
    next_step="Present the self-signed certificate that RFC 8737, section 3, describes.",
)
ALPN_DIGEST = Cause(
    code="alpn_digest",
    kind=ErrorKind.INCORRECT_RESPONSE,
    seen="The challenge certificate of {endpoint} carries another digest (for {host}).",
    likely="It was made for another order or another account.",
    next_step="Make the certificate for the key authorization {expected}.",
)

WILDCARD_NEEDS_DNS = Cause(
    code="wildcard_needs_dns",
    kind=ErrorKind.UNAUTHORIZED,
    seen="A wildcard name can't be proven by {type}.",
    likely="",
    next_step="Use dns-01, or another challenge of the DNS.",
)
IDENTIFIER_UNSUITED = Cause(
    code="identifier_unsuited",
    kind=ErrorKind.UNAUTHORIZED,
    seen="This identifier can't be proven by {type}.",
    likely="",
    next_step="Use another challenge.",
)
TYPE_UNSUPPORTED = Cause(
    code="type_unsupported",
    kind=ErrorKind.MALFORMED,
    seen="This server does not validate challenges of the type {type}.",
    likely="The type was switched off after the order was made.",
    next_step="Make a new order.",
)
DEADLINE_NETWORK = Cause(
    code="deadline_network",
    kind=ErrorKind.CONNECTION,
    seen="The validation was not done within {seconds:g} s.",
    likely="The target, or a redirect of it, answers too slowly.",
    next_step="Check that the target answers quickly from outside.",
)
DEADLINE_DNS = Cause(
    code="deadline_dns",
    kind=ErrorKind.DNS,
    seen="The validation was not done within {seconds:g} s; DNS answers were missing.",
    likely="The zone's name servers, or this server's resolvers, don't answer.",
    next_step="Check that the name servers answer for this name; then the resolvers.",
)
INTERNAL = Cause(
    code="internal",
    kind=ErrorKind.SERVER_INTERNAL,
    seen="The validation failed because of a defect of this server.",
    likely="",
    next_step="Tell the operator of this server.",
    is_ours=True,
)

CAUSES: Mapping[str, Cause] = {
    value.code: value for value in tuple(globals().values()) if isinstance(value, Cause)
}
