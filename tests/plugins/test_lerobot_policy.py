"""`--policy.type=palmar` inside LeRobot: found by its names, trained on its batches, saved, loaded and converted equal."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lerobot_standin import PLUGINS, FeatureType, PolicyFeature, PreTrainedConfig, lerobot_standin
from synthetic import ROBOT, episode

from palmar.data.reader import Dataset
from palmar.data.writer import DatasetWriter
from palmar.errors import BadFile, BadValue, UnknownName
from palmar.models import checkpoint
from palmar.policy import shipped
from palmar.types import Observation

TEXT = "pick up the red cube"


@pytest.fixture(scope="module", autouse=True)
def lerobot() -> Iterator[None]:
    with lerobot_standin():
        yield


@pytest.fixture(scope="module")
def meta(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Of a data set, as LeRobot hands it to a policy."""
    root = tmp_path_factory.mktemp("plugin") / "set"
    with DatasetWriter(root, ROBOT, 10) as writer:
        for seed in range(3):
            writer.add(episode(12, seed=seed, instruction=TEXT))
    made = Dataset(root)
    return SimpleNamespace(
        root=root, fps=10, robot_type="arm7", features=dict(made.info["features"]), stats=made.stats,
        tasks=SimpleNamespace(index=list(made.tasks)),
    )  # fmt: skip


def config_of(meta: SimpleNamespace, **options: Any) -> Any:
    from lerobot_policy_palmar import PalmarConfig

    inputs, outputs = {}, {}
    for key, f in meta.features.items():
        shape = tuple(f["shape"])
        if f["dtype"] == "video":
            inputs[key] = PolicyFeature(FeatureType.VISUAL, (3, *shape[:2]))
        elif key == "observation.state":
            inputs[key] = PolicyFeature(FeatureType.STATE, shape)
        elif key == "action":
            outputs[key] = PolicyFeature(FeatureType.ACTION, shape)
    return PalmarConfig(**({"preset": "palmar-nano", "input_features": inputs, "output_features": outputs} | options))


def policy_of(meta: SimpleNamespace, **options: Any) -> Any:
    from lerobot_policy_palmar.modeling_palmar import PalmarPolicy

    torch.manual_seed(0)
    return PalmarPolicy(config_of(meta, **options), dataset_stats=meta.stats, dataset_meta=meta)


def batch_of(
    meta: SimpleNamespace, rows: tuple[int, ...] = (0, 5, 20), horizon: int = 16, offsets: Any = None
) -> dict[str, Any]:
    """As LeRobot's loader makes it: pictures float[B, 3, H, W] in 0 … 1, numbers in the robot's units."""
    raw = Dataset(meta.root).batch(np.array(rows), horizon, **({"offsets": offsets} if offsets else {}))
    batch: dict[str, Any] = {
        f"observation.images.{c}": torch.from_numpy(x).movedim(-1, -3) / 255 for c, x in raw["images"].items()
    }
    batch["observation.state"] = torch.from_numpy(np.asarray(raw["state"], np.float32))
    batch["action"] = torch.from_numpy(np.asarray(raw["actions"], np.float32))
    batch["action_is_pad"] = torch.from_numpy(np.asarray(raw["pad"]))
    return batch | {"task": [TEXT] * len(rows)}


# ------------------------------------------------------------------------------------------------ found by name


@pytest.mark.parametrize("plugin", PLUGINS)
def test_lerobot_finds_the_distribution_by_its_name(plugin: str) -> None:
    """It walks the installed distributions and imports those whose name begins so, under that same name."""
    folder = Path(__file__).parents[2] / "plugins" / plugin
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == plugin
    assert (folder / "src" / plugin / "__init__.py").is_file()


