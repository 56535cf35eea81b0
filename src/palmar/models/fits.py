"""Whether a checkpoint's configuration belongs to its weights, told before anything is allocated.

The model is built on the meta device, where tensors have a shape and no memory, with a bound on how many parts it may have.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules import module as hooks

from palmar.errors import BadFile, BadValue, PalmarError
from palmar.mapping import Interface
from palmar.models.base import ModelConfig
from palmar.models.tensors import Header

SPARE = 1 << 26  # numbers that a model may hold beside its weights: tables that are computed, not stored
CAMERAS, NAMES, OFFSETS, HORIZON, SIDE = 64, 10_000, 1_000, 10_000, 16_384


def check_fits(config: ModelConfig, interface: Interface, header: Header, folder: Any) -> None:
    """Raise `BadFile` unless the model that `config` describes has the tensors of `header`, by name and shape."""
    try:
        with _bounded(10 * len(header.shapes) + 1_000), torch.device("meta"):
            model = config.build(interface)
        state = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        held = sum(t.numel() for t in (*model.parameters(), *model.buffers()))
    except BadValue as e:
        more = "" if "Next: " in str(e) else ". Next: copy the checkpoint again"
        raise BadFile(f"'{folder}/config.json': {e}{more}. Next: copy the folder again from its source, whole") from e
    except PalmarError:
        raise
    except Exception as e:  # a stranger's numbers reach every line of every model
        raise BadFile(
            f"'{folder}/config.json' describes a model that cannot be built ({type(e).__name__}: {str(e)[:200]}). "
            "Next: copy the checkpoint again"
        ) from e
    if missing := sorted(set(state) ^ set(header.shapes)):
        raise BadFile(
            f"'{folder}/model.safetensors' does not fit its config.json: {missing[0]} and {len(missing) - 1} more differ. "
            "Next: copy both files from the same checkpoint"
        )
    if wrong := [k for k in state if state[k] != header.shapes[k]]:
        raise BadFile(
            f"'{folder}/model.safetensors' does not fit its config.json: {wrong[0]} is {list(header.shapes[wrong[0]])}; "
            f"expected {list(state[wrong[0]])}. Next: copy both files from the same checkpoint"
        )
    if held > header.numbers + SPARE:
        raise BadFile(
            f"'{folder}/config.json' describes a model of {held} numbers; its weights hold {header.numbers}. "
            "Next: copy the checkpoint again"
        )


@contextmanager
def _bounded(most: int) -> Iterator[None]:
    """Raise `BadValue` in this thread when more than `most` modules, parameters and buffers are made."""
    mine, count = threading.get_ident(), 0

    def more(*_: Any) -> None:
        nonlocal count
        count += threading.get_ident() == mine
        if count > most:
            raise BadValue(f"config.json describes a model of more than {most} parts, many more than its weights have")

    handles = [
        hooks.register_module_module_registration_hook(more), hooks.register_module_parameter_registration_hook(more),
        hooks.register_module_buffer_registration_hook(more),
    ]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_interface(interface: Any) -> dict[str, Any]:
    """The `interface` of config.json, its values of their kinds and within bounds. Raises `BadValue`."""
    if not isinstance(interface, Mapping):
        raise BadValue(f"interface is {interface!r:.80}; expected an object")

    def need(good: bool, field: str, expected: str) -> None:
        if not good:
            raise BadValue(f"interface.{field} is {interface.get(field)!r:.80}; expected {expected}")

    def texts(value: Any, most: int) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) <= most
            and all(isinstance(t, str) and len(t) <= 200 for t in value)
        )

    cameras, offsets = interface.get("cameras"), interface.get("offsets", [0])
    need(
        isinstance(cameras, Mapping) and len(cameras) <= CAMERAS and texts(list(cameras), CAMERAS)
        and all(isinstance(s, list | tuple) and len(s) == 2 and all(_whole(n, 1, SIDE) for n in s) for s in cameras.values()),
        "cameras", f"at most {CAMERAS} names with height and width, each 1 … {SIDE} px",
    )  # fmt: skip
    recorded = interface.get("recorded", {})
    need(
        isinstance(recorded, Mapping) and len(recorded) <= CAMERAS and all(
            isinstance(sizes, list | tuple) and all(
                isinstance(s, list | tuple) and len(s) == 2 and all(_whole(n, 1, SIDE) for n in s) for s in sizes
            ) for sizes in recorded.values()
        ),
        "recorded", f"by camera a list of (height, width), each 1 … {SIDE} px",
    )  # fmt: skip
    for field in ("state_names", "action_names"):
        need(texts(interface.get(field), NAMES), field, f"at most {NAMES} texts")
    for field in ("state_units", "action_units"):
        need(texts(interface.get(field, []), NAMES), field, f"at most {NAMES} texts")
    need(_whole(interface.get("horizon", 1), 1, HORIZON), "horizon", f"a whole number, 1 … {HORIZON}")
    dt = interface.get("dt", 0.1)
    need(type(dt) in (int, float) and 1e-6 <= dt <= 1e6, "dt", "a number of seconds above 0")
    need(
        isinstance(interface.get("embodiment", ""), str) and len(interface.get("embodiment", "")) <= 200,
        "embodiment",
        "a text",
    )
    good = (
        isinstance(offsets, list | tuple)
        and len(offsets) <= OFFSETS
        and all(_whole(o, -(10**6), 10**6) for o in offsets)
    )
    need(good, "offsets", f"at most {OFFSETS} whole numbers")
    return dict(interface)


def _whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
