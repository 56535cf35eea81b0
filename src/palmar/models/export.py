"""A trained policy written for another runtime: ONNX Runtime or OpenVINO, in fp32, bf16 or int8, and checked before it is kept."""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from palmar.errors import BadFile, BadValue, UnknownName, need
from palmar.models import exported
from palmar.models.acting import NeuralPolicy
from palmar.models.form_names import EXTRA, Precision, Runtime
from palmar.models.graph import Graph, Traced, TracedConfig, Words, check_traceable, feeds, filled, traces
from palmar.models.parity import BOUNDS, Bound, Parity, parity
from palmar.models.runtimes import SUFFIX
from palmar.types import Observation

OPSET = 20
QUANTIZED = {"int8-dynamic": ["MatMul", "Gemm"], "int8-static": ["Conv", "MatMul", "Gemm"]}
"""Which operators compute in int8; ONNX Runtime has no fast dynamic convolution."""
NOT_THERE = {
    ("onnx", "bf16"): "ONNX Runtime multiplies no bfloat16 on a CPU. Next: --to openvino, or --precision int8-dynamic",
    (
        "openvino",
        "int8-dynamic",
    ): "OpenVINO quantises nothing while it runs. Next: --precision int8-static or bf16, or --to onnx",
}


def check_form(to: Runtime, precision: Precision) -> None:
    """Raise `UnknownName` or `BadValue` for a form that is not made, `MissingPackage` where a package lacks."""
    for what, name, known in (("runtime", to, get_args(Runtime)), ("precision", precision, get_args(Precision))):
        if name not in known:
            raise UnknownName(what, name, known)
    if why := NOT_THERE.get((to, precision)):
        raise BadValue(f"--to {to} --precision {precision}: {why}")
    for package in ("onnx", "onnxscript", "onnxruntime", *(("openvino",) if to == "openvino" else ())):
        need(package, EXTRA[package])


def export(
    policy: NeuralPolicy,
    out: str | Path,
    observations: Sequence[Observation],
    to: Runtime = "onnx",
    precision: Precision = "fp32",
    bound: Bound | None = None,
    made_of: str = "",
) -> Parity:
    """Write the policy to the folder `out`, which must not hold anything, and say how its actions differ from the original's on
    the recorded `observations`; int8-static is calibrated on half of them and compared on the other half.

    bound: of that difference; `parity.BOUNDS` of the precision when not given. made_of: where the policy came from.

    Raises `BadValue` and leaves nothing when the actions differ by more, or when the model is no function of fixed tensors;
    what `check_form` does; `BadFile` when `out` is not empty.
    """
    check_form(to, precision)
    check_exportable(policy)
    folder, part = Path(out), Path(f"{out}.part")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadFile(f"'{folder}' is there already. Next: another --out")
    half = len(observations) // 2 if precision == "int8-static" else 0
    seen, judged = list(observations[:half]), list(observations[half:])
    if not judged or (precision == "int8-static" and not seen):
        raise BadValue(f"{len(observations)} observations; expected 2 or more. Next: more of them")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write(policy, part, seen, judged[0], to, precision)
        about: dict[str, Any] = {"made_of": made_of, "parameters": sum(p.numel() for p in policy.model.parameters())}
        scales = {name: n.to_dict() for name, n in policy.normalizers.items()}
        form = exported.Export(
            to, precision, TracedConfig.of(policy.model), policy.model.interface, scales, policy.info | about
        )
        exported.write(part, form)
        found, limit = parity(policy, exported.load(part), judged), bound or BOUNDS[precision]
        if not found.within(limit):
            raise BadValue(
                f"the actions of {to} {precision} differ by {found}; expected mean ≤ {limit.mean:g} σ and largest ≤ "
                f"{limit.largest:g} σ. Next: another --precision, or a wider --mean-bound and --largest-bound"
            )
        exported.write(part, replace(form, info={**form.info, "parity": asdict(found), "bound": asdict(limit)}))
        if folder.is_dir():
            folder.rmdir()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def check_exportable(policy: object) -> None:
    """Raise `BadValue` for what is no policy of a checkpoint, or one that `graph` cannot take."""
    if not isinstance(policy, NeuralPolicy):
        raise BadValue(
            f"a {type(policy).__name__} cannot be exported; expected the policy of a palmar checkpoint. Next: its checkpoint"
        )
    if isinstance(policy.model, Traced):
        raise BadValue("this policy is exported already. Next: the checkpoint that it was made of")
    check_traceable(policy.model)