def test_the_policy_and_its_processors_are_where_lerobot_looks(meta: SimpleNamespace) -> None:
    from importlib import import_module

    import lerobot_policy_palmar  # noqa: F401

    kind = PreTrainedConfig.known["palmar"]
    name = kind.__name__.removesuffix("Config")
    policy = getattr(import_module(kind.__module__.replace("configuration_", "modeling_")), f"{name}Policy")
    assert (policy.config_class, policy.name) == (kind, "palmar")
    make = import_module(kind.__module__.replace("configuration_", "processor_")).make_palmar_pre_post_processors
    before, after = make(config_of(meta), dataset_stats=meta.stats)
    assert (before.name, after.name) == ("policy_preprocessor", "policy_postprocessor")
    assert "NormalizerProcessorStep" in [type(s).__name__ for s in before.steps]  # LeRobot overrides it by name
    assert set(before.steps[3].options["norm_map"].values()) == {"IDENTITY"}


# ------------------------------------------------------------------------------------------------ trained


def test_it_learns_on_lerobots_batches(meta: SimpleNamespace) -> None:
    policy, batch = policy_of(meta, augment=False).train(), batch_of(meta)
    preset = policy.config.get_optimizer_preset()
    optimizer = torch.optim.AdamW(policy.get_optim_params(), lr=3e-3, betas=preset.betas)
    trained = [p for p in policy.parameters() if p.requires_grad]
    assert len(trained) == sum(len(g["params"]) for g in optimizer.param_groups)
    losses = []
    for _ in range(12):
        loss, parts = policy(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(parts["action"])
    assert all(type(value) is float for value in parts.values())
    assert losses[-1] < 0.85 * losses[0]


def test_padded_actions_and_pictures_count_as_they_should(meta: SimpleNamespace) -> None:
    policy, batch = policy_of(meta).eval(), batch_of(meta, rows=(8, 20))
    assert batch["action_is_pad"].any()
    whole = policy(batch)[0].item()
    other = batch | {"action": torch.where(batch["action_is_pad"][..., None], 9.0, batch["action"])}
    assert policy(other)[0].item() == pytest.approx(whole)
    real = batch | {"action": torch.where(batch["action_is_pad"][..., None], batch["action"], 9.0)}
    assert policy(real)[0].item() > whole + 0.1
    said = policy.predict_action_chunk(batch)
    assert said.shape == (2, 16, 7)
    assert not torch.allclose(said, policy.predict_action_chunk(batch | {"task": ["push the blue ball"] * 2}))
    assert not torch.allclose(
        said, policy.predict_action_chunk(batch | {"observation.images.front": torch.zeros(2, 3, 96, 96)})
    )


def test_augmentation_changes_training_alone(meta: SimpleNamespace) -> None:
    policy, batch = policy_of(meta), batch_of(meta)
    losses = {policy.eval()(batch)[0].item() for _ in range(2)}
    assert len(losses) == 1
    policy.train().hosted.model.eval()
    assert len({policy(batch)[0].item() for _ in range(2)}) == 2


@pytest.mark.parametrize("preset", ["act-tiny", "rt1-tiny", "octo-tiny", "diffusion-tiny"])
def test_other_presets_train_and_act(preset: str, meta: SimpleNamespace) -> None:
    """With a latent, with bins from the actions of the set, with pictures of before and of the goal, with noise."""
    policy = policy_of(meta, preset=preset, chunk_size=4, n_action_steps=2)
    offsets = policy.config.observation_delta_indices
    batch = batch_of(meta, horizon=4, offsets=tuple(offsets) if offsets else None)
    assert (batch["observation.images.front"].ndim == 5) is bool(offsets)
    loss, _ = policy.train()(batch)
    loss.backward()
    assert loss.isfinite() and any(p.grad is not None for p in policy.parameters())
    now = batch_of(meta)
    assert policy.select_action(now).shape == (3, 7)


def test_bins_come_from_the_actions_of_the_set(meta: SimpleNamespace) -> None:
    edges = policy_of(meta, preset="rt1-tiny").hosted.model.head.edges
    assert not torch.allclose(edges[0], edges[1])


# ------------------------------------------------------------------------------------------------ acting


def test_a_chunk_is_carried_out_before_the_next(meta: SimpleNamespace) -> None:
    policy = policy_of(meta, n_action_steps=3).eval()
    first, later = batch_of(meta, rows=(0, 1)), batch_of(meta, rows=(9, 10))
    chunk = policy.predict_action_chunk(first)
    said = [policy.select_action(first), policy.select_action(later), policy.select_action(later)]
    torch.testing.assert_close(torch.stack(said, 1), chunk[:, :3])
    torch.testing.assert_close(policy.select_action(later), policy.predict_action_chunk(later)[:, 0])
    policy.reset()
    torch.testing.assert_close(policy.select_action(first), chunk[:, 0])


def test_pictures_of_before_are_remembered_and_forgotten(meta: SimpleNamespace) -> None:
    policy = policy_of(meta, preset="octo-tiny", n_action_steps=1).eval()
    seen: list[dict[str, torch.Tensor]] = []
    policy.hosted.act = lambda images, state, texts: (seen.append(images), torch.zeros(2, 16, 7))[1]
    a, b = batch_of(meta, rows=(0, 12)), batch_of(meta, rows=(5, 17))
    for batch in (a, b):
        policy.select_action(batch)
    front = "observation.images.front"
    assert torch.equal(seen[0]["front"], torch.stack([a[front], a[front]], 1))
    assert torch.equal(seen[1]["front"], torch.stack([a[front], b[front]], 1))
    policy.reset()
    policy.select_action(b)
    assert torch.equal(seen[2]["front"], torch.stack([b[front], b[front]], 1))


def test_it_is_saved_and_loaded_equal(meta: SimpleNamespace, tmp_path: Path) -> None:
    from lerobot_policy_palmar.modeling_palmar import PalmarPolicy

    policy, batch = policy_of(meta).eval(), batch_of(meta)
    policy.save_pretrained(tmp_path / "saved")
    loaded = PalmarPolicy.from_pretrained(tmp_path / "saved", strict=True)
    torch.testing.assert_close(loaded.predict_action_chunk(batch), policy.predict_action_chunk(batch), rtol=0, atol=0)
    assert loaded.hosted.interface == policy.hosted.interface
    assert str(meta.root) not in (tmp_path / "saved/config.json").read_text()


# ------------------------------------------------------------------------------------------------ palmar's checkpoints


def test_a_checkpoint_of_palmar_answers_the_same_in_lerobot(tmp_path: Path) -> None:
    from lerobot_policy_palmar.convert import to_lerobot, to_palmar
    from lerobot_policy_palmar.modeling_palmar import PalmarPolicy

    folder = to_lerobot(shipped(), tmp_path / "there")
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "model.safetensors", "policy_postprocessor.json", "policy_preprocessor.json",
    ]  # fmt: skip
    policy = PalmarPolicy.from_pretrained(folder, strict=True)
    frame = episode(3, seed=4).steps[1].observation
    obs = Observation(frame.images, 0.1 * frame.state, TEXT, 0.0)
    batch = {f"observation.images.{c}": torch.from_numpy(x)[None].movedim(-1, -3) / 255 for c, x in obs.images.items()}
    batch |= {"observation.state": torch.from_numpy(obs.state)[None], "task": [TEXT]}
    expected = checkpoint.load(shipped()).act(obs).actions
    np.testing.assert_allclose(policy.predict_action_chunk(batch)[0].numpy(), expected, atol=1e-5)
    back = checkpoint.load(to_palmar(folder, tmp_path / "back"))
    np.testing.assert_allclose(back.act(obs).actions, expected, atol=1e-5)


