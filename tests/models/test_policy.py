import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from palmar import __version__
from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.acting import NeuralPolicy, drawn_from
from palmar.models.base import check_pictures
from palmar.models.grounded import peak_mass
from palmar.models.presets import palmar_nano, palmar_tiny, preset
from palmar.models.tensors import read_tensors
from palmar.policy import Policy, load_policy
from palmar.types import Observation

NAMES = ("j1.pos", "j1.vel", "tcp.x", "tcp.y", "tcp.z")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
FACE = Interface({"front": (48, 64), "wrist": (32, 32)}, NAMES, ("dx", "dy", "gripper"), horizon=4, embodiment="toy")


def test_a_preset_that_needs_a_state_says_so():
    with pytest.raises(
        BadValue, match=r"have no state, and 'palmar-tiny' needs one. Next: .*act-tiny.*--keys state=FEATURE"
    ):
        palmar_tiny().build(replace(FACE, state_names=()))


def normalizers():
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(50, 3)) * [0.1, 0, 1.0]
    return {"state": Normalizer.fit(rng.normal(size=(50, 5))), "action": Normalizer.fit(actions + 0.25)}


def observation(**changes):
    rng = np.random.default_rng(1)
    images = {c: rng.integers(0, 255, (*s, 3)).astype(np.uint8) for c, s in FACE.cameras.items()}
    given = {
        "images": images,
        "state": rng.normal(size=5).astype(np.float32),
        "instruction": "reach the red cube",
        "time": 3.0,
    }
    return Observation(**(given | changes))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = palmar_nano().build(FACE)
    return checkpoint.save(tmp_path / "run", model.state_dict(), model.config, FACE, normalizers(), {"step": 7})


def test_act_contract(folder):
    policy = load_policy(str(folder))
    assert isinstance(policy, Policy) and isinstance(policy, NeuralPolicy)
    policy.reset()
    chunk = policy.act(observation())
    assert chunk.actions.shape == (4, 3) and chunk.actions.dtype == np.float32 and np.isfinite(chunk.actions).all()
    assert (chunk.dt, chunk.t0) == (0.1, 3.0)
    assert 0 <= chunk.confidence <= 1 and 0 <= chunk.done <= 1
    assert np.allclose(chunk.actions[:, 1], 0.25)  # a dimension that never moved comes back as its constant
    assert ((chunk.actions[:, 2] >= 0) & (chunk.actions[:, 2] <= 1)).all()
    assert chunk.features.dtype == np.float32 and chunk.features.ndim == 1 and np.isfinite(chunk.features).all()
    assert set(chunk.attention) == {"front.target", "front.goal", "wrist.target", "wrist.goal"}
    heat = chunk.attention["front.target"]
    assert heat.shape == (12, 16) and heat.dtype == np.float32 and heat.sum() == pytest.approx(1, abs=1e-4)
    assert np.array_equal(policy.act(observation()).actions, chunk.actions)
    assert policy.info["step"] == 7 and policy.info["palmar"].startswith(__version__)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
def test_what_is_drawn_is_the_observations_and_disturbs_nobody(device):
    torch.manual_seed(0)
    policy = NeuralPolicy(
        preset("diffusion-tiny").build(replace(FACE, offsets=(-1, 0))), *normalizers().values(), device=device
    )
    here, there = observation(), observation(time=4.0)
    torch.manual_seed(5)
    expected = torch.rand(3), torch.rand(3, device=device)
    torch.manual_seed(5)
    first = policy.newest(here).actions
    assert all(torch.equal(torch.rand(3, device=d), e) for d, e in zip(("cpu", device), expected, strict=True))
    assert not np.array_equal(policy.newest(there).actions, first)
    policy.reset()
    assert np.array_equal(policy.newest(here).actions, first)


