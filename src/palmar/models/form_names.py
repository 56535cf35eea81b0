"""The names of the forms that a trained policy can be computed in. Light: the command line reads it before torch is there."""

from __future__ import annotations

from typing import Literal

Runtime = Literal["onnx", "openvino"]
Precision = Literal["fp32", "bf16", "int8-dynamic", "int8-static"]
EXTRA = {"onnx": "export", "onnxscript": "export", "onnxruntime": "export", "openvino": "openvino"}
"""The extra that a package comes with."""

EAGER = "eager"
BF16, COMPILED = "eager-bf16", "compile"
EXPORTS: dict[str, tuple[Runtime, Precision]] = {
    "onnx-fp32": ("onnx", "fp32"),
    "onnx-int8-dynamic": ("onnx", "int8-dynamic"),
    "onnx-int8-static": ("onnx", "int8-static"),
    "openvino-fp32": ("openvino", "fp32"),
    "openvino-bf16": ("openvino", "bf16"),
    "openvino-int8-static": ("openvino", "int8-static"),
}
"""What `palmar export` writes."""
FORMS = (EAGER, BF16, COMPILED, *EXPORTS)


def precision_of(form: str) -> Precision:
    """The precision that a form computes in."""
    return EXPORTS[form][1] if form in EXPORTS else "bf16" if form == BF16 else "fp32"