def test_pictures_of_another_size_are_resized_as_palmar_does(meta: SimpleNamespace) -> None:
    from palmar.models.base import pixels
    from palmar.pictures import fit

    policy = policy_of(meta, image_size=48)
    interface = policy.hosted.interface
    assert interface.cameras["front"] == (48, 48) and interface.recorded["front"] == ((96, 96),)
    raw = Dataset(meta.root).batch(np.array([3]), 16)["images"]["front"]
    given = {"front": torch.from_numpy(raw).movedim(-1, -3) / 255}
    np.testing.assert_array_equal(policy.hosted._picture("front", given).numpy(), fit(raw, 48, 48))
    assert pixels(policy.hosted._picture("front", given)).shape == (1, 3, 48, 48)


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"preset": "palmar-tny"}, UnknownName, "Did you mean 'palmar-tiny'"),
        ({"chunk_size": 0}, BadValue, "chunk_size is 0; expected 1 … 1024"),
        ({"n_action_steps": 17}, BadValue, r"n_action_steps is 17; expected 1 … chunk_size \(16\)"),
        ({"image_size": 8}, BadValue, "image_size is 8; expected 0 or 16"),
        ({"built": "{"}, BadValue, "`built` is damaged"),
        ({"checkpoint": "/no/such"}, BadFile, "no checkpoint at '/no/such'"),
        ({"normalization_mapping": {"STATE": "MEAN_STD"}}, BadValue, "normalization_mapping is not IDENTITY"),
    ],
)
def test_an_option_without_sense_is_told(
    options: dict[str, Any], error: type, message: str, meta: SimpleNamespace
) -> None:
    with pytest.raises(error, match=message):
        config_of(meta, **options)


