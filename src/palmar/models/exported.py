"""An exported policy on disk: `export.json` beside two functions (`graph`) in the files of a runtime. No pickle.

`load` gives a policy like any other: the same interface, sentence encoder, normalisation, past pictures and chunks as the
checkpoint it was made of; only the network is computed elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from palmar.errors import BadFile, BadValue, PalmarError, UnknownName, need, regular_file
from palmar.files import replace_file
from palmar.mapping import Interface, interface_from_dict, interface_to_dict
from palmar.models.acting import NeuralPolicy
from palmar.models.checkpoint import check_normalizers, made, written_by
from palmar.models.config import from_dict, to_dict
from palmar.models.fits import check_interface
from palmar.models.form_names import EXTRA, Precision, Runtime
from palmar.models.graph import Traced, TracedConfig
from palmar.models.runtimes import SUFFIX, files_of, opened

FORMAT, VERSION = "palmar-export", 1
FILE = "export.json"
FUNCTIONS = ("policy", "words")


@dataclass(frozen=True)
class Export:
    """What `export.json` says."""

    runtime: Runtime
    precision: Precision
    config: TracedConfig
    interface: Interface
    normalizers: Mapping[str, Any]
    info: Mapping[str, Any]


def is_exported(folder: str | Path) -> bool:
    """Whether a folder holds an exported policy."""
    return (Path(folder) / FILE).is_file()


def write(folder: Path, export: Export) -> None:
    """Write `export.json` beside the files of the functions, with their fingerprints."""
    files = {n: _digest(folder / n) for name in FUNCTIONS for n in files_of(export.runtime, name)}
    about = {
        "format": FORMAT, "version": VERSION, "runtime": export.runtime, "precision": export.precision,
        "config": to_dict(export.config), "interface": interface_to_dict(export.interface),
        "normalizers": dict(export.normalizers), "files": files, "info": {"palmar": written_by(), **export.info},
    }  # fmt: skip
    about["fingerprint"] = _fingerprint(about)
    replace_file(folder / FILE, lambda p: p.write_text(json.dumps(about, indent=1, allow_nan=False)))


def check(path: str | Path) -> Export:
    """What an exported policy is, once its files are known to be those that were exported. Raises `BadFile`."""
    folder = Path(path)
    file = folder / FILE
    try:
        raw = json.loads(regular_file(file).read_text("utf-8"))
        if raw["format"] != FORMAT or raw["version"] != VERSION:
            raise BadValue(
                f"format {raw['format']!r:.40}, version {raw['version']!r:.40}; expected {FORMAT}, {VERSION}"
            )
        for what, kind in (("runtime", Runtime), ("precision", Precision)):
            if raw[what] not in get_args(kind):
                raise UnknownName(what, str(raw[what])[:40], get_args(kind))
        config = from_dict(TracedConfig, raw["config"], "config")
        interface = interface_from_dict(check_interface(raw["interface"]))
        check_normalizers(raw["normalizers"])
        files, info = dict(raw["files"]), dict(raw.get("info", {}))
        if raw["fingerprint"] != _fingerprint(raw):
            raise BadValue("it was changed after the export: its fingerprint is another one")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, UnknownName) as error:
        raise BadFile(
            f"'{file}' is damaged: {str(error) or type(error).__name__}. Next: export the policy again"
        ) from error
    for name in FUNCTIONS:
        for part in files_of(raw["runtime"], name):
            if not regular_file(folder / part).is_file():
                raise BadFile(f"'{folder}' lacks {part}. Next: copy the folder again, whole")
            if files.get(part) != _digest(folder / part):
                raise BadFile(
                    f"'{folder / part}' is not the file that was exported. Next: copy the folder again, whole"
                )
    return Export(raw["runtime"], raw["precision"], config, interface, raw["normalizers"], info)


def check_runtime(export: Export) -> None:
    """Raise `MissingPackage` when its runtime is not installed."""
    package = {"onnx": "onnxruntime", "openvino": "openvino"}[export.runtime]
    need(package, EXTRA[package])


def load(path: str | Path, threads: int | None = None, still: float = 0.0) -> NeuralPolicy:
    """The policy in an exported folder, ready to act. threads: of the runtime; those of torch when not given. still: accepted as
    for a checkpoint; an exported network encodes every picture.

    Raises `BadFile`, and `MissingPackage` when its runtime is not installed.
    """
    export, folder = check(path), Path(path)
    threads = torch.get_num_threads() if threads is None else threads
    policy, words = (
        opened(export.runtime, export.precision, folder / f"{name}{SUFFIX[export.runtime]}", threads)
        for name in FUNCTIONS
    )
    model = Traced(export.config, export.interface, policy, words)
    try:
        scales = made(export.normalizers, export.interface, folder / FILE)
        return NeuralPolicy(model, scales["state"], scales["action"], export.info, still=still)
    except KeyError as error:
        raise BadFile(f"'{folder / FILE}' has no normalizers.{error.args[0]}. Next: export the policy again") from error
    except PalmarError as error:
        raise BadFile(f"'{folder / FILE}': {error}") from error


def _fingerprint(about: Mapping[str, Any]) -> str:
    """Of everything that `export.json` says but for its info, which changes no action."""
    told = {k: v for k, v in about.items() if k not in ("fingerprint", "info")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]
