"""A trained policy on disk: a folder with `model.safetensors` and `config.json`. No pickle, neither way.

Both files are written beside and renamed, and the weights carry a fingerprint of their configuration, so that a crash
leaves either a checkpoint that loads or one that says what is wrong. The frozen sentence encoder is not inside.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from palmar.errors import BadFile, BadValue, PalmarError, UnknownName, regular_file
from palmar.files import replace_file
from palmar.mapping import Interface, interface_from_dict, interface_to_dict
from palmar.models.acting import NeuralPolicy
from palmar.models.assets import carry, find
from palmar.models.base import ModelConfig, skip_pretrained
from palmar.models.config import from_dict, to_dict
from palmar.models.fits import check_fits, check_interface
from palmar.models.presets import KINDS
from palmar.models.privileged import as_policy
from palmar.models.tensors import PICKLED, read_header, read_tensors, write_tensors
from palmar.policy import Policy, checkpoint_of

if TYPE_CHECKING:
    from palmar.data.normalize import Normalizer

FORMAT = "palmar-checkpoint"
VERSION = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save(
    path: str | Path,
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    interface: Interface,
    normalizers: Mapping[str, Normalizer],
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint folder. normalizers: `state` and `action`, of other robots `state:ROBOT` and `action:ROBOT`.
    info: anything JSON holds; palmar's version is added. Folders that the configuration names are taken along
    (`assets.carry`)."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    built = {
        "format": FORMAT,
        "version": VERSION,
        "kind": type(config).__name__,
        "config": to_dict(carry(config, folder)),
        "interface": interface_to_dict(interface),
        "normalizers": {name: n.to_dict() for name, n in normalizers.items()},
    }
    fingerprint = _fingerprint(built)
    write_tensors(folder / WEIGHTS, weights, {"format": FORMAT, "fingerprint": fingerprint})
    about = {"palmar": written_by()} | dict(info or {})
    text = json.dumps(built | {"info": about}, indent=1, allow_nan=False)
    replace_file(folder / CONFIG, lambda p: p.write_text(text))
    return folder


def check(path: str | Path) -> tuple[ModelConfig, Interface, dict[str, Any], dict[str, Any], Path]:
    """What `read_config` returns, once the configuration is known to be that of the weights and to describe a model that can be
    built. Raises `BadFile`."""
    found = config, interface, _, _, folder = read_config(path)
    built = json.loads((folder / CONFIG).read_text())
    header = read_header(folder / WEIGHTS)
    if header.meta.get("fingerprint") != _fingerprint({k: built[k] for k in built if k != "info"}):
        raise BadFile(
            f"'{folder / CONFIG}' does not belong to '{folder / WEIGHTS}' (fingerprints differ). "
            "Next: copy both files from the same checkpoint"
        )
    check_fits(config, interface, header, folder)
    return found


def load(path: str | Path, device: str = "cpu", robot: str = "", still: float = 0.0) -> NeuralPolicy:
    """The policy in a checkpoint folder, ready to act. robot: another one that shares the model, "" for its own. still: see
    `NeuralPolicy`.

    Raises `BadFile` naming the file and the next step, `UnknownName` for a robot that it was not trained for.
    """
    config, interface, normalizers, info, folder = check(path)
    weights, _ = read_tensors(folder / WEIGHTS)
    with skip_pretrained():
        model = config.build(interface)
    try:
        model.load_state_dict(weights)
    except RuntimeError as e:
        raise BadFile(
            f"'{folder / WEIGHTS}' does not fit its config.json: {str(e).splitlines()[-1].strip()}. "
            "Next: copy the folder again from its source, whole"
        ) from e
    scales = made(normalizers, interface, folder / CONFIG)
    end = check_robot(scales, robot)
    if f"action{end}" not in scales:
        raise BadFile(f"'{folder / CONFIG}' has no normalizers.action{end}. Next: copy the checkpoint again")
    view = model.as_robot(robot) if robot else model
    for what, channels in (("state", view.interface.state_names), ("action", view.interface.action_names)):
        fitted = scales[f"{what}{end}"]
        if len(fitted.scale) != len(channels) or (fitted.names and fitted.names != tuple(channels)):
            raise BadFile(
                f"'{folder / CONFIG}' normalises {what} {', '.join(fitted.names) or len(fitted.scale)}; the model has "
                f"{', '.join(channels)}. Next: copy the checkpoint again"
            )
    return NeuralPolicy(view, scales[f"state{end}"], scales[f"action{end}"], info, device, still)


def load_to_act(path: str | Path, **options: Any) -> Policy:
    """As `load`, a policy that reads simulator truth behind its wrapper (`models.privileged`)."""
    return as_policy(load(path, **options))


def check_robot(normalizers: Mapping[str, Any], robot: str) -> str:
    """How the names of a robot's normalisers end. Raises `UnknownName` for one that was not trained."""
    end = f":{robot}" if robot else ""
    if f"state{end}" not in normalizers:
        known = [n.partition(":")[2] for n in normalizers if n.startswith("state:")]
        raise UnknownName("robot of this checkpoint", robot, known or ["none but its own"])
    return end


def read_config(path: str | Path) -> tuple[ModelConfig, Interface, dict[str, Any], dict[str, Any], Path]:
    """What a checkpoint is, without its weights: (config, interface, normalizers as dicts, info, folder)."""
    raw, folder = _read_json(path)
    with _told(folder / CONFIG):
        config: ModelConfig = find(from_dict(KINDS[raw["kind"]], raw["config"]), folder)
        interface = interface_from_dict(check_interface(raw["interface"]))
        check_normalizers(raw["normalizers"])
        return config, interface, raw["normalizers"], _object(raw.get("info", {})), folder