def test_data_of_another_robot_are_refused_by_name(meta: SimpleNamespace, tmp_path: Path) -> None:
    other = dict(meta.features)
    names = list(other["action"]["names"])
    other["action"] = other["action"] | {"names": [names[1], names[0], *names[2:]]}
    with pytest.raises(BadValue, match=r"action has 7 numbers .dy, dx, .*; the policy has 7: dx, dy"):
        policy_of(SimpleNamespace(**(vars(meta) | {"features": other})), checkpoint=str(shipped()))
    config = config_of(meta, checkpoint=str(shipped()))
    config.input_features["observation.images.top"] = config.input_features.pop("observation.images.front")
    from lerobot_policy_palmar.modeling_palmar import PalmarPolicy

    with pytest.raises(BadValue, match=r"camera 'front' of 96×96 px; .* has .*top 96×96"):
        PalmarPolicy(config)
    blind = config_of(meta)
    blind.input_features = {"observation.state": blind.robot_state_feature}
    with pytest.raises(BadValue, match=r"expected observation.state, one camera or more, and action"):
        PalmarPolicy(blind)


def test_data_of_another_scale_than_the_checkpoint_are_refused(meta: SimpleNamespace) -> None:
    with pytest.raises(
        BadValue, match=r"another scale than checkpoint '.*' was trained on, whose normaliser is kept: state: "
    ):
        policy_of(meta, checkpoint=str(shipped()))  # its states are noise of one size in every channel


def test_a_model_that_stands_on_a_folder_is_refused(meta: SimpleNamespace) -> None:
    from palmar.adapters.hosted import HostedModel
    from palmar.models.presets import palmar_nano
    from palmar.models.text import TowerConfig
    from palmar.models.vla import VLAConfig

    text = policy_of(meta).hosted.description
    assert HostedModel.described(text).model.config == palmar_nano()
    with pytest.raises(BadValue, match="stands on a folder"):
        HostedModel.fresh(VLAConfig(text=TowerConfig("/etc")), policy_of(meta).hosted.interface, {})


def test_the_converter_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import sys

    from lerobot_policy_palmar.convert import main

    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    told = [
        (["to-lerobot", str(shipped()), str(tmp_path / "full")], "is there already"),
        (["to-lerobot", str(tmp_path / "none"), str(tmp_path / "new")], "no checkpoint at"),
        (["to-palmar", str(tmp_path / "none"), str(tmp_path / "new")], "no policy at"),
        (["to-mars", "a", "b"], "palmar-lerobot to-lerobot"),
    ]
    for words, message in told:
        monkeypatch.setattr(sys, "argv", ["palmar-lerobot", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
