"""What drives a robot: anything with `act` and `reset`. Wrap a policy rather than add a flag to one."""

from __future__ import annotations

import importlib
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

from palmar.errors import BadFile, BadValue, PolicyUnreachable, UnknownName, need, regular_file
from palmar.types import Policy

__all__ = [
    "ADAPTERS", "Policy", "check_policy", "checkpoint_of", "load_policy", "shipped", "split_robot",
]  # fmt: skip

ADAPTERS = ("openvla", "octo", "lerobot", "openpi")
"""Published systems that `load_policy` reaches as `kind:where`; each is a module of `palmar.adapters`."""
WEBSOCKET = ("ws://", "wss://")
SERVED = "served"  # the kind of a policy on a server of palmar
REMOTE = ("openpi", SERVED)
CURRENT = "current.json"
"""In a folder of versions (`runtime.adaptation.versions`): which one acts."""
CONNECT_TIMEOUT = 3.0  # longest wait for a policy server to take a connection [s]


def load_policy(where: str, **options: object) -> Policy:
    """A policy from a checkpoint folder, from an exported one (`palmar export`), from that of a correction (the corrected
    policy), of a translation (`palmar translate`: the policy sees other pictures), `shipped` for the one inside the package,
    `FOLDER@ROBOT` for another robot that shares a checkpoint's model, or `kind:where` of another system:
    openvla:FOLDER, octo:FOLDER, lerobot:FOLDER, or openpi://host:port; or ws://host:port (wss:// with TLS) of `palmar serve`.
    options: of that kind's `load`.

    Torch keeps the number of threads it has. A small network acts fastest on one, and on busy cores many times faster: the
    commands and the processes of a pool set it when they start.

    Raises `BadFile` when there is no checkpoint there, `UnknownName` for an unknown kind, `BadValue` for an address that is
    none, `MissingPackage` when torch, or what the kind needs, is not installed.
    """
    kind, rest = _place(where)
    if kind in REMOTE:
        _endpoint(rest)
    else:
        need("torch", "learn")
    if kind:
        adapter = importlib.import_module("palmar.serve.client" if kind == SERVED else f"palmar.adapters.{kind}")
        loaded: Policy = adapter.load(rest, **options)
        return loaded
    from palmar.models import correction, exported, translation
    from palmar.models.checkpoint import load_to_act

    folder, robot = split_robot(rest)
    if translation.is_translated(folder):
        seen_so: Policy = translation.load(_whole(folder, robot), **options)
        return seen_so
    if exported.is_exported(folder):
        return exported.load(_whole(folder, robot), **options)  # type: ignore[arg-type]
    if correction.is_correction(folder):
        corrected: Policy = correction.load(folder, **options)  # type: ignore[arg-type]
        return corrected
    return load_to_act(folder, robot=robot, **options)


def check_policy(where: str) -> None:
    """Raise what `load_policy` would, as far as that can be told within seconds: before workers start, and their progress.

    A palmar checkpoint is read, a server is asked to connect at once (`PolicyUnreachable` when nobody opens), another folder has
    to exist.
    """
    kind, rest = _place(where)
    if kind in REMOTE:
        host, port = _endpoint(rest)
        try:
            socket.create_connection((host, port), timeout=CONNECT_TIMEOUT).close()
        except OSError as error:
            raise PolicyUnreachable(
                f"no policy server at {host}:{port} ({error}). Next: start it, or mend the address"
            ) from error
    elif kind:
        if not Path(rest).exists():
            load_policy(where)  # says so in the words of that kind
    else:
        need("torch", "learn")
        from palmar.models import checkpoint, correction, exported, translation

        where, robot = split_robot(rest)
        if translation.is_translated(where):
            check_policy(translation.read(_whole(where, robot))[0])
            return
        if exported.is_exported(where):
            exported.check_runtime(exported.check(_whole(where, robot)))
            return
        if correction.is_correction(where):
            correction.load(where)
            return
        _, _, normalizers, _, folder = checkpoint.read_config(where)
        checkpoint.check_robot(normalizers, robot)
        checkpoint.read_tensors(folder / checkpoint.WEIGHTS)


def _place(where: str) -> tuple[str, str]:
    """(kind, the rest): kind "" and a path that exists for a palmar checkpoint. Raises `BadFile` or `UnknownName`."""
    if where.startswith(WEBSOCKET):
        return SERVED, where
    kind, colon, rest = where.partition(":")
    if colon and kind in ADAPTERS:
        return kind, rest
    path = checkpoint_of(where)
    if not path.exists():
        if colon and kind.isalnum() and len(kind) > 1:
            raise UnknownName("kind of policy", kind, ADAPTERS)
        raise BadFile(f"no checkpoint at '{path}'. Next: train one (palmar train) or use --policy shipped")
    robot = split_robot(where)[1]
    return "", f"{path}@{robot}" if robot else str(path)


def _whole(folder: str, robot: str) -> str:
    """The folder of an exported policy, which is for one robot. Raises `UnknownName`."""
    if robot:
        raise UnknownName("robot of this exported policy", robot, ["none but its own"])
    return folder


def checkpoint_of(where: str) -> Path:
    """The folder of a palmar checkpoint, without its robot; of a folder of versions that of the one that acts
    (`runtime.adaptation.versions`)."""
    folder = split_robot(where)[0]
    if folder != "shipped" and (Path(folder) / CURRENT).is_file():
        return Path(folder) / current_version(folder)
    return shipped() if folder == "shipped" else Path(folder)


def current_version(folder: str | Path) -> str:
    """Which of the versions in a folder acts, such as v001; "" where there are none. Raises `BadFile`."""
    file = Path(folder) / CURRENT
    if not file.exists():
        return ""
    try:
        return str(json.loads(regular_file(file).read_text("utf-8"))["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(
            f'\'{file}\' does not say which version acts ({error}). Next: write {{"version": "v000"}} into it'
        ) from error


def split_robot(where: str) -> tuple[str, str]:
    """FOLDER or FOLDER@ROBOT → (FOLDER, ROBOT or "")."""
    folder, _, robot = where.rpartition("@")
    return (where, "") if not folder or not robot or Path(where).exists() else (folder, robot)


def _endpoint(rest: str) -> tuple[str, int]:
    """(host, port) of what follows "openpi:". Raises `BadValue`."""
    url = rest if rest.startswith(WEBSOCKET) else "ws://" + rest.removeprefix("//")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or " " in host:
        raise BadValue(
            f"'{rest}' is no address of a policy server; expected //HOST:PORT after openpi:, or ws://HOST:PORT of palmar serve. "
            "Next: the address that the policy server prints"
        )
    return host, port or (443 if parts.scheme == "wss" else 80)


def shipped() -> Path:
    """The folder of the checkpoint that comes with the package."""
    return Path(__file__).parent / "assets" / "palmar-tiny"