def _write(
    policy: NeuralPolicy, folder: Path, seen: Sequence[Observation], one: Observation, to: Runtime, precision: Precision
) -> None:
    """Both functions in `folder`. seen: to calibrate on. one: an example."""
    policy.reset()
    with policy.drawing(one):
        both = traces(policy.model, policy.inputs(one))
        samples = _samples(policy, seen)
    for name, function, example in (("policy", both.policy, both.feeds), ("words", both.words, both.text)):
        plain = folder / f"{name}.onnx"
        to_onnx(function, example, plain)
        if name == "policy" and precision.startswith("int8"):
            quantized(plain, precision, samples)
        if to == "openvino":
            to_openvino(plain, folder / f"{name}{SUFFIX[to]}")
            plain.unlink()


def _samples(policy: NeuralPolicy, seen: Sequence[Observation]) -> list[dict[str, Tensor]]:
    """What `policy` is fed at each observation."""
    out, model = [], policy.model
    for obs in seen:
        inputs = policy.inputs(obs)
        tokens, mask = filled(inputs, model.config.max_tokens)
        language = model.encode_language(replace(inputs, tokens=tokens, mask=mask))
        noise = torch.randn(1, *model.noise) if model.noise else None
        out.append(feeds(replace(inputs, language=language, noise=noise)))
    return out


def to_onnx(function: Graph | Words, example: tuple[Tensor, ...], path: Path) -> None:
    """Trace it into an ONNX file that holds its weights. Raises `BadValue` with what torch says where it cannot."""
    try:
        with quietly():
            torch.onnx.export(
                function, example, str(path), dynamo=True, external_data=False, opset_version=OPSET, verbose=False,
                input_names=list(function.names), output_names=list(function.said),
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        said = str(error.__cause__ or error).splitlines()[0]
        raise BadValue(
            f"this model cannot be traced: {said:.300}. Next: palmar bench shows the forms that it has"
        ) from error


def quantized(path: Path, precision: Precision, samples: Sequence[dict[str, Tensor]]) -> None:
    """Replace an ONNX file by its int8 form: weights by channel; activations measured while it runs (dynamic) or calibrated on
    `samples` (static)."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    model = onnx.load(str(path))
    model.graph.ClearField("value_info")  # the quantiser trips over the shapes that the exporter states
    kinds = QUANTIZED[precision]
    with quietly():
        if precision == "int8-dynamic":
            quantize_dynamic(
                model, str(path), op_types_to_quantize=kinds, weight_type=QuantType.QInt8, per_channel=True
            )
            return

        class Samples(CalibrationDataReader):
            def __init__(self, names: set[str]) -> None:
                self.rest = iter([{n: x.contiguous().numpy() for n, x in s.items() if n in names} for s in samples])

            def get_next(self) -> Any:
                return next(self.rest, None)

        quantize_static(
            model, str(path), Samples({i.name for i in model.graph.input}), quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8, per_channel=True,
        )  # fmt: skip


def to_openvino(source: Path, path: Path) -> None:
    """An ONNX file as OpenVINO's .xml and .bin, weights as they are."""
    import openvino as ov

    ov.save_model(ov.convert_model(str(source)), str(path), compress_to_fp16=False)


@contextmanager
def quietly() -> Iterator[None]:
    """What exporters print and log beside their errors is no news to the caller."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
