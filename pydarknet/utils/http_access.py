"""Who may use an HTTP server: the rules that `serve`, `live`, `train --live` and the streams share.

A server on 127.0.0.1 is reached by every page that the machine's browser shows: a page can ask for any address, and
can let its own name point to 127.0.0.1 (DNS rebinding). Two headers, which a page cannot forge, tell such requests.
`Host` is the name that the browser asked for: a rebound one is not a name of this machine. `Origin` is the site of the
page: another site's pages must not start work here. Where a token is needed, it decides alone. A server that listens on
another address is open to the network by the user's choice, under any name.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a server that listens on `address`."""
    number = _number(address)
    return address.lower() == "localhost" or (number is not None and number.is_loopback)


def knows(token: str | None, given: str) -> bool:
    """Whether a client has given the token, or none is needed."""
    return token is None or hmac.compare_digest(given.encode(), token.encode())


def refusal(address: str, token: str | None, host: str | None, origin: str | None = None) -> str | None:
    """Why a request is refused, in one line; None where it is not.

    address: what the server listens on. host, origin: headers of the request, None where it has none; `origin` only of
    a request that costs or changes something.
    """
    if token is not None or host is None:  # browsers always send `Host`
        return None
    name = _name_of(host)
    if is_loopback(address) and (name is None or not (name == "localhost" or _number(name))):
        return f"host {host[:80]!r}: expected localhost or the number of an address"
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return f"origin {origin[:80]!r}: expected {host[:80]!r}, as pages of other sites are refused"
    return None


def _name_of(host: str) -> str | None:
    """The name of NAME, NAME:PORT or [NUMBER]:PORT; None of other forms."""
    try:
        return urlsplit(f"//{host}").hostname if not set(host) & set("@/?#") else None
    except ValueError:
        return None


def _number(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
