"""The forms of a policy side by side, on a checkpoint made on the spot."""

import numpy as np
import pytest
import torch

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.lab.bench import STILL, Bench, BenchConfig, Latency
from palmar.lab.recorded import Watched, chosen, driven, robot_of, simulated
from palmar.lab.suite import EvalConfig
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.presets import palmar_nano
from palmar.policy import load_policy
from palmar.robots import robot
from palmar.types import Observation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A policy for the simulated arm that has learned nothing."""
    face = robot("arm7").interface(8)
    torch.manual_seed(0)
    model = palmar_nano().build(face)
    scales = {
        w: Normalizer(np.zeros(n), np.ones(n))
        for w, n in (("state", len(face.state_names)), ("action", len(face.action_names)))
    }
    return checkpoint.save(tmp_path_factory.mktemp("bench") / "run", model.state_dict(), model.config, face, scales)


def noise(face: Interface, count: int) -> list[Observation]:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(count, len(face.state_names))).astype(np.float32)
    pictures = [
        {c: rng.integers(0, 255, (*s, 3)).astype(np.uint8) for c, s in face.cameras.items()} for _ in range(count)
    ]
    return [
        Observation(p, s, "reach the red cube", 0.1 * i) for i, (p, s) in enumerate(zip(pictures, states, strict=True))
    ]


def test_the_table_of_forms(folder, tmp_path):
    said = []
    config = BenchConfig(str(folder), ("eager-bf16", "onnx-int4"), tmp_path, repeats=5, memory=False)
    rows = {r.form: r for r in Bench(config, noise(load_policy(str(folder)).interface, 4), said.append).run()}
    assert list(rows) == ["eager", "eager-bf16", "onnx-int4", STILL]
    assert rows["eager"].parity is None and rows["eager-bf16"].parity.observations == 4
    assert rows["onnx-int4"].latency is None and "unknown form 'onnx-int4'" in rows["onnx-int4"].why
    assert all(rows[n].latency.count == 5 for n in ("eager", "eager-bf16", STILL))
    assert rows["eager"].to_dict()["latency"]["p50"] > 0 and "making eager-bf16" in said


def test_percentiles_in_milliseconds():
    at = Latency.of([0.001 * i for i in range(101)], [0.002] * 101)
    assert (at.count, at.p50, at.p90, at.p99) == (101, 50.0, 90.0, pytest.approx(99.0))
    assert at.cpu_p50 == at.cpu_p99 == pytest.approx(2.0)


def test_a_policy_at_hand_drives_the_trials_of_the_suite(folder):
    policy = Watched(load_policy(str(folder)))
    results = driven(policy, EvalConfig("mine", 1, ("reach",), seed=3, timeout=0.5))
    assert len(results.trials) == 1 and results.config["policy"] == "mine" and len(policy.asked) >= 1


def test_observations_are_recorded_in_simulation(folder):
    seen = simulated(load_policy(str(folder)), 5, ("reach",))
    assert len(seen) == 5 and all(o.privileged is None and set(o.images) == {"front", "wrist"} for o in seen)
    assert [o for o in chosen(seen, 2)] == [seen[0], seen[-1]]


def test_a_robot_that_is_not_simulated_needs_data(folder):
    policy = load_policy(str(folder))
    assert robot_of(policy) == "arm7"
    object.__setattr__(policy.interface, "embodiment", "spot")
    with pytest.raises(BadValue, match=r"for 'spot', which palmar cannot simulate; it can: .*arm7.*Next: .*--data"):
        robot_of(policy)
