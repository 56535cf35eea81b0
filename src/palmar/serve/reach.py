"""Who reaches what listens here."""

from __future__ import annotations

from ipaddress import ip_address

from palmar.errors import BadValue
from palmar.runtime.supervision.handshake import KEY


def loopback(host: str) -> bool:
    """Whether only this computer reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_reach(host: str, key: str, open: bool, what: str) -> None:
    """Raise `BadValue` where other computers could connect without a key and nobody has said that they may. what: they could do."""
    if not key and not open and not loopback(host):
        raise BadValue(
            f"'{host}' is reached from other computers, and there is no key. Next: a key in the environment variable {KEY}, or "
            f"--open for anybody to {what}"
        )
