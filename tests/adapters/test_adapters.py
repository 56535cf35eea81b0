"""Published checkpoints and servers behind `load_policy`: their files, their arithmetic, their refusals."""

import contextlib
import json
import os
import subprocess
import sys
import types
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_server import pi_server
from safetensors.torch import save_file
from tiny_words import write_tokenizer

from palmar.adapters import lerobot, lerobot_act, octo, openpi, wire
from palmar.adapters.pretrained import begin_from, like
from palmar.embodiments import Embodiment
from palmar.errors import BadFile, BadValue, MissingPackage, RobotFault, UnknownName
from palmar.mapping import Interface
from palmar.models.base import Inputs
from palmar.models.presets import preset
from palmar.models.published import read_weights
from palmar.pictures import fit as pictures_fit
from palmar.policy import Policy, load_policy
from palmar.robot_parts import Camera, Channel, state_of
from palmar.runtime.fitting import fitted
from palmar.types import Observation

HERE = Path(__file__).parent
CONFORMANCE = HERE.parent / "conformance"


def seen(size=(64, 96), state=5, cameras=("front", "wrist"), instruction="Pick up  the red cube", time=2.0, seed=0):
    rng = np.random.default_rng(seed)
    images = {c: rng.integers(0, 255, (*size, 3), np.uint8) for c in cameras}
    return Observation(images, rng.normal(size=state).astype(np.float32), instruction, time)


# ------------------------------------------------------------------------------------------------ wire

ARRAY = "84c40b5f5f6e6461727261795f5fc3c40464617461c4080000803f00000040c4056474797065a33c6634c40573686170659102"
SCALAR = "83c40d5f5f6e7067656e657269635f5fc3c40464617461cb3ff8000000000000c4056474797065a33c6634"


def test_golden_bytes():
    assert wire.pack(np.array([1, 2], np.float32)).hex() == ARRAY
    assert wire.pack(np.float32(1.5)).hex() == SCALAR
    array, scalar = wire.unpack(bytes.fromhex(ARRAY)), wire.unpack(bytes.fromhex(SCALAR))
    assert array.dtype == np.float32 and array.tolist() == [1.0, 2.0] and not array.flags.writeable
    assert type(scalar) is np.float32 and scalar == np.float32(1.5)


dtypes = st.sampled_from(["<f4", "<f8", "|u1", "<i8", "|b1", ">i2", "<f2"])
shapes = st.lists(st.integers(0, 4), max_size=4)


@settings(max_examples=60, deadline=None)
@given(dtypes, shapes, st.text(max_size=8), st.integers(-(2**40), 2**40))
def test_everything_comes_back(dtype, shape, text, number):
    array = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape).astype(dtype)
    value = {"a": array, "b": [text, number, None, True, 0.25, {"deep": array[..., None]}], "raw": b"\x00\xff"}
    back = wire.unpack(wire.pack(value))
    np.testing.assert_array_equal(back["a"], array)
    assert back["a"].dtype == array.dtype and back["a"].shape == array.shape
    np.testing.assert_array_equal(back["b"][5]["deep"], array[..., None])
    assert back["b"][:5] == value["b"][:5] and back["raw"] == value["raw"]


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 45), st.integers(0, 255))
def test_damage_is_a_clear_error_and_nothing_else(noise, at, byte):
    good = bytearray(wire.pack({"actions": np.zeros((2, 3), np.float32)}))
    good[at % len(good)] = byte
    for data in (noise, bytes(good), bytes(good[:at])):
        with contextlib.suppress(BadValue):
            wire.unpack(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"dtype": "|O"}, "dtype is '|O'"),
        ({b"dtype": "V8"}, "dtype is 'V8'"),
        ({b"dtype": "<c8"}, "dtype is '<c8'"),
        ({b"dtype": "nonsense"}, "dtype is"),
        ({b"dtype": None}, "dtype is None"),
        ({b"dtype": ","}, "dtype is ','"),  # numpy would hand these to Python's parser
        ({b"dtype": "(2,"}, r"dtype is '\(2,'"),
        ({b"shape": [3]}, "expected as many"),
        ({b"shape": [-1]}, "expected as many"),
        ({b"shape": [2**40, 2**40]}, "expected as many"),
        ({b"shape": [1] * 9}, "expected as many"),
        ({b"data": "text"}, "expected as many"),
    ],
)
def test_an_array_must_be_what_it_says(change, message):
    import msgpack

    value = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]} | change
    with pytest.raises(BadValue, match=message.replace("|", r"\|")):
        wire.unpack(msgpack.packb(value))


@settings(max_examples=200, deadline=None)
@given(st.text("<>|=?,()[]{}0123456789abcdefghilmuOSUV ", max_size=9), st.sampled_from([300, -1, 2**63, 1e300, True]))
def test_any_name_of_a_dtype_and_any_number_is_read_or_refused(name, number):
    import msgpack

    generic = {b"__npgeneric__": True, b"data": number, b"dtype": name}
    array = {b"__ndarray__": True, b"data": bytes(8), b"dtype": name, b"shape": [2]}
    for value in (generic, array):
        with contextlib.suppress(BadValue):
            wire.unpack(msgpack.packb(value))


def test_objects_are_not_sent():
    for value in (np.array([object()]), np.array([1j]), {"x": object()}, np.array([b"a"])):
        with pytest.raises(BadValue, match="cannot be sent"):
            wire.pack(value)


# ------------------------------------------------------------------------------------------------ openpi


