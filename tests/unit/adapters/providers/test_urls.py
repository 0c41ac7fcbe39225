from __future__ import annotations

import pytest

from bandari.adapters.providers.urls import Origin, target_of


@pytest.mark.parametrize(
    ("url", "origin", "host", "path"),
    [
        ("http://h", Origin("h", 80, is_tls=False), "h", "/"),
        ("https://h/v1", Origin("h", 443, is_tls=True), "h", "/v1"),
        ("HTTPS://H.Example/V1", Origin("h.example", 443, is_tls=True), "h.example", "/V1"),
        ("http://h:80/", Origin("h", 80, is_tls=False), "h", "/"),
        ("http://h:443/", Origin("h", 443, is_tls=False), "h:443", "/"),
        ("https://h:8080/a?b=c", Origin("h", 8080, is_tls=True), "h:8080", "/a?b=c"),
        ("http://h?b", Origin("h", 80, is_tls=False), "h", "/?b"),
        ("http://h/a#b", Origin("h", 80, is_tls=False), "h", "/a"),
        ("http://127.0.0.1:1/", Origin("127.0.0.1", 1, is_tls=False), "127.0.0.1:1", "/"),
        ("http://[::1]/", Origin("::1", 80, is_tls=False), "[::1]", "/"),
        ("http://[::1]:81/", Origin("::1", 81, is_tls=False), "[::1]:81", "/"),
        ("http://u:p@h/", Origin("h", 80, is_tls=False), "h", "/"),
        ("https://käse.example/", Origin("xn--kse-qla.example", 443, is_tls=True), None, "/"),
        ("http://h:0/", Origin("h", 0, is_tls=False), "h:0", "/"),
    ],
)
def test_where_a_url_leads(url, origin, host, path):
    target = target_of(url)
    assert (target.origin, target.path) == (origin, path)
    assert target.host == (host or origin.host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "/v1",
        "h:80",
        "http://",
        "http:///v1",
        "http://:80",
        "http://u@",
        "ftp://h",
        "socks5://h",
        "http://h:x",
        "http://h:65536",
        "http://h:-1",
        "http://[::1",
        f"http://{'ä' * 300}",
    ],
)
def test_what_is_no_url_of_a_server(url):
    with pytest.raises(ValueError):
        target_of(url)


def test_a_message_about_a_long_url_is_short():
    with pytest.raises(ValueError) as caught:
        target_of("x" * 10_000)
    assert len(str(caught.value)) < 300


def test_the_authority_has_the_port_always():
    assert Origin("h", 443, is_tls=True).authority == "h:443"
    assert Origin("::1", 80, is_tls=False).authority == "[::1]:80"
