"""Exported functions and who computes them: ONNX Runtime and OpenVINO, on the CPU. A file becomes a `graph.Run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palmar.errors import BadFile, need, regular_file
from palmar.models.form_names import EXTRA, Precision, Runtime
from palmar.models.graph import Run

SUFFIX: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml"}


def files_of(runtime: Runtime, name: str) -> tuple[str, ...]:
    """The files that hold one function."""
    return (f"{name}.onnx",) if runtime == "onnx" else (f"{name}.xml", f"{name}.bin")


def opened(runtime: Runtime, precision: Precision, path: Path, threads: int) -> Run:
    """The function in a file, on so many threads. Raises `MissingPackage`, and `BadFile` for a file that the runtime refuses."""
    regular_file(path)
    open_it: Callable[[Path, Precision, int], Run] = _onnx if runtime == "onnx" else _openvino
    try:
        return open_it(path, precision, threads)
    except (RuntimeError, ValueError) as error:
        raise BadFile(f"'{path}' cannot be opened: {_first(error)}. Next: export it again") from error
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):  # its errors share no base but Exception
            raise BadFile(f"'{path}' cannot be opened: {_first(error)}. Next: export it again") from error
        raise


def _onnx(path: Path, precision: Precision, threads: int) -> Run:
    need("onnxruntime", EXTRA["onnxruntime"])
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # a waiting thread leaves the core to others
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names, said = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]

    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out = session.run(said, {n: given[n].contiguous().numpy() for n in names})
        return {n: torch.from_numpy(x) for n, x in zip(said, out, strict=True)}

    return run


def _openvino(path: Path, precision: Precision, threads: int) -> Run:
    need("openvino", EXTRA["openvino"])
    import openvino as ov

    options = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }  # fmt: skip
    compiled = ov.Core().compile_model(str(path), "CPU", options)
    names, said = [_name(i) for i in compiled.inputs], [_name(o) for o in compiled.outputs]
    request = compiled.create_infer_request()

    def run(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        out = request.infer({n: given[n].contiguous().numpy() for n in names}, share_inputs=True)
        return {n: torch.from_numpy(out[i].copy()) for i, n in enumerate(said)}

    return run


def _name(port: Any) -> str:
    """Of several that a port has (what makes it is one more), ours."""
    ours = ("state", "image.", "language.", "noise", "tokens", "mask", "actions", "done", "confidence", "attention.")
    return str(next((n for n in sorted(port.get_names()) if n.startswith(ours)), port.get_any_name()))


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