def arm(seed=0):
    """What a policy of LIBERO sees."""
    return seen((224, 224), 8, ("image", "wrist_image"), seed=seed)


def test_a_remote_policy_acts(monkeypatch):
    asked = []

    def answer(observation):
        asked.append(observation)
        actions = np.full((10, 7), len(asked), np.float64)
        return {"actions": actions, "state": observation["observation/state"], "server_timing": {"infer_ms": 3.0}}

    monkeypatch.setenv(openpi.KEY, "secret")
    with pi_server(answer, {"model": "pi0"}) as (address, headers):
        policy = load_policy("openpi:" + address)
        assert isinstance(policy, Policy) and policy.metadata == {"model": "pi0"} and headers == ["Api-Key secret"]
        obs = arm()
        for i in (1, 2):
            chunk = policy.act(obs, np.zeros((2, 7), np.float32))
            assert chunk.actions.dtype == np.float32 and (chunk.actions == i).all() and chunk.actions.shape == (10, 7)
            assert chunk.t0 == 2.0 and chunk.dt == 1 / 20
        policy.reset()
        assert policy.timing == {"server_timing": {"infer_ms": 3.0}}
        with urllib.request.urlopen(f"http:{address}/healthz") as reply:
            assert reply.read() == b"OK\n"
        policy.close()
    assert asked[0].keys() == {"observation/image", "observation/wrist_image", "observation/state", "prompt"}
    np.testing.assert_array_equal(asked[0]["observation/wrist_image"], obs.images["wrist_image"])
    assert asked[0]["observation/state"].tolist() == obs.state.tolist() and asked[0]["prompt"] == obs.instruction


def test_another_robot_has_other_names():
    asked = []
    with pi_server(lambda o: asked.append(o) or {"actions": np.zeros((1, 8), np.float32)}) as (address, _):
        policy = load_policy("openpi:" + address, env="droid", horizon=1)
        front, wrist = policy.interface.cameras
        obs = seen((224, 224), 8, (front, wrist))
        assert policy.act(obs).dt == 1 / 15
        np.testing.assert_array_equal(asked[0]["observation/" + front], obs.images[front])
        assert len(asked[0]["observation/joint_position"]) == 7 and len(asked[0]["observation/gripper_position"]) == 1
        with pytest.raises(BadValue, match="state has 5 values; this policy was trained on 8: joint_position0"):
            policy.act(seen((224, 224), 5, (front, wrist)))
        with pytest.raises(BadValue, match=rf"camera '{wrist}' is missing.*given: {front}"):
            policy.act(seen((224, 224), 8, (front,)))
        with pytest.raises(BadValue, match=rf"camera '{front}' gives 64×96 px; this policy was trained on 224×224"):
            policy.act(seen((64, 96), 8, (front, wrist)))
        policy.close()
        interface = Interface({"front": (64, 96)}, ("a", "b", "c"), tuple("stuvwxyz"), 1, 0.1)
        env = openpi.Environment(interface, {"front": "cam"}, {"joints": 2, "hand": 1})
        policy = load_policy("openpi:ws:" + address, env=env)
        obs = seen(state=3, cameras=("front",))
        assert policy.act(obs).dt == 0.1 and asked[-1].keys() == {"cam", "joints", "hand", "prompt"}
        assert asked[-1]["joints"].tolist() == obs.state[:2].tolist() and asked[-1]["hand"].tolist() == [obs.state[2]]
        policy.close()
    with pytest.raises(BadValue, match="images are of top; the interface has front"):
        openpi.Environment(interface, {"top": "cam"}, {"joints": 3})
    with pytest.raises(BadValue, match="state takes 2 values; the interface has 3"):
        openpi.Environment(interface, {"front": "cam"}, {"joints": 2})
    with pytest.raises(UnknownName, match="openpi environment 'liberо'"):
        load_policy("openpi://127.0.0.1:1", env="liberо")


def test_a_server_that_fails_is_named_and_tried_again():
    replies = iter(
        [
            ValueError("shape mismatch"),
            {"state": 1},
            b"\xc1",
            {"actions": np.zeros(3)},
            {"actions": np.ones((10, 2))},
            {"actions": np.ones((9, 7))},
            {"actions": np.ones((50, 7))},
        ]
    )
    with pi_server(lambda o: next(replies)) as (address, headers):
        policy = load_policy("openpi:" + address)
        for message in (
            "reports: ValueError: shape mismatch",
            "are a NoneType",
            "no msgpack",
            r"array \[3\]",
            r"shape \[10, 2\]; expected \[10 or more, 7\]",
            r"shape \[9, 7\]",
        ):
            with pytest.raises(RobotFault, match=rf"policy server ws:{address} .*{message}.*Next:"):
                policy.act(arm())
        assert policy.act(arm()).actions.shape == (10, 7)  # the horizon of the 50 it sends
        assert len(headers) == 7  # a new connection after every failure
        policy.close()


def test_no_server_and_no_openpi_server():
    with pytest.raises(RobotFault, match=r"no policy server at ws://127.0.0.1:9 .*Next: start it"):
        load_policy("openpi://127.0.0.1:9", wait=0.1, timeout=2.0)
    for first, message in (("go away", "reports: go away"), (b"\xc1", "is no openpi server")):
        with pi_server(lambda o: None, first) as (address, _), pytest.raises(RobotFault, match=message):
            load_policy("openpi:" + address)


