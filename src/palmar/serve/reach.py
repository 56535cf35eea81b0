"""Who reaches what listens here."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_address
from pathlib import Path

from palmar.errors import BadFile, BadValue, regular_file
from palmar.runtime.supervision.handshake import KEY


def loopback(host: str) -> bool:
    """Whether only this computer reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_host(host: str, listens: str) -> bool:
    """Whether a browser asked by an address or a name of this computer: a name that somebody else gave it may be a stranger's (DNS
    rebinding). host: the header Host. listens: where the server does."""
    name = (host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]).lower()
    here = socket.gethostname().lower()
    if name and name in {"localhost", listens.lower(), here, f"{here}.local"}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def check_reach(host: str, key: str, open: bool, what: str) -> None:
    """Raise `BadValue` where other computers could connect without a key and nobody has said that they may. what: they could do."""
    if not key and not open and not loopback(host):
        raise BadValue(
            f"'{host}' is reached from other computers, and there is no key. Next: a key in the environment variable {KEY}, or "
            f"--open for anybody to {what}"
        )


def check_key(key: str) -> None:
    """Raise `BadValue` for a key that no header holds."""
    if not key.isascii() or any(not c.isprintable() or c.isspace() for c in key):
        raise BadValue(
            f"the key in {KEY} has characters that no header holds; expected printable ASCII. Next: another key"
        )


def check_certificate(certificate: Path | None, private_key: Path | None) -> None:
    """Raise `BadValue` where one of the two is missing."""
    if (certificate is None) != (private_key is None):
        raise BadValue("TLS needs --certificate and --private-key, and one is missing. Next: give both")


def tls_context(certificate: Path | None, private_key: Path | None) -> ssl.SSLContext | None:
    """Of a server; None without a certificate. Raises `BadFile` for a certificate or key that cannot be used."""
    if certificate is None or private_key is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = regular_file(certificate), regular_file(private_key)
    if missing := [f for f in files if not f.exists()]:
        raise BadFile(
            f"no file '{missing[0]}'; expected one in PEM format. Next: the path of the certificate, or of its key"
        )
    try:
        made.load_cert_chain(*files, password=lambda: b"")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadFile(
            f"'{files[0]}' and '{files[1]}' are no certificate with its key ({error}). Next: both as PEM, the key unencrypted"
        ) from error
    # Nobody resumes a session here, and a ticket that arrives while the client first writes breaks the connection: OpenSSL
    # does not let two threads use one, and Python before 3.13 does not keep them apart.
    made.num_tickets = 0
    return made
