"""A checkpoint's configuration is compared with its weights before anything is allocated."""

import json

import numpy as np
import pytest
import torch

from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, BadValue
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.config import from_dict, to_dict
from palmar.models.presets import preset
from palmar.models.tensors import read_header, read_tensors
from palmar.models.vla import VLAConfig


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    config = preset("act-tiny")
    face = Interface({"front": (32, 32)}, ("a.pos", "b.pos"), ("dx", "dy"), horizon=4, offsets=config.offsets)
    scales = {k: Normalizer(np.zeros(2), np.ones(2)) for k in ("state", "action")}
    return checkpoint.save(
        tmp_path_factory.mktemp("saved") / "c", config.build(face).state_dict(), config, face, scales
    )


def spoil(saved, tmp_path, path, value):
    """A copy with one value of config.json changed, and weights that say they belong to it, as one who means harm would."""
    doc = json.loads((saved / "config.json").read_text())
    part = doc
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "config.json").write_text(json.dumps(doc))
    tensors, meta = read_tensors(saved / "model.safetensors")
    meta["fingerprint"] = checkpoint._fingerprint({k: doc[k] for k in doc if k != "info"})
    from safetensors.torch import save_file

    save_file(tensors, str(tmp_path / "model.safetensors"), metadata=meta)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("config", "fusion"), 7, "VLAConfig.fusion is 7; expected"),
        (("config", "ensemble"), "x", "VLAConfig.ensemble is 'x'; expected"),
        (("config", "text", "max_tokens"), 2**40, "VLAConfig.text.max_tokens is .*whole number"),
        (("config", "history"), [0.5], r"history\[0\] is 0.5; expected a whole number"),
        (("interface", "cameras"), {"front": [10**6, 10**6]}, "interface.cameras"),
        (("interface", "horizon"), 10**9, "interface.horizon is 1000000000; expected a whole number, 1 … 10000"),
        (("interface", "dt"), float("inf"), "interface.dt"),
        (("interface", "horizon"), 5, "does not fit its config.json"),
        (("normalizers", "state"), None, "normalizers.state is None"),
        (("normalizers", "state", "scale"), [1.0], "normalizers.state"),
        (("version",), "2", "version is '2'"),
        (("kind",), ["VLAConfig"], "Next"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(saved, tmp_path, path, value, expected):
    with pytest.raises(BadFile, match=expected):
        checkpoint.load(spoil(saved, tmp_path, path, value))


def numbers(doc, path=()):
    """Where config.json has a whole number."""
    items = doc.items() if isinstance(doc, dict) else enumerate(doc) if isinstance(doc, list) else ()
    found = [path] if type(doc) is int else []
    return found + [p for k, v in items for p in numbers(v, (*path, k))]


def test_sizes_that_would_fill_the_memory_are_refused_before_they_do(saved, tmp_path):
    doc = json.loads((saved / "config.json").read_text())["config"]
    for at in numbers(doc):
        try:
            checkpoint.load(spoil(saved, tmp_path, ("config", *at), 10**7))
        except BadFile as error:
            assert "Next: " in str(error)


def test_a_header_is_compared_with_the_file(saved, tmp_path):
    data = (saved / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = next(k for k in header if k != "__metadata__")
    path = tmp_path / "model.safetensors"
    for change, expected in (
        ({"shape": [10**9, 10**9]}, "takes"), ({"dtype": "F31"}, "dtype"), ({"data_offsets": [0, 2**40]}, "takes"),
        ({"data_offsets": [-4, 0]}, "whole numbers"), ({"shape": None}, "whole numbers"),
    ):  # fmt: skip
        text = json.dumps(header | {name: header[name] | change}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        with pytest.raises(BadFile, match=rf"model.safetensors' is truncated or damaged .*{expected}"):
            read_tensors(path)
    for size in (0, 2**31, 2**64 - 1):
        path.write_bytes(size.to_bytes(8, "little") + data[8:])
        with pytest.raises(BadFile, match=f"its header says {size} bytes"):
            read_header(path)
    assert read_header(saved / "model.safetensors").numbers == sum(
        t.numel() for t in read_tensors(saved / "model.safetensors")[0].values()
    )


def test_values_are_checked_by_their_annotations():
    good = json.loads(json.dumps(to_dict(preset("act-tiny"))))
    assert from_dict(VLAConfig, good) == preset("act-tiny")
    for value in ("x", True, float("nan"), 10**400, [], {}):
        with pytest.raises(BadValue, match=r"VLAConfig\.ensemble is"):
            from_dict(VLAConfig, good | {"ensemble": value})
    for value in (None, "x", True, 0.5, 10**9):
        with pytest.raises(BadValue, match=r"VLAConfig\.text\.max_tokens is"):
            from_dict(VLAConfig, good | {"text": good["text"] | {"max_tokens": value}})


def test_building_for_a_check_leaves_no_hook(saved):
    checkpoint.load(saved)
    torch.nn.Linear(2, 2)
    from torch.nn.modules import module

    assert not module._global_parameter_registration_hooks and not module._global_module_registration_hooks
