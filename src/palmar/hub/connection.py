"""Which hub, which repository, whose token; and what a hub's refusals mean in words.

The address comes from HF_ENDPOINT (huggingface.co where it is not set), the token from HF_TOKEN alone: none is read from a
file, none is written or printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from palmar.errors import BadFile, BadValue, brief, need, unusable

Kind = Literal["model", "dataset"]
DATASETS = "datasets/"
PUBLIC = "https://huggingface.co"
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Repository:
    """OWNER/NAME of a hub. kind: as the hub calls it."""

    name: str
    kind: Kind = "model"

    @classmethod
    def parse(cls, text: str) -> Repository:
        """From OWNER/NAME (of a model) or datasets/OWNER/NAME. Raises `BadValue`."""
        kind: Kind = "dataset" if text.startswith(DATASETS) else "model"
        name = text.removeprefix(DATASETS)
        parts = name.split("/")
        if len(parts) != 2 or not all(
            re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}", p) and ".." not in p for p in parts
        ):
            raise BadValue(
                f"'{text}' is no repository of a hub; expected OWNER/NAME, or datasets/OWNER/NAME. Next: such as me/pick-policy"
            )
        return cls(name, kind)

    def __str__(self) -> str:
        return f"{DATASETS}{self.name}" if self.kind == "dataset" else self.name


def endpoint() -> str:
    """The hub's address. Raises `BadValue` for one that is none, and for one over which a token would travel readable."""
    address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or PUBLIC
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadValue(
            f"HF_ENDPOINT is '{address}'; expected the address of a hub. Next: such as {PUBLIC}, or unset it"
        )
    if parts.username or parts.password:
        raise BadValue(
            "HF_ENDPOINT holds a user or a password; expected an address alone. Next: put the token into HF_TOKEN"
        )
    if parts.scheme == "http" and parts.hostname not in LOCAL and token():
        raise BadValue(f"HF_ENDPOINT is '{address}', over which HF_TOKEN would travel readable. Next: https")
    return address


def token() -> str:
    """HF_TOKEN, "" where it is not set. Raises `BadValue` for one that no header can carry."""
    found = os.environ.get("HF_TOKEN", "").strip()
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise BadValue("HF_TOKEN holds a space or characters that no token has. Next: set it again")
    return found


def connect() -> Any:
    """The hub's client, `huggingface_hub.HfApi`."""
    need("huggingface_hub", "hub")
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token() or False)


@contextmanager
def told(repository: Repository, doing: str) -> Iterator[None]:
    """What the hub refuses and what the network does, as `BadFile`. doing: "read" or "written"."""
    from huggingface_hub import errors as hf

    where = f"'{repository}' at {endpoint()}"
    try:
        yield
    except hf.GatedRepoError as e:
        raise BadFile(
            f"{where} is given to those who accepted its terms. Next: accept them on its page, and set HF_TOKEN"
        ) from e
    except hf.RepositoryNotFoundError as e:
        other = Repository(repository.name, "model" if repository.kind == "dataset" else "dataset")
        raise BadFile(
            f"there is no {repository.kind} {where}, or none that can be read {'with this' if token() else 'without'} HF_TOKEN. "
            f"Next: check the name ({other} would be another), or the token"
        ) from e
    except hf.RevisionNotFoundError as e:
        raise BadFile(f"{where} has no such revision. Next: a branch, a tag or a commit that it has") from e
    except hf.HFValidationError as e:
        raise BadValue(f"'{repository}' is no name for a hub: {brief(e)}. Next: another name") from e
    except hf.OfflineModeIsEnabled as e:
        raise BadFile(f"{where} cannot be {doing}: HF_HUB_OFFLINE is set. Next: unset it") from e
    except hf.HfHubHTTPError as e:
        status = getattr(e.response, "status_code", 0)
        if status in (401, 403):
            said = "HF_TOKEN is not accepted" if token() else "HF_TOKEN is not set"
            raise BadFile(f"{where} cannot be {doing}: {said} ({status}). Next: a token with the right to") from e
        said = str(e.server_message or "")[:160].strip(" .") or brief(e)
        raise BadFile(f"{where} cannot be {doing}: the hub answers {status} ({said}). Next: try again later") from e
    except (hf.LocalEntryNotFoundError, ConnectionError, TimeoutError) as e:
        raise _unreachable(where, doing, e) from e
    except OSError as e:
        if _of_network(e):
            raise _unreachable(where, doing, e) from e
        raise unusable(e) from e
    except Exception as e:
        if _of_network(e):
            raise _unreachable(where, doing, e) from e
        raise


def _of_network(error: BaseException) -> bool:
    """Whether an error is of the library that carries the requests, which differs with the version of the hub's client."""
    return any(
        kind.__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
        for kind in type(error).__mro__
    )


def _unreachable(where: str, doing: str, error: BaseException) -> BadFile:
    return BadFile(f"{where} cannot be {doing}: no connection, or it broke ({type(error).__name__}). Next: try again")