def test_only_the_generators_in_use_are_seeded_and_all_are_put_back(monkeypatch):
    """A stand-in for two GPUs, the second in use."""
    states = {0: 10, 1: 20}

    class GPUs:
        now = 0

        @staticmethod
        @contextmanager
        def device(index):
            before, GPUs.now = GPUs.now, index
            yield
            GPUs.now = before

        current_device = staticmethod(lambda: GPUs.now)
        get_rng_state = staticmethod(lambda index: states[index])
        set_rng_state = staticmethod(lambda state, index: states.__setitem__(index, state))
        manual_seed = staticmethod(lambda seed: states.__setitem__(GPUs.now, seed))

    def never(*_):
        raise AssertionError("every GPU was seeded")

    monkeypatch.setattr(torch, "get_device_module", lambda kind: GPUs)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", never)
    before = torch.get_rng_state()
    for device, used in (("cuda:1", 1), ("cuda", 0)):
        with drawn_from(7, device):
            assert states == {0: 10, 1: 20} | {used: 7}
            seeded = torch.rand(2)
        assert states == {0: 10, 1: 20} and GPUs.now == 0 and torch.equal(torch.get_rng_state(), before)
        with drawn_from(7, "cpu"):
            assert torch.equal(torch.rand(2), seeded) and states == {0: 10, 1: 20}


