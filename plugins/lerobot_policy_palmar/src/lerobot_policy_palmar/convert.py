"""From a checkpoint of palmar to a policy folder of LeRobot, and back.

palmar-lerobot to-lerobot runs/mine policies/mine     for lerobot-eval --policy.path=policies/mine, lerobot-train, lerobot-record
palmar-lerobot to-palmar outputs/train/…/pretrained_model runs/back     for palmar eval, run, serve
"""

import sys
from pathlib import Path

from lerobot.configs.policies import PreTrainedConfig

from lerobot_policy_palmar.configuration_palmar import PalmarConfig
from lerobot_policy_palmar.modeling_palmar import PalmarPolicy
from lerobot_policy_palmar.processor_palmar import make_palmar_pre_post_processors
from palmar.errors import BadFile, UserError


def to_lerobot(checkpoint: str | Path, out: str | Path) -> Path:
    """Write config.json, model.safetensors and both processors. Raises `BadFile`."""
    policy = PalmarPolicy(PalmarConfig(checkpoint=str(checkpoint), device="cpu", push_to_hub=False))
    folder = _new(out)
    policy.save_pretrained(folder)
    for processor in make_palmar_pre_post_processors(policy.config):
        processor.save_pretrained(folder)
    return folder


def to_palmar(policy: str | Path, out: str | Path) -> Path:
    """Write a checkpoint of palmar. Raises `BadFile`."""
    if not (Path(policy) / "config.json").is_file():
        raise BadFile(f"no policy at '{policy}'. Next: the folder pretrained_model that lerobot-train wrote")
    config = PreTrainedConfig.from_pretrained(policy, cli_overrides=["--device=cpu"])
    if not isinstance(config, PalmarConfig):
        raise BadFile(
            f"'{policy}' holds a policy of type '{config.type}'; expected palmar. Next: palmar run --policy lerobot:{policy}"
        )
    loaded = PalmarPolicy.from_pretrained(policy, config=config, strict=True)
    return loaded.hosted.save_checkpoint(_new(out), {"trained by": "lerobot"})


def _new(out: str | Path) -> Path:
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadFile(f"'{folder}' is there already. Next: another name")
    return folder


def main() -> None:
    ways = {"to-lerobot": to_lerobot, "to-palmar": to_palmar}
    if len(sys.argv) != 4 or sys.argv[1] not in ways:
        print(__doc__, file=sys.stderr)
        raise SystemExit(2)
    try:
        print(f"{ways[sys.argv[1]](*sys.argv[2:])}")
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(e.exit_code) from e
