"""Do palmar's adapters say what lerobot says? Runs inside the venv that run.sh makes.

lerobot_policies.py make FOLDER        random ACT and diffusion policies as lerobot saves them, and what they answer
lerobot_policies.py diffusion FOLDER   palmar's adapter around lerobot's diffusion policy (PYTHONPATH has palmar)
"""

import sys
from pathlib import Path

import lerobot_shim  # noqa: F401
import numpy as np
import torch
from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors

SIZE = (64, 96)
FEATURES = {
    "input_features": {
        "observation.state": PolicyFeature(FeatureType.STATE, (5,)),
        "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, *SIZE)),
        "observation.images.wrist": PolicyFeature(FeatureType.VISUAL, (3, *SIZE)),
    },
    "output_features": {"action": PolicyFeature(FeatureType.ACTION, (4,))},
}
SMALL = {"dim_model": 32, "n_heads": 4, "dim_feedforward": 48, "n_encoder_layers": 2, "n_vae_encoder_layers": 1,
         "chunk_size": 7, "n_action_steps": 7, "latent_dim": 8, "pretrained_backbone_weights": None}  # fmt: skip
KINDS = {
    "act": ACTConfig(device="cpu", **FEATURES, **SMALL),
    "act-other": ACTConfig(
        device="cpu", **FEATURES, **(SMALL | {"n_decoder_layers": 2}), pre_norm=True, feedforward_activation="gelu",
        use_vae=False, vision_backbone="resnet34",
        normalization_mapping={"VISUAL": NormalizationMode.IDENTITY, "STATE": NormalizationMode.MIN_MAX,
                               "ACTION": NormalizationMode.QUANTILES},
    ),
    "diffusion": DiffusionConfig(
        device="cpu", **FEATURES, down_dims=(32, 64), n_groups=4, num_inference_steps=3, noise_scheduler_type="DDIM",
        spatial_softmax_num_keypoints=8, diffusion_step_embed_dim=16,
    ),
}  # fmt: skip


def stats() -> dict:
    rng = np.random.default_rng(3)
    out = {}
    for name, shape in (("observation.state", (5,)), ("action", (4,)), ("observation.images.front", (3, 1, 1)),
                        ("observation.images.wrist", (3, 1, 1))):  # fmt: skip
        low = rng.normal(size=shape)
        span = rng.uniform(0.5, 2, shape)
        out[name] = {"min": low, "max": low + span, "mean": low + span / 2, "std": span / 3, "q01": low + span / 20,
                     "q99": low + span * 0.9}  # fmt: skip
    return out


def frames(count: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    shape = (*SIZE, 3)
    return [
        {"front": rng.integers(0, 255, shape, np.uint8), "wrist": rng.integers(0, 255, shape, np.uint8),
         "state": rng.normal(size=5).astype(np.float32)}
        for _ in range(count)
    ]  # fmt: skip


def chunk(policy, pre, post, frame: dict[str, np.ndarray]) -> np.ndarray:
    images = {
        f"observation.images.{c}": torch.from_numpy(frame[c]).permute(2, 0, 1)[None] / 255 for c in ("front", "wrist")
    }
    batch = pre({**images, "observation.state": torch.from_numpy(frame["state"])[None], "task": ["go"]})
    if policy.name == "diffusion":
        policy._queues["action"].clear()
        actions = [policy.select_action({k: v for k, v in batch.items() if isinstance(v, torch.Tensor)})]
        actions += [policy._queues["action"].popleft() for _ in range(policy.config.n_action_steps - 1)]
    else:
        actions = list(policy.predict_action_chunk(batch).unbind(1))
    return torch.stack([post(a)[0] for a in actions]).numpy()


def make(root: Path) -> None:
    for name, config in KINDS.items():
        torch.manual_seed(11)
        policy = get_policy_class(config.type)(config).eval()
        with torch.no_grad():  # statistics and gains that are not the identity, or a mistake would not show
            for module in policy.modules():
                if type(module).__name__ == "FrozenBatchNorm2d":
                    for buffer in (module.weight, module.bias, module.running_mean, module.running_var):
                        buffer.add_(0.2 * torch.rand_like(buffer))
                elif isinstance(module, torch.nn.LayerNorm):
                    module.bias.normal_(0, 0.2)
        pre, post = make_pre_post_processors(config, dataset_stats=stats())
        for thing in (policy, pre, post):
            thing.save_pretrained(root / name)
        torch.manual_seed(2)
        np.save(root / f"{name}.npy", np.stack([chunk(policy, pre, post, f) for f in frames(3)]))
        print(f"{name}: saved, {sum(p.numel() for p in policy.parameters())} parameters")


def diffusion(root: Path) -> None:
    from palmar.policy import load_policy
    from palmar.types import Observation

    policy, expected = load_policy(f"lerobot:{root / 'diffusion'}", rate=10), np.load(root / "diffusion.npy")
    torch.manual_seed(2)
    policy.reset()
    for i, frame in enumerate(frames(3)):
        images = {c: frame[c] for c in ("front", "wrist")}
        said = policy.act(Observation(images, frame["state"], "go", i / 10))
        np.testing.assert_allclose(said.actions, expected[i], atol=1e-5, rtol=1e-4)
    print("diffusion: palmar's adapter says what lerobot says")


if __name__ == "__main__":
    {"make": make, "diffusion": diffusion}[sys.argv[1]](Path(sys.argv[2]))
