from __future__ import annotations

import pytest

from bandari.web.sources import MAX_PROXIES, TrustedProxies, address_in, address_of

PROXIES = TrustedProxies(("10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.1"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7:4321", "198.51.100.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[198.51.100.7]:443", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("198.51.100", None),
        ("198.51.100.7:", None),
        ("198.51.100.7:http", None),
        ("198.51.100.7:123456", None),
        ("[2001:db8::1", None),
        ("[2001:db8::1]443", None),
        ("[2001:db8::1]:", None),
        ("010.0.0.1", None),
        ("1.2.3.4, 5.6.7.8", None),
    ],
)
def test_an_address_is_read_without_what_is_around_it(text, address):
    assert address_in(text) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("198.51.100.7", 4321), "198.51.100.7"),
        (("::ffff:198.51.100.7", 4321, 0, 0), "198.51.100.7"),
        (("fe80::1%eth0", 4321, 0, 2), "fe80::1"),
        ("/run/bandari.sock", ""),
        ("", ""),
        (None, ""),
        ((), ""),
    ],
)
def test_a_peer_has_an_address_or_none(peer, address):
    assert address_of(peer) == address


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (b"203.0.113.9, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
        (b"203.0.113.9,198.51.100.7:99,[2001:db8:ffff::5]:443,10.2.3.4", "198.51.100.7"),
        (b"10.5.5.5, 10.2.3.4", "10.5.5.5"),
        (b"2001:db8::7", "2001:db8::7"),
        (b"", "10.0.0.1"),
        (b"unknown", "10.0.0.1"),
        (b"198.51.100.7, unknown", "10.0.0.1"),
        (b"198.51.100.7, unknown, 10.2.3.4", "10.2.3.4"),
        (b"198.51.100.7, , 10.2.3.4,", "198.51.100.7"),
        (b"\xff\xfe", "10.0.0.1"),
    ],
)
def test_the_first_from_the_right_that_is_no_trusted_proxy_is_the_client(forwarded, client):
    assert PROXIES.client("10.0.0.1", forwarded) == client


def test_no_more_addresses_are_read_than_there_may_be_proxies():
    forwarded = b",".join([b"198.51.100.7", *[b"10.0.0.2"] * MAX_PROXIES])
    assert PROXIES.client("10.0.0.1", forwarded) == "10.0.0.2"
    forwarded = b",".join([b"198.51.100.7", *[b"10.0.0.2"] * (MAX_PROXIES - 1)])
    assert PROXIES.client("10.0.0.1", forwarded) == "198.51.100.7"


def test_who_is_trusted():
    for address in ("10.255.0.1", "192.0.2.1", "2001:db8:ffff::9"):
        assert PROXIES.trust(address)
    for address in ("192.0.2.2", "2001:db8::1", ""):
        assert not PROXIES.trust(address)
    assert not TrustedProxies(()).trust("10.0.0.1")


def test_what_is_no_network_is_refused():
    with pytest.raises(ValueError, match="everywhere"):
        TrustedProxies(("everywhere",))
