"""Where a language model is reached, and the key to it: from the environment, and never where others could read it unsaid."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from palmar.console import printable, warn
from palmar.errors import BadValue
from palmar.serve.reach import loopback

SHOWN = 200  # characters of an address that a message repeats
KEYS = {"ANTHROPIC_BASE_URL": "ANTHROPIC_API_KEY", "OPENAI_BASE_URL": "OPENAI_API_KEY"}
"""{variable of the address: variable of the key}."""


def model_address(given: str, variable: str, default: str) -> str:
    """Where a model is reached, without a slash at the end: as given, else of the environment variable, else the default.

    Warns where the key goes to another computer over plain HTTP. Raises `BadValue` for what is no such address, and for plain
    HTTP to another computer unless it was given.
    """
    address = given or os.environ.get(variable, "").strip() or default
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
        named = parts.username is not None or parts.password is not None
    except ValueError:
        host, named = None, False
    if named:
        raise BadValue(
            f"the address of a language model has a name or a password in it. Next: HOST alone, and the key in {KEYS[variable]}"
        )
    odd = not address.isascii() or any(c.isspace() or not c.isprintable() for c in address)
    if not host or odd or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise BadValue(
            f"'{printable(address)[:SHOWN]}' is no address of a language model. Next: https://HOST/PATH, or "
            "http://127.0.0.1:PORT/PATH on this computer"
        )
    if parts.scheme == "http" and not loopback(host):
        if not given:
            raise BadValue(
                f"{variable} is {address[:SHOWN]}: anybody on the way could read the key and the pictures. Next: https, or give "
                "the address itself, such as openai:MODEL@URL"
            )
        if key_of(KEYS[variable]):
            warn(
                "[yellow]the key in {} is sent to {} over plain HTTP: anybody on the way can read it. Next: https, or without "
                "{} if this server needs no key[/]",
                KEYS[variable],
                host,
                KEYS[variable],
            )
    return address.rstrip("/")


def key_of(variable: str) -> str:
    """The key in an environment variable, "" for none. Raises `BadValue` for one that no header holds."""
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or any(not c.isprintable() or c.isspace() for c in key):
        raise BadValue(
            f"the key in {variable} has characters that no header holds; expected printable ASCII. Next: copy it again"
        )
    return key
