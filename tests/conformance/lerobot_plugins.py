"""The plugins in the real lerobot: lerobot_plugins.py FOLDER, which holds a data set `set` of `palmar collect`. Runs inside the
venv that run_plugins.sh makes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import lerobot_shim  # noqa: F401
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

PRESETS = ("act-tiny", "rt1-tiny", "octo-tiny", "diffusion-tiny", "bcz-tiny")
SHIPPED = 0.7  # of 20 tables the shipped policy solves 18; below this share something is wrong
MAIN = (
    "import lerobot_shim, sys, importlib; importlib.import_module('lerobot.scripts.lerobot_' + sys.argv.pop(1)).main()"
)


def lerobot(script: str, *options: str, fails: str = "") -> str:
    """Run lerobot-train or lerobot-eval; what it printed. fails: what it must say when it must not succeed."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MAIN, script, *options], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == bool(fails) and fails in said, said[-4000:]
    print(f"lerobot-{script} {options[0]}: {time.perf_counter() - begun:.0f} s", flush=True)
    return said


def main(root: Path) -> None:
    data = ["--dataset.repo_id=local/set", f"--dataset.root={root / 'set'}", "--dataset.video_backend=torchcodec"]  # fmt: skip
    train = [
        *data,
        "--policy.push_to_hub=false",
        "--policy.device=cpu",
        "--batch_size=8",
        "--num_workers=0",
        "--eval_freq=0",
    ]
    world = ["--env.type=palmar", "--env.task=reach", "--seed=0"]

    lerobot("train", "--policy.type=palmar", "--policy.preset=palmar-nano", *train, "--steps=30", "--save_freq=20",
            f"--output_dir={root / 'nano'}")  # fmt: skip
    saved = root / "nano/checkpoints/000020"
    lerobot("train", f"--config_path={saved / 'pretrained_model/train_config.json'}", "--resume=true", "--steps=25")
    nano = root / "nano/checkpoints/000030/pretrained_model"
    lerobot("train", f"--policy.path={nano}", *train, "--steps=5", f"--output_dir={root / 'tuned'}")
    for preset in PRESETS:
        lerobot("train", "--policy.type=palmar", f"--policy.preset={preset}", *train, "--steps=3",
                f"--output_dir={root / preset}")  # fmt: skip

    convert = "import lerobot_shim; from lerobot_policy_palmar.convert import main; main()"
    shipped = Path(__import__("palmar").__file__).parent / "assets/palmar-tiny"
    subprocess.run([sys.executable, "-c", convert, "to-lerobot", str(shipped), str(root / "shipped")], check=True)
    subprocess.run([sys.executable, "-c", convert, "to-palmar", str(nano), str(root / "back")], check=True)

    for name, policy, episodes in (("nano", nano, 4), ("octo", root / "octo-tiny/checkpoints/last/pretrained_model", 2),
                                   ("shipped", root / "shipped", 20)):  # fmt: skip
        out = root / f"eval-{name}"
        lerobot("eval", f"--policy.path={policy}", *world, f"--eval.n_episodes={episodes}",
                f"--eval.batch_size={min(episodes, 5)}", f"--output_dir={out}")  # fmt: skip
        share = json.loads((out / "eval_info.json").read_text())["overall"]["pc_success"] / 100
        print(f"{name}: {share:.0%} of {episodes} tables", flush=True)
    assert share >= SHIPPED, share
    lerobot("train", "--policy.type=palmar", f"--policy.checkpoint={shipped}", *train, "--steps=3",
            f"--output_dir={root / 'from'}")  # fmt: skip
    lerobot("train", "--policy.type=palmar", "--policy.preset=palmar-tny", *train, fails="Did you mean 'palmar-tiny'")
    lerobot("eval", f"--policy.path={nano}", "--env.type=palmar", "--env.task=juggle", fails="unknown task 'juggle'")

    register_third_party_plugins()
    config = PreTrainedConfig.from_pretrained(nano)
    kind = get_policy_class("palmar")
    before, after = (kind.from_pretrained(nano, config=config) for _ in range(2))
    pre, post = make_pre_post_processors(config, pretrained_path=str(nano))
    torch.manual_seed(0)
    seen = {f"observation.images.{c}": torch.rand(2, 3, 96, 96) for c in ("front", "wrist")}
    seen |= {"observation.state": torch.randn(2, 22), "task": ["reach the red cube", "reach the blue ball"]}
    said = post(before.predict_action_chunk(pre(seen)))
    before.save_pretrained(root / "again")
    again = kind.from_pretrained(root / "again")
    torch.testing.assert_close(again.predict_action_chunk(pre(seen)), said, rtol=0, atol=0)
    torch.testing.assert_close(after.predict_action_chunk(pre(seen)), said, rtol=0, atol=0)
    print("a saved policy answers the same")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