def test_a_slow_answer_is_not_waited_for():
    import time

    with pi_server(lambda o: time.sleep(1.0) or {"actions": np.ones((1, 2))}) as (address, _):
        policy = load_policy("openpi:" + address, timeout=0.2)
        with pytest.raises(RobotFault, match=r"no answer in 0\.2 s"):
            policy.act(arm())


def test_the_client_needs_no_torch():
    code = (
        "import sys\nfor n in ('torch', 'transformers', 'mujoco'): sys.modules[n] = None\nimport palmar.adapters.openpi"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


# ------------------------------------------------------------------------------------------------ lerobot

FEATURES = {
    "observation.state": {"type": "STATE", "shape": [5]},
    "observation.images.front": {"type": "VISUAL", "shape": [3, 64, 96]},
    "observation.images.wrist": {"type": "VISUAL", "shape": [3, 64, 96]},
    "action": {"type": "ACTION", "shape": [4]},
}
ACT = {
    "type": "act", "n_obs_steps": 1, "chunk_size": 6, "n_action_steps": 6, "vision_backbone": "resnet18",
    "pretrained_backbone_weights": None, "replace_final_stride_with_dilation": False, "pre_norm": False, "dim_model": 16,
    "n_heads": 2, "dim_feedforward": 24, "feedforward_activation": "relu", "n_encoder_layers": 1, "n_decoder_layers": 1,
    "use_vae": True, "latent_dim": 4, "n_vae_encoder_layers": 1, "temporal_ensemble_coeff": None, "device": "cpu",
    "input_features": {k: v for k, v in FEATURES.items() if k != "action"}, "output_features": {"action": FEATURES["action"]},
}  # fmt: skip


def scaling(name, mode):
    modes = {"VISUAL": "MEAN_STD", "STATE": mode, "ACTION": mode}
    config = {"eps": 1e-8, "features": FEATURES, "norm_map": modes}
    return {"registry_name": name, "config": config, "state_file": f"policy_{name}.safetensors"}


def act_checkpoint(folder: Path, mode: str = "MEAN_STD", rename: dict | None = None) -> dict[str, torch.Tensor]:
    """A random ACT as LeRobot 0.4 lays it out; its statistics."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    (folder / "config.json").write_text(json.dumps(ACT))
    model = lerobot_act.Act(lerobot_act.ActShape.of(ACT))
    weights = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    weights["model.vae_encoder_cls_embed.weight"] = torch.randn(1, 16)
    save_file(weights, folder / "model.safetensors")
    stats = {}
    for feature, spec in FEATURES.items():
        shape = (3, 1, 1) if spec["type"] == "VISUAL" else tuple(spec["shape"])
        low, span = torch.randn(shape), torch.rand(shape) + 0.5
        values = {"min": low, "max": low + span, "mean": low + span / 2, "std": span / 3, "q01": low, "q99": low + span}
        stats |= {f"{feature}.{k}": v.clone() for k, v in values.items()}
    steps = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": rename or {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        {"registry_name": "device_processor", "config": {"device": "cuda", "float_dtype": None}},
        scaling("normalizer_processor", mode),
    ]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"name": "policy_preprocessor", "steps": steps}))
    steps = [
        scaling("unnormalizer_processor", mode),
        {"registry_name": "device_processor", "config": {"device": "cpu"}},
    ]
    (folder / "policy_postprocessor.json").write_text(json.dumps({"name": "policy_postprocessor", "steps": steps}))
    for name in ("normalizer_processor", "unnormalizer_processor"):
        save_file(stats, folder / f"policy_{name}.safetensors")
    return stats


@pytest.mark.parametrize("mode", ["MEAN_STD", "MIN_MAX", "IDENTITY"])
def test_act_normalises_runs_and_scales_back(tmp_path, mode):
    stats = act_checkpoint(tmp_path / "pretrained_model", mode)
    policy = load_policy(f"lerobot:{tmp_path}", rate=50.0)  # the folder above, as lerobot's training leaves it
    obs = seen()
    chunk = policy.act(obs)
    assert isinstance(policy, Policy) and chunk.actions.shape == (6, 4) and chunk.dt == 1 / 50 and chunk.t0 == 2.0
    assert policy.interface == Interface(
        {"front": (64, 96), "wrist": (64, 96)}, ("state0", "state1", "state2", "state3", "state4"),
        ("action0", "action1", "action2", "action3"), 6, 1 / 50,
    )  # fmt: skip

    given = {"observation.state": torch.from_numpy(obs.state)[None]}
    if mode == "MEAN_STD":
        given["observation.state"] = (given["observation.state"] - stats["observation.state.mean"]) / (
            stats["observation.state.std"] + 1e-8
        )
    if mode == "MIN_MAX":
        low, high = stats["observation.state.min"], stats["observation.state.max"]
        given["observation.state"] = 2 * (given["observation.state"] - low) / (high - low) - 1
    for camera in ("front", "wrist"):
        name = f"observation.images.{camera}"
        picture = torch.from_numpy(obs.images[camera]).permute(2, 0, 1)[None] / 255
        given[name] = (picture - stats[name + ".mean"]) / (stats[name + ".std"] + 1e-8)
    with torch.no_grad():
        out = policy.engine.model(given)[0]
    if mode == "MEAN_STD":
        out = out * stats["action.std"] + stats["action.mean"]
    if mode == "MIN_MAX":
        out = (out + 1) / 2 * (stats["action.max"] - stats["action.min"]) + stats["action.min"]
    np.testing.assert_allclose(chunk.actions, out.numpy(), atol=1e-5)
    other = policy.act(seen(seed=1)).actions
    assert np.abs(other - chunk.actions).max() > 1e-4  # it looks


def test_a_mapping_joins_generic_names_to_a_robot(tmp_path):
    """Names, order, units and picture sizes of a robot that the checkpoint knows nothing of."""
    act_checkpoint(tmp_path, rename={"observation.images.top": "observation.images.front"})
    policy = load_policy(f"lerobot:{tmp_path}", rate=10.0)
    assert list(policy.interface.cameras) == ["top", "wrist"]  # as its data set called them
    policy.interface = replace(policy.interface, action_units=("deg", "deg", "deg", "range_0_100"))  # a person says so
    channels = (
        Channel("grip", "opening", "opening", 0.0, 1.0, velocity=4.0), *(Channel(n, "revolute", "rad", -3, 3, velocity=2.0)
        for n in ("pan", "lift", "elbow")), Channel("lamp", "opening", "opening", 0.0, 1.0, velocity=4.0),
    )  # fmt: skip
    body = Embodiment(
        "mine", channels, cameras=(Camera("scene", 128, 192), Camera("wrist", 64, 96)),
        state=state_of(channels, velocities=False), policy_rate=10.0,
    )  # fmt: skip
    state = {f"state{i}": f"{n}.pos" for i, n in enumerate(("pan", "lift", "elbow", "grip", "lamp"))}
    action = {f"action{i}": n for i, n in enumerate(("pan", "lift", "elbow", "grip"))}
    fit = fitted(policy, body, state | action, {"top": "scene"}, {"lamp": 0.5})
    obs = replace(
        seen(size=(64, 96)), images={"scene": seen((128, 192)).images["front"], "wrist": seen().images["wrist"]}
    )
    chunk = fit.policy.act(obs)
    order = [body.state_names.index(f"{n}.pos") for n in ("pan", "lift", "elbow", "grip", "lamp")]
    images = {"top": pictures_fit(obs.images["scene"], 64, 96, "stretch"), "wrist": obs.images["wrist"]}
    inner = policy.act(replace(obs, images=images, state=obs.state[order]))
    np.testing.assert_allclose(chunk.actions[:, 1:4], np.radians(inner.actions[:, :3]), rtol=1e-5)
    np.testing.assert_allclose(chunk.actions[:, 0], inner.actions[:, 3] / 100, rtol=1e-5)
    assert (chunk.actions[:, 4] == 0.5).all()
    with pytest.raises(BadValue, match=r"camera 'top' is missing .there are: scene, wrist"):
        fitted(policy, body, state | action, {}, {"lamp": 0.5})
    with pytest.raises(BadValue, match="action channel 'action3' is missing"):
        fitted(
            policy, body, state | {k: v for k, v in action.items() if k != "action3"}, {"top": "scene"}, {"lamp": 0.5}
        )
    with pytest.raises(BadValue, match="nobody commands action 'lamp'"):
        fitted(policy, body, state | action, {"top": "scene"})


@pytest.mark.parametrize(
    ("config", "horizon"),
    [
        ({"n_obs_steps": 1, "chunk_size": 50, "n_action_steps": 10}, 50),
        ({"n_obs_steps": 2, "horizon": 16, "n_action_steps": 8}, 8),
        ({"n_obs_steps": 5, "action_chunk_size": 5}, 5),
        ({"n_obs_steps": 1, "horizon": 5, "n_action_steps": 1}, 1),
    ],
)
def test_how_many_actions_a_lerobot_policy_answers(config, horizon):
    assert lerobot.horizon_of(config) == horizon


def test_inputs_that_no_robot_gives_are_refused_by_name(tmp_path):
    wants = dict(ACT["input_features"])
    wants["observation.images.empty_camera_0"] = {"type": "VISUAL", "shape": [3, 64, 96]}
    interface = lerobot.interface_of(ACT | {"input_features": wants}, {}, 0.1, tmp_path)
    assert list(interface.cameras) == ["front", "wrist"]
    for name in ("observation.environment_state", "observation.tactile"):
        with pytest.raises(BadFile, match=f"looks at {name}, which no robot gives"):
            lerobot.interface_of(
                ACT | {"input_features": wants | {name: {"type": "ENV", "shape": [2]}}}, {}, 0.1, tmp_path
            )
    with pytest.raises(BadFile, match="output_features lack or misspell 'action'"):
        lerobot.interface_of(ACT | {"output_features": {}}, {}, 0.1, tmp_path)


def test_what_does_not_fit_act_is_named(tmp_path):
    act_checkpoint(tmp_path)
    policy = load_policy(f"lerobot:{tmp_path}")
    with pytest.raises(BadValue, match=r"camera 'wrist' is missing .*given: front"):
        policy.act(seen(cameras=("front",)))
    with pytest.raises(BadValue, match="32×96 px; this policy was trained on 64×96"):
        policy.act(seen(size=(32, 96)))
    with pytest.raises(BadValue, match="state has 4 values; this policy was trained on 5"):
        policy.act(seen(state=4))


def test_damaged_lerobot_checkpoints(tmp_path):
    stats = act_checkpoint(tmp_path)
    pre = tmp_path / "policy_preprocessor.json"
    whole = pre.read_text()

    def refused(match, error=BadFile):
        with pytest.raises(error, match=match):
            load_policy(f"lerobot:{tmp_path}")

    odd = json.loads(whole)
    odd["steps"].insert(0, {"registry_name": "secret_sauce_processor", "config": {}})
    pre.write_text(json.dumps(odd))
    refused("step 'secret_sauce_processor'")
    odd["steps"] = odd["steps"][1:3]
    pre.write_text(json.dumps(odd))
    refused("no normalizer_processor: the policy would see un-normalised")
    pre.unlink()
    refused("older than LeRobot 0.4.*migrate_policy_normalization")
    pre.write_text(whole.replace('"policy_normalizer_processor.safetensors"', '"../x.safetensors"'))
    refused("is outside")
    pre.write_text(whole)
    save_file({k: v for k, v in stats.items() if "std" not in k}, tmp_path / "policy_normalizer_processor.safetensors")
    refused("is scaled by MEAN_STD, which needs mean, std")
    act_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(ACT | {"dim_model": 32}))
    refused("does not fit its config.json")
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in ACT.items() if k != "chunk_size"}))
    refused("lacks or misspells 'chunk_size'")
    (tmp_path / "config.json").write_text(json.dumps(ACT | {"type": "smolvla"}))
    if not lerobot_is_here():
        refused(r"a LeRobot 'smolvla' policy.*needs the package 'lerobot'.*Next: pip install lerobot", MissingPackage)
    (tmp_path / "config.json").write_text("[]")
    refused("holds a list")


def lerobot_is_here() -> bool:
    import importlib.util

    return importlib.util.find_spec("lerobot") is not None


def test_pickles_are_refused_with_the_way_out(tmp_path):
    for kind in ("lerobot", "openvla"):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
        for where in (folder, folder / "pytorch_model.bin"):
            with pytest.raises(BadFile, match=r"is a pickle.*Next: palmar convert"):
                load_policy(f"{kind}:{where}")
        with pytest.raises(BadFile, match=r"Next: download the repository"):
            load_policy(f"{kind}:{tmp_path / 'nowhere'}")


def test_kinds_of_policies():
    with pytest.raises(UnknownName, match=r"kind of policy 'lerobt'.*Did you mean 'lerobot'"):
        load_policy("lerobt:somewhere")
    with pytest.raises(BadFile, match="no checkpoint at"):
        load_policy("some/where")


def lerobot_venv() -> Path | None:
    venv = Path(os.environ.get("PALMAR_LEROBOT_VENV", HERE.parents[1] / ".venv-lerobot"))
    return venv if (venv / "bin/python").exists() else None


@pytest.mark.slow
@pytest.mark.skipif(lerobot_venv() is None, reason="needs the environment that tests/conformance/run.sh makes")
def test_lerobot_says_the_same(tmp_path):
    """ACT in our code against lerobot's own, two shapes of it, and diffusion through our adapter, run over there."""
    env = os.environ | {
        "PYTHONPATH": str(HERE.parents[1] / "src"),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
    }

    def over_there(*what):
        command = [str(lerobot_venv() / "bin/python"), str(CONFORMANCE / "lerobot_policies.py"), *what]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr[-3000:]

    over_there("make", str(tmp_path))
    rng = np.random.default_rng(5)
    frames = [
        (rng.integers(0, 255, (64, 96, 3), np.uint8), rng.integers(0, 255, (64, 96, 3), np.uint8),
         rng.normal(size=5).astype(np.float32)) for _ in range(3)
    ]  # fmt: skip
    for name in ("act", "act-other"):
        policy, expected = load_policy(f"lerobot:{tmp_path / name}"), np.load(tmp_path / f"{name}.npy")
        for (front, wrist, state), chunk in zip(frames, expected, strict=True):
            said = policy.act(Observation({"front": front, "wrist": wrist}, state, "go"))
            np.testing.assert_allclose(said.actions, chunk, atol=2e-5, rtol=1e-4)
    over_there("diffusion", str(tmp_path))


# ------------------------------------------------------------------------------------------------ openvla

D, S, LLM, WORDS = 32, 48, 32, ["<s>", "</s>", "<unk>", "In", ":", "What", "action", "should", "the", "robot", "take", "to",
                                "pick", "up", "red", "cube", "?", "Out"]  # fmt: skip
TEXT = {"model_type": "llama", "hidden_size": LLM, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 64 + 256 + 64}  # fmt: skip


def timm_vit(width: int, layers: int, dino: bool) -> dict[str, torch.Tensor]:
    """Random tensors named as timm's vision transformers for 56 px in patches of 14, gamma as OpenVLA renames it."""
    hidden = 2 * width
    patches = torch.randn(width, 3, 14, 14) / 25
    out = {"pos_embed": torch.randn(1, 16, width), "patch_embed.proj.weight": patches}
    out |= {
        "patch_embed.proj.bias": torch.randn(width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    if dino:
        out |= {"cls_token": torch.randn(1, 1, width), "reg_token": torch.randn(1, 4, width)}
    maps = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (hidden, width),
        "mlp.fc2": (width, hidden),
    }
    for i in range(layers):
        shapes = {f"{k}.weight": v for k, v in maps.items()} | {f"{k}.bias": v[:1] for k, v in maps.items()}
        shapes |= {f"norm{n}.{what}": (width,) for n in (1, 2) for what in ("weight", "bias")}
        if dino:
            shapes |= {"ls1.scale_factor": (width,), "ls2.scale_factor": (width,)}
        out |= {f"blocks.{i}.{k}": torch.randn(s) * (0.5 if len(s) == 1 else 0.2) for k, s in shapes.items()}
    return out


def timm_forward(w: dict[str, torch.Tensor], x: torch.Tensor, layers: int) -> torch.Tensor:
    """What timm computes: the patches after the second-to-last layer, 16 heads, exact GELU."""
    h = (
        F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=14).flatten(2).transpose(1, 2)
        + w["pos_embed"]
    )
    if "cls_token" in w:
        h = torch.cat([w["cls_token"].expand(len(h), -1, -1), w["reg_token"].expand(len(h), -1, -1), h], 1)
    width = h.shape[-1]
    for i in range(layers - 1):
        b = {k.removeprefix(f"blocks.{i}."): v for k, v in w.items() if k.startswith(f"blocks.{i}.")}
        y = F.layer_norm(h, (width,), b["norm1.weight"], b["norm1.bias"], 1e-6)
        q, k, v = (
            F.linear(y, b["attn.qkv.weight"], b["attn.qkv.bias"]).unflatten(-1, (3, 16, -1)).permute(2, 0, 3, 1, 4)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + F.linear(y, b["attn.proj.weight"], b["attn.proj.bias"]) * b.get("ls1.scale_factor", torch.ones(()))
        y = F.layer_norm(h, (width,), b["norm2.weight"], b["norm2.bias"], 1e-6)
        y = F.linear(
            F.gelu(F.linear(y, b["mlp.fc1.weight"], b["mlp.fc1.bias"])), b["mlp.fc2.weight"], b["mlp.fc2.bias"]
        )
        h = h + y * b.get("ls2.scale_factor", torch.ones(()))
    return h[:, -16:]


@pytest.fixture(scope="module")
def openvla_files(tmp_path_factory):
    """(folder, its tensors, its language model): random weights in the published layout, in two shards."""
    import transformers as hf

    folder = tmp_path_factory.mktemp("openvla")
    torch.manual_seed(1)
    llama = hf.LlamaForCausalLM(hf.LlamaConfig(**{k: v for k, v in TEXT.items() if k != "model_type"})).eval()
    torch.nn.init.normal_(llama.lm_head.weight, std=1.0)
    dino, siglip = timm_vit(D, 3, True), timm_vit(S, 2, False)
    vision = D + S
    projector = {"fc1.weight": (4 * vision, vision), "fc1.bias": (4 * vision,), "fc2.weight": (LLM, 4 * vision), "fc2.bias": (LLM,),
                 "fc3.weight": (LLM, LLM), "fc3.bias": (LLM,)}  # fmt: skip
    tensors = {f"vision_backbone.featurizer.{k}": v for k, v in dino.items()}
    tensors |= {f"vision_backbone.fused_featurizer.{k}": v for k, v in siglip.items()}
    tensors |= {f"projector.{k}": torch.randn(s) * 0.1 for k, s in projector.items()}
    tensors |= {f"language_model.{k}": v.clone() for k, v in llama.state_dict().items()}
    names = sorted(tensors)
    shards = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for shard, held in shards.items():
        save_file({n: tensors[n].contiguous() for n in held}, folder / shard)
    index = {"metadata": {}, "weight_map": {n: shard for shard, held in shards.items() for n in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    stats = {"q01": [-1.0] * 6 + [0.0], "q99": [2.0] * 6 + [1.0], "mask": [True] * 6 + [False]}
    config = {
        "model_type": "openvla", "architectures": ["OpenVLAForActionPrediction"], "text_config": TEXT,
        "image_sizes": [56, 56], "timm_override_act_layers": [None, None],
        "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
        "use_fused_vision_backbone": True, "n_action_bins": 256, "pad_to_multiple_of": 64,
        "norm_stats": {"bridge_orig": {"action": stats}, "other": {"action": stats}},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    means, stds = [[0.485, 0.456, 0.406], [0.5] * 3], [[0.229, 0.224, 0.225], [0.5] * 3]
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_resize_strategy": "resize-naive", "means": means, "stds": stds})
    )
    assert write_tokenizer(folder, WORDS[3:]) == WORDS
    return folder, tensors, llama


def test_openvla_runs_as_published(openvla_files):
    folder, tensors, llama = openvla_files
    policy = load_policy(f"openvla:{folder}", dataset="bridge_orig")
    assert policy.interface == Interface(
        {"image": (56, 56)}, (), ("dx", "dy", "dz", "drx", "dry", "drz", "gripper"), 1, 1 / 5,
        action_units=("m", "m", "m", "rad", "rad", "rad", "opening"),
    )  # fmt: skip
    obs = seen(size=(56, 56), state=0, cameras=("image",))
    chunk = policy.act(obs)
    assert chunk.actions.shape == (1, 7) and chunk.dt == 1 / 5 and 0 < chunk.confidence <= 1 and chunk.done is None
    with pytest.raises(BadValue, match=r"camera 'image' is missing .given: front, wrist"):
        policy.act(seen(size=(56, 56), state=0))

    part = {p: {k.removeprefix(p): v for k, v in tensors.items() if k.startswith(p)} for p in
            ("vision_backbone.featurizer.", "vision_backbone.fused_featurizer.", "projector.")}  # fmt: skip
    colours = torch.from_numpy(obs.images["image"]).permute(2, 0, 1)[None] / 255
    dino = (colours - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        seen_by = [timm_forward(part["vision_backbone.featurizer."], dino, 3),
                   timm_forward(part["vision_backbone.fused_featurizer."], (colours - 0.5) / 0.5, 2)]  # fmt: skip
        x, p = torch.cat(seen_by, -1), part["projector."]
        for i in (1, 2, 3):
            x = F.linear(F.gelu(x) if i > 1 else x, p[f"fc{i}.weight"], p[f"fc{i}.bias"])
        asked = "In : What action should the robot take to pick up the red cube ? Out :"
        ids, said = [WORDS.index(w) for w in asked.split()], []
        embed = llama.model.embed_tokens
        for _ in range(7):
            start, rest = embed(torch.tensor([[0]])), embed(torch.tensor([ids + said]))
            logits = llama(inputs_embeds=torch.cat([start, x, rest], 1)).logits[0, -1, 64:320]
            said.append(64 + int(logits.argmax()))
    bins = np.clip(320 - np.array(said) - 1, 0, 254)
    edges = np.linspace(-1, 1, 256)
    normal = ((edges[:-1] + edges[1:]) / 2)[bins]
    expected = np.where([True] * 6 + [False], 0.5 * (normal + 1) * 3 - 1, normal)
    assert len(set(said)) > 2  # a constant answer would prove little
    np.testing.assert_allclose(chunk.actions[0], expected, atol=1e-5)


def test_openvla_wants_to_know_whose_statistics(openvla_files):
    folder, _, _ = openvla_files
    with pytest.raises(BadValue, match="statistics of 2 data sets; name one as dataset=: bridge_orig, other"):
        load_policy(f"openvla:{folder}")
    with pytest.raises(UnknownName, match=r"data set 'bridge'.*Did you mean 'bridge_orig'"):
        load_policy(f"openvla:{folder}", dataset="bridge")
    other = load_policy(f"openvla:{folder}", dataset="other").interface
    assert other.action_names[0] == "dx" and other.action_units == ()  # nobody has said what its numbers are
    with pytest.raises(UnknownName, match="dtype 'int8'"):
        load_policy(f"openvla:{folder}", dataset="other", dtype="int8")


def test_openvla_that_is_incomplete(openvla_files, tmp_path):
    import shutil

    folder, _, _ = openvla_files
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    last = copy / "model-00002-of-00002.safetensors"
    held = read_weights(copy)
    save_file({k: v for k, v in held.items() if k > "q" and "fc1.bias" not in k}, last)
    with pytest.raises(BadFile, match=r"does not fit its config.json|has no tensor"):
        load_policy(f"openvla:{copy}", dataset="other")
    last.unlink()
    with pytest.raises(BadFile, match=r"model-00002-of-00002.safetensors' is missing"):
        load_policy(f"openvla:{copy}", dataset="other")
    (copy / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/x"}}')
    with pytest.raises(BadFile, match="no weight_map of file names"):
        load_policy(f"openvla:{copy}", dataset="other")
    (copy / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(BadFile, match="is a 'llava'; expected an OpenVLA"):
        load_policy(f"openvla:{copy}")


# ------------------------------------------------------------------------------------------------ octo


class StandInOcto:
    """In the place of `octo.model.octo_model.OctoModel`, which needs JAX: keeps what it is given."""

    def __init__(self, where: str) -> None:
        shapes = {"image_primary": (1, 2, 32, 32, 3), "image_wrist": (1, 2, 16, 16, 3)}
        self.where, self.calls = where, []
        self.example_batch = {"observation": {k: np.zeros(s, np.uint8) for k, s in shapes.items()}}
        self.example_batch["observation"] |= {"timestep_pad_mask": np.ones((1, 2), bool), "timestep": np.zeros((1, 2), np.int32),
                                              "proprio": np.zeros((1, 2, 5)), "pad_mask_dict": {}}  # fmt: skip

    @classmethod
    def load_pretrained(cls, where: str) -> "StandInOcto":
        return cls(where)

    def create_tasks(self, texts):
        return {"language_instruction": texts}

    def sample_actions(self, observation, task, unnormalization_statistics, rng):
        self.calls.append((observation, task, unnormalization_statistics, rng))
        s = unnormalization_statistics
        return np.where(s["mask"], np.ones((1, 4, 7)) * s["std"] + s["mean"], 1.0)


@pytest.fixture
def octo_files(tmp_path):
    action = {"mean": [0.1] * 7, "std": [2.0] * 7, "mask": [True] * 6 + [False]}
    stats = {
        "bridge_dataset": {"action": action, "proprio": {"mean": [0.5] * 5, "std": [0.5] * 5}},
        "fractal": {"action": action},
    }
    about = {"model": {"heads": {"action": {"kwargs": {"action_horizon": 4, "action_dim": 7}}}}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / "dataset_statistics.json").write_text(json.dumps(stats))
    (tmp_path / "example_batch.msgpack").write_bytes(b"\x80")
    return tmp_path


def test_octo_is_fed_its_window(octo_files, monkeypatch):
    jax = types.ModuleType("jax")
    jax.random = types.SimpleNamespace(PRNGKey=lambda seed: seed, split=lambda key: (key + 1, key))
    modules = {"jax": jax, "octo": types.ModuleType("octo"), "octo.model": types.ModuleType("octo.model")}
    modules["octo.model.octo_model"] = types.ModuleType("octo.model.octo_model")
    modules["octo.model.octo_model"].OctoModel = StandInOcto
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    policy = load_policy(f"octo:{octo_files}", dataset="bridge_dataset", seed=7)
    assert policy.interface == Interface(
        {"primary": (32, 32), "wrist": (16, 16)}, tuple(f"state{i}" for i in range(5)),
        ("dx", "dy", "dz", "drx", "dry", "drz", "gripper"), 4, 1 / 5, offsets=(-1, 0),
        action_units=("m", "m", "m", "rad", "rad", "rad", "opening"),
    )  # fmt: skip
    first, second = (
        replace(seen(seed=s), images={"primary": seen((32, 32), seed=s).images["front"],
                                      "wrist": seen((16, 16), seed=s).images["wrist"]}) for s in (1, 2)
    )  # fmt: skip
    chunk = policy.act(first)
    assert chunk.actions.shape == (4, 7) and chunk.dt == 1 / 5
    np.testing.assert_allclose(chunk.actions[0], [2.1] * 6 + [1.0], atol=1e-6)
    policy.act(second)
    (one, task, _, key), (two, _, _, other) = policy.model.calls
    assert task == {"language_instruction": [first.instruction]} and (key, other) == (7, 8)
    assert one["image_primary"].shape == (1, 2, 32, 32, 3) and one["image_wrist"].shape == (1, 2, 16, 16, 3)
    assert one["timestep_pad_mask"].tolist() == [[False, True]] and two["timestep_pad_mask"].tolist() == [[True, True]]
    np.testing.assert_array_equal(two["image_primary"][0, 0], one["image_primary"][0, 1])
    np.testing.assert_allclose(two["proprio"][0, 1], (second.state - 0.5) / 0.5, atol=1e-5)
    policy.reset()
    policy.act(second)
    assert policy.model.calls[2][0]["timestep_pad_mask"].tolist() == [[False, True]]
    with pytest.raises(BadValue, match="camera 'primary' is missing"):
        policy.act(seen(cameras=("wrist",)))
    with pytest.raises(BadValue, match="state has 3 values; this policy was trained on 5"):
        policy.act(replace(first, state=first.state[:3]))


def test_octo_checkpoints_that_are_not_whole(octo_files):
    with pytest.raises(BadValue, match="2 data sets; name one as dataset=: bridge_dataset, fractal"):
        load_policy(f"octo:{octo_files}")
    with pytest.raises(UnknownName, match=r"data set 'fractall'.*Did you mean 'fractal'"):
        load_policy(f"octo:{octo_files}", dataset="fractall")
    try:
        import octo as installed  # noqa: F401
    except ImportError:
        with pytest.raises(MissingPackage, match=r"needs octo and jax.*Next: pip install"):
            load_policy(f"octo:{octo_files}", dataset="fractal")
    (octo_files / "example_batch.msgpack").unlink()
    with pytest.raises(BadFile, match=r"has no example_batch\.msgpack"):
        load_policy(f"octo:{octo_files}")
    with pytest.raises(BadFile, match="no Octo checkpoint at"):
        load_policy("octo:nowhere")
    (octo_files / "example_batch.msgpack").write_bytes(b"\x80")
    (octo_files / "config.json").write_text("{}")
    with pytest.raises(
        BadFile, match=r"lacks or misspells 'model'; expected model\.heads\.action\.kwargs\.action_horizon"
    ):
        load_policy(f"octo:{octo_files}", dataset="fractal")
    older = {"model": {"heads": {"action": {"kwargs": {"pred_horizon": 4}}}}}
    assert octo.horizon_of(older, octo_files) == 4


def test_openvla_is_trained_further(openvla_files):
    """Before the first step it says what the published policy says."""
    folder, _, _ = openvla_files
    config = like(preset("openvla-tiny"), folder)
    assert config.preset == "openvla-tiny" and config.vlm.decoder.tokenizer == str(folder)
    assert config.tokens == preset("openvla-tiny").tokens  # for actions as palmar normalises them
    published = load_policy(f"openvla:{folder}", dataset="other").model
    config = replace(config, tokens=published.config.tokens)
    torch.manual_seed(0)
    model = config.build(published.interface).eval()
    begin_from(model, folder)
    image = {"image": torch.randn(2, 3, 56, 56)}
    inputs = Inputs(
        image, torch.zeros(2, 0), torch.zeros(2, 0, 384), torch.zeros(2, 0).bool(), ("pick up the red cube",) * 2
    )
    with torch.no_grad():
        torch.testing.assert_close(model.act(inputs).actions, published.act(inputs).actions)
    with pytest.raises(BadFile, match="does not fit this model"):
        begin_from(preset("openvla-tiny").build(published.interface), folder)
    with pytest.raises(BadValue, match="is an OpenVLA, asked for 'pi0-tiny'"):
        like(preset("pi0-tiny"), folder)
    with pytest.raises(BadValue, match="OpenVLA checkpoint; a FlowVLA"):
        begin_from(preset("pi0-tiny").build(Interface({"": (224, 224)}, ("a",), ("x",), 4)), folder)


def test_only_systems_on_a_language_model_begin_from_published_weights(tmp_path):
    with pytest.raises(BadValue, match="'act-tiny' stands on no vision-language model"):
        like(preset("act-tiny"), tmp_path)
    with pytest.raises(BadFile, match="no weights at"):
        like(preset("pi0-tiny"), tmp_path / "nowhere")
    write_tokenizer(tmp_path, ["pick"])
    (tmp_path / "config.json").write_text('{"model_type": "siglip_vision_model"}')
    assert like(preset("pi0-tiny"), tmp_path) == preset("pi0-tiny")  # a tower alone has no words
    (tmp_path / "config.json").write_text('{"model_type": "llama", "vocab_size": 4}')
    assert like(preset("pi0-tiny"), tmp_path).vlm.decoder.tokenizer == str(tmp_path)