def test_velocities_are_not_an_input_unless_asked(folder):
    policy = load_policy(str(folder))
    a, b = observation(), observation()
    b.state[1] += 5
    assert np.array_equal(policy.act(a).actions, policy.act(b).actions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {}}, "camera 'front' is missing"),
        ({"images": {c: np.zeros((96, 96, 3), np.uint8) for c in FACE.cameras}}, "trained on 48×64"),
        ({"state": np.zeros(4, np.float32)}, "state has 4 values; this policy was trained on 5: j1.pos"),
        ({"state": np.array([0, np.nan, 0, 0, 0], np.float32)}, "not finite at j1.vel"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(folder, changes, message):
    with pytest.raises(BadValue, match=message):
        load_policy(str(folder)).act(observation(**changes))


@pytest.mark.parametrize(
    ("unit", "low", "high"),
    [("", -1e9, 1e9), ("opening", 0, 1), ("range_0_100", 0, 100), ("range_m100_100", -100, 100)],
)
def test_an_action_is_clipped_to_the_ends_of_its_unit_whatever_its_name(unit, low, high):
    """The channel is called gripper; 0 … 1 bounds it only where its unit says so."""
    face = replace(FACE, action_units=("", "", unit))
    unit_scale = Normalizer(np.zeros(3), np.full(3, 1.0))
    policy = NeuralPolicy(palmar_nano().build(face), normalizers()["state"], unit_scale)
    with torch.no_grad():
        policy.model.head.out.bias.copy_(torch.tensor([3.0, -3.0, -500.0, *3 * (3.0, -3.0, 500.0)]))
    grip = policy.act(observation()).actions[:, 2]
    assert grip[0] == pytest.approx(max(low, -500), abs=2) and grip[1:] == pytest.approx(min(high, 500), abs=2)
    if unit:
        assert grip.min() >= low and grip.max() <= high


def test_round_trip_is_exact_and_small(tmp_path):
    face = Interface({"front": (96, 96), "wrist": (96, 96)}, tuple(f"s{i}" for i in range(22)), tuple("abcdefg"))
    model = palmar_tiny().build(face)
    count = sum(p.numel() for p in model.parameters())
    assert 500_000 < count < 1_500_000
    norms = {"state": Normalizer.fit(np.random.randn(9, 22)), "action": Normalizer.fit(np.random.randn(9, 7))}
    where = checkpoint.save(tmp_path / "c", model.state_dict(), model.config, face, norms)
    assert sum(f.stat().st_size for f in where.iterdir()) < 8 * 2**20
    back = checkpoint.load(where)
    assert back.interface == face and back.model.config == model.config
    assert all(
        torch.equal(a, b) for a, b in zip(back.model.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert not list(where.glob(".*"))  # no temporary file is left


def test_damage_is_named_with_the_next_step(folder, tmp_path):
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, text = weights.read_bytes(), config.read_text()

    def refused(match):
        with pytest.raises(BadFile, match=match) as e:
            checkpoint.load(folder)
        assert "Next:" in str(e.value)

    weights.write_bytes(whole[: len(whole) // 2])
    refused("model.safetensors' is truncated or damaged")
    weights.write_bytes(b"not a tensor file at all")
    refused("truncated or damaged")
    weights.unlink()
    refused("model.safetensors' is missing")
    weights.write_bytes(whole)
    config.write_text(text[:100])
    refused("config.json' is damaged")
    config.write_text('{"type": "act"}')
    refused("was not written by palmar.*must be converted to palmar's model.safetensors")
    config.write_text(json.dumps(json.loads(text) | {"version": 99}))
    refused("version 99")
    other = json.loads(text)
    other["normalizers"]["state"]["offset"][0] += 1
    config.write_text(json.dumps(other))
    refused("fingerprints differ")
    other = json.loads(text)
    del other["interface"]["state_names"]
    config.write_text(json.dumps(other))
    refused("state_names")
    config.write_text(text)
    tensors, meta = read_tensors(weights)
    tensors["finished.out.bias"] = tensors["finished.out.bias"] * float("nan")
    save_file(tensors, weights, meta)
    refused("NaN or infinity in finished.out.bias")
    config.unlink()
    refused("has no config.json")


def test_other_formats_are_refused(tmp_path):
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(b"\x80\x04")
    with pytest.raises(BadFile, match=r"is a pickle.*Next: palmar convert"):
        checkpoint.load(pickled)
    with pytest.raises(BadFile, match=r"holds model\.pt, a pickle"):
        checkpoint.load(tmp_path)
    with pytest.raises(BadFile, match="no checkpoint at"):
        checkpoint.load(tmp_path / "nowhere")


def test_presets_by_name():
    assert preset("palmar-tiny") == palmar_tiny()
    with pytest.raises(UnknownName, match="Did you mean 'palmar-tiny'"):
        preset("palmar-tinny")


def test_cameras_must_fit_the_stride():
    with pytest.raises(BadValue, match="multiples of 8"):
        check_pictures(Interface({"front": (50, 48)}, NAMES, ("dx",)))
    with pytest.raises(BadValue, match="no cameras"):
        check_pictures(Interface({}, NAMES, ("dx",)))


def test_peak_mass():
    heat = torch.zeros(2, 4, 5)
    heat[0, 1, 2], heat[0, 1, 3], heat[0, 3, 0] = 0.5, 0.3, 0.2
    heat[1, 0, 4], heat[1, 3, 0] = 0.6, 0.4
    assert peak_mass(heat).tolist() == pytest.approx([0.8, 0.6])


def test_a_preset_with_an_ensemble_acts_on_the_mean_of_its_chunks():
    """Also when it is asked every other step only, as chunk recycling does; a reset forgets."""
    torch.manual_seed(0)
    assert preset("act-paper").ensemble == 0.01
    model = replace(preset("act-tiny"), ensemble=0.01).build(FACE)
    policy = NeuralPolicy(model, *normalizers().values())
    first, second = (observation(time=t, state=np.full(5, t, np.float32)) for t in (3.0, 3.2))
    old, new = policy.newest(first), policy.newest(second)
    assert np.array_equal(policy.act(first).actions, old.actions)
    mean = policy.act(second)
    w = np.exp(-0.01)
    np.testing.assert_allclose(mean.actions[:2], (old.actions[2:] + w * new.actions[:2]) / (1 + w), atol=1e-6)
    np.testing.assert_allclose(mean.actions[2:], new.actions[2:], atol=1e-6)
    assert (mean.t0, mean.done) == (new.t0, new.done) and not np.allclose(mean.actions[:2], new.actions[:2])
    policy.reset()
    assert np.array_equal(policy.act(second).actions, new.actions)
