"""`palmar export` and `palmar bench` on a checkpoint made on the spot; mistakes are told in one line."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from palmar.cli.main import main
from palmar.data.normalize import Normalizer
from palmar.lab import recorded, suite
from palmar.models import checkpoint
from palmar.models.presets import palmar_nano, preset
from palmar.robots import robot

LACKING = [p for p in ("onnx", "onnxscript", "onnxruntime") if find_spec(p) is None]
ONNX = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (palmar[export])")


def save(folder, config):
    face = robot("arm7").interface(8)
    torch.manual_seed(0)
    model = config.build(
        face if config.offsets == (0,) else face.__class__(**{**face.__dict__, "offsets": config.offsets})
    )
    widths = (("state", len(face.state_names)), ("action", len(face.action_names)))
    scales = {w: Normalizer(np.zeros(n), np.ones(n)) for w, n in widths}
    return str(checkpoint.save(folder, model.state_dict(), model.config, model.interface, scales))


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    return save(tmp_path_factory.mktemp("speed") / "run", palmar_nano())


@pytest.fixture
def short(monkeypatch):
    """Observations are recorded in episodes of a second, and tables are tried in this process."""
    made, tried = suite.EvalConfig, suite.evaluate
    monkeypatch.setattr(recorded, "EvalConfig", lambda *given, **more: made(*given, **(more | {"timeout": 1.0})))
    monkeypatch.setattr(suite, "evaluate", lambda config, processes=1, **more: tried(config, 1, **more))


@ONNX
def test_export_then_evaluate(nano, tmp_path, capsys, short):
    out = str(tmp_path / "fast")
    assert (
        main(
            [
                "export",
                nano,
                "--out",
                out,
                "--observations",
                "4",
                "--closed-loop",
                "1",
                "--tasks",
                "reach",
                "--timeout",
                "1",
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["parity"]["largest"] < 1e-2 and told["closed_loop"]["difference"]["n"] == 1
    assert (
        main(
            [
                "eval",
                "--policy",
                out,
                "--tasks",
                "reach",
                "--episodes",
                "1",
                "--timeout",
                "1",
                "--processes",
                "1",
                "--json",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["export", nano, "--out", out, "--observations", "4"]) == 2
    assert "is there already. Next: another --out" in capsys.readouterr().err


def test_bench_says_everything_as_json(nano, capsys, short):
    told = [
        "bench",
        nano,
        "--forms",
        "eager",
        "eager-bf16",
        "--repeats",
        "5",
        "--observations",
        "4",
        "--no-memory",
        "--json",
    ]
    assert main(told) == 0
    rows = {r["form"]: r for r in json.loads(capsys.readouterr().out)["forms"]}
    assert {"eager", "eager-bf16"} <= set(rows) and rows["eager-bf16"]["parity"]["observations"] == 4
    assert all(rows[n]["latency"]["p99"] > 0 and rows[n]["success"] is None for n in ("eager", "eager-bf16"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench", "--forms", "onnx-fp23"], "unknown form 'onnx-fp23'. Did you mean 'onnx-fp32'?"),
        (["bench", "expert"], "no checkpoint at 'expert'"),
        (["bench", "--keys", "state=x"], "--keys state=x counts only with --data"),
        (["export", "shipped", "--out", "X", "--to", "onnx", "--precision", "bf16"], "Next: --to openvino"),
        (["export", "shipped", "--out", "X", "--mean-bound", "-1"], "mean-bound"),
    ],
)
def test_mistakes(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


@ONNX
def test_a_model_that_speaks_token_by_token_is_refused(tmp_path, capsys):
    config = preset("rt1-tiny")
    where = save(tmp_path / "rt1", replace(config, head=replace(config.head, parallel=False)))
    assert main(["export", where, "--out", str(tmp_path / "out")]) == 2
    assert "one token after the other" in capsys.readouterr().err and not (tmp_path / "out").exists()