def read_interface(path: str | Path) -> Interface:
    """Only the interface of a checkpoint, also of one whose model only its maker knows."""
    raw, folder = _read_json(path)
    with _told(folder / CONFIG):
        return interface_from_dict(check_interface(raw["interface"]))


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """What is wrong with a value of the file, as `BadFile`."""
    try:
        yield
    except BadValue as e:
        raise BadFile(f"'{file}': {e}. Next: copy the checkpoint again") from e
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as e:
        raise BadFile(f"'{file}' lacks or misspells {e}. Next: copy the checkpoint again") from e


def _read_json(path: str | Path) -> tuple[dict[str, Any], Path]:
    """(config.json, the folder that holds it)."""
    folder = Path(path)
    if folder.suffix in PICKLED:
        raise BadFile(
            f"'{folder}' is a pickle, which can run code when opened; palmar reads safetensors only. Next: "
            f"palmar convert {folder} model.safetensors, which reads its tensors without running it"
        )
    if folder.name in (WEIGHTS, CONFIG):
        folder = folder.parent
    if not folder.is_dir():
        raise BadFile(f"no checkpoint at '{folder}'. Next: give the folder that holds {CONFIG} and {WEIGHTS}")
    if not (folder / CONFIG).exists():
        pickled = [p.name for p in folder.iterdir() if p.suffix in PICKLED]
        more = f" (it holds {pickled[0]}, a pickle that palmar does not open)" if pickled else ""
        raise BadFile(f"'{folder}' has no {CONFIG}{more}. Next: give the folder that palmar train wrote")
    try:
        raw = json.loads(regular_file(folder / CONFIG).read_text("utf-8"))
    except (ValueError, RecursionError) as e:
        raise BadFile(f"'{folder / CONFIG}' is damaged: {e}. Next: copy the checkpoint again") from e
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise BadFile(
            f"'{folder / CONFIG}' was not written by palmar. Next: give the folder that palmar train wrote; weights of "
            f"other tools must be converted to palmar's {WEIGHTS} and {CONFIG} first"
        )
    if type(raw.get("version")) is not int:
        raise BadFile(
            f"'{folder / CONFIG}': version is {raw.get('version')!r:.80}; expected 1 … {VERSION}. Next: copy the checkpoint again"
        )
    if raw["version"] > VERSION:
        raise BadFile(
            f"'{folder / CONFIG}' has version {raw['version']}, this palmar reads up to {VERSION}. Next: upgrade palmar"
        )
    return raw, folder


def _object(info: Any) -> dict[str, Any]:
    if not isinstance(info, dict):
        raise BadValue(f"info is {info!r:.80}; expected an object")
    return info


def check_normalizers(normalizers: Any) -> None:
    """Each is offset and scale, lists of numbers; that they are finite and as many as the names, who uses them checks.
    Raises `BadValue`."""
    for name, about in _object(normalizers).items():
        if not isinstance(about, dict):
            raise BadValue(f"normalizers.{name} is {about!r:.80}; expected an object with offset and scale")
        for part in ("offset", "scale"):
            value = about.get(part)
            if not isinstance(value, list) or not all(type(n) in (int, float) and not abs(n) > 1e300 for n in value):
                raise BadValue(f"normalizers.{name}.{part} is {value!r:.80}; expected a list of numbers")
        names = about.get("names", [])
        if not isinstance(about.get("mode", ""), str):
            raise BadValue(f"normalizers.{name}.mode is {about['mode']!r:.80}; expected a text")
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise BadValue(f"normalizers.{name}.names is {names!r:.80}; expected a list of texts")


def made(normalizers: Mapping[str, Any], interface: Interface, file: Path) -> dict[str, Normalizer]:
    """The normalisers, those of the checkpoint's own robot with a number for each of its names. Raises `BadFile`."""
    from palmar.data.normalize import Normalizer

    out = {}
    for name, about in normalizers.items():
        try:
            out[name] = Normalizer.from_dict(about)
        except (PalmarError, KeyError, TypeError, ValueError) as e:
            raise BadFile(f"'{file}': normalizers.{name}: {e}. Next: copy the checkpoint again") from e
        names = {"state": interface.state_names, "action": interface.action_names}.get(name)
        if names is not None and len(out[name].scale) != len(names):
            raise BadFile(
                f"'{file}': normalizers.{name} has {len(out[name].scale)} numbers; expected {len(names)}, one a name. "
                "Next: copy the checkpoint again"
            )
    return out


def written_by() -> str:
    """palmar's version, with the commit where it runs from a git checkout: "0.1.0+g1a2b3c4d5e"."""
    import palmar

    head = Path(palmar.__file__).resolve().parents[2] / ".git/HEAD"
    try:
        text = head.read_text().strip()
        commit = (head.parent / text[5:]).read_text().strip() if text.startswith("ref: ") else text
    except OSError:
        return palmar.__version__
    return f"{palmar.__version__}+g{commit[:10]}"


def _fingerprint(built: Mapping[str, Any]) -> str:
    text = json.dumps(built, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(base: str) -> str:
    """Of the weights and the configuration of a palmar checkpoint, of all its robots alike; "" for any other policy (a server, an
    exported form, a correction, another system's), which is not compared."""
    folder = checkpoint_of(base)
    folder = folder.parent if folder.is_file() else folder
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        return ""
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes())
    built = json.loads((folder / CONFIG).read_text())
    digest.update(json.dumps({k: built[k] for k in built if k != "info"}, sort_keys=True).encode())
    return digest.hexdigest()[:16]
