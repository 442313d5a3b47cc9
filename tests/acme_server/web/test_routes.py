"""Finding what is served where."""

from __future__ import annotations

import pytest

from acme_server.web.routes import Route, Routes
from acme_server.web.urls import Urls
from policy.model.ids import encode_id, time_ordered_id
from support.edge import PlainFrontEnd

FRONT_END = PlainFrontEnd()
PATTERNS = (
    "/directory",
    "/acme/order/{id}",
    "/acme/order/{id}/finalize",
    "/acme/account/{id}",
    "/acme/challenge/{id}/{type}",
    "/crl/{issuer}/{shard}.crl",
    "/ca/{issuer}.crt",
)


def table(*patterns: str) -> Routes:
    """A table with one handler for each pattern."""
    handlers = {"POST": FRONT_END.echo}
    return Routes(FRONT_END, [Route(pattern, FRONT_END, handlers) for pattern in patterns])


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        ("/directory", "/directory", ()),
        ("/acme/order/x", "/acme/order/{id}", ("x",)),
        ("/acme/order/finalize", "/acme/order/{id}", ("finalize",)),
        ("/acme/order/x/finalize", "/acme/order/{id}/finalize", ("x",)),
        ("/acme/account/%2e%2e", "/acme/account/{id}", ("%2e%2e",)),
        ("/acme/challenge/x/http-01", "/acme/challenge/{id}/{type}", ("x", "http-01")),
        ("/crl/issuing-1/12.crl", "/crl/{issuer}/{shard}.crl", ("issuing-1", "12")),
        ("/ca/root.crt", "/ca/{issuer}.crt", ("root",)),
    ],
)
def test_a_path_leads_to_its_route(path: str, pattern: str, parameters: tuple[str, ...]) -> None:
    found = table(*PATTERNS).find(path)

    assert found is not None
    assert (found[0].pattern, found[1]) == (pattern, parameters)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "directory",
        "/directory/",
        "//directory",
        "/Directory",
        "/acme/order",
        "/acme/order/",
        "/acme/order//finalize",
        "/acme/order/x/",
        "/acme/order/x/finalize/",
        "/acme/order/x/y/finalize",
        "/acme/account/x/finalize",
        "/acme/challenge/x",
        "/acme/challenge//http-01",
        "/acme/challenge/x/",
        "/crl/issuing-1/.crl",
        "/crl/issuing-1/12",
        "/crl//12.crl",
        "/ca/.crt",
        "/ca/root.CRT",
        "http://evil/directory",
    ],
)
def test_every_other_path_leads_nowhere(path: str) -> None:
    assert table(*PATTERNS).find(path) is None


def test_one_path_is_served_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        table("/a/{id}/b", "/a/{name}/b")


def test_shapes_beyond_the_table_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        table("/a/{id}/{kind}/{more}")


@pytest.mark.parametrize(
    "external_url",
    ["https://acme.example", "https://acme.example:14000/pki/one", "http://[::1]:80"],
)
def test_urls_and_the_targets_they_are_requested_by_agree(external_url: str) -> None:
    urls = Urls(external_url)
    id_ = time_ordered_id(1, bytes(10))
    for url in (urls.directory, urls.account(id_), urls.finalize(id_), urls.challenge(id_, "x-1")):
        target = url.removeprefix(urls.origin)

        assert url.startswith(external_url + "/")
        assert urls.of_target(target) == url
        assert target.startswith(urls.served("/"))
    assert urls.account(id_) == f"{external_url}/acme/account/{encode_id(id_)}"


@pytest.mark.parametrize(
    "external_url",
    ["", "acme.example", "ftp://a", "https://", "https://a/", "https://a?b", "https://a#b",
     "https://u@a", "https://a/b/"],
)  # fmt: skip
def test_an_external_url_is_an_origin_with_a_path(external_url: str) -> None:
    with pytest.raises(ValueError, match=r"is no|must end"):
        Urls(external_url)
