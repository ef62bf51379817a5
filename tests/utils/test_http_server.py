"""Which requests a server refuses: those of pages of other sites, and those without the token."""

import pytest

from pydarknet.utils.http_server import is_loopback, knows, refusal


@pytest.mark.parametrize("address, expected", [
])  # fmt: skip
def test_only_loopback_addresses_are_closed_to_other_machines(address, expected):
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost", "LOCALHOST:9000", "[::1]:8080", "192.168.0.7:1", None]
)  # fmt: skip
def test_names_of_this_machine_are_answered(host):
    assert refusal("127.0.0.1", None, host) is None


@pytest.mark.parametrize("host", [
])  # fmt: skip
def test_other_names_are_refused_on_loopback(host):
    assert refusal("127.0.0.1", None, host) == f"host {host!r}: expected localhost or the number of an address"


def test_any_name_serves_where_the_network_may_come_in_or_a_token_is_needed():
    assert refusal("0.0.0.0", None, "detector.lan:8080") is None
    assert refusal("127.0.0.1", "secret", "detector.lan", "https://front.example") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_pages_of_other_sites_are_refused(address):
    assert refusal(address, None, "127.0.0.1:80", "http://127.0.0.1:80") is None
    for origin in ("https://evil.example", "null", "http://127.0.0.1:81", ""):
        why = refusal(address, None, "127.0.0.1:80", origin)
        assert why == f"origin {origin!r}: expected '127.0.0.1:80', as pages of other sites are refused"


def test_a_token_is_compared_whole():
    assert knows(None, "") and knows("secret", "secret")
    assert not knows("secret", "") and not knows("secret", "secre") and not knows("secret", "sécret")
