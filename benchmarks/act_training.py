"""Training samples a second: palmar's ACT beside lerobot's (0.4.4) at the same sizes, on the same data, in one run.

    OMP_NUM_THREADS=1 python benchmarks/act_training.py [--data SET] [--lerobot .venv-lerobot]
    OMP_NUM_THREADS=1 python benchmarks/act_training.py --data SO101 --preset act-tiny --width 512 --hidden 3200

Both are a ResNet-18 from random weights, an encoder of --layers, a decoder of one layer, a latent of 32 by an encoder of
--layers, float32, dropout 0.1, AdamW, clipped gradients, one compute thread. Each is trained as its own package does it, so these
differ: palmar's also reads the instruction (tokens in the encoder) and says when it is done, its normalisation layers are
trained (lerobot's are frozen), and it averages its weights. The step is timed on one batch that is in memory; the whole
step is with loading: palmar's loop as `palmar train` runs it, and lerobot's DataLoader, preprocessor and step as
`lerobot-train` runs them, with the number of worker processes that --workers says. No augmentation. The two take turns;
medians over the turns. The step is also given by CPU seconds, which other work on the machine disturbs less.

With --preset, palmar's side is that preset as `palmar train` trains it (its precision too) and --image-size resizes its
pictures, while lerobot's is an ACT of the sizes given on the pictures as recorded: what a user of either waits for.
`so101_set.py` makes a set of 480×640 px for it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer import VENV, Peer, answer

if TYPE_CHECKING:
    from palmar.pictures import ImageSize

LATENT, HEADS = 32, 8


@dataclass(frozen=True)
class Sizes:
    """batch: rows a step. steps: timed in a turn, after `WARM` that are not (they use up what was loaded ahead)."""

    batch: int
    chunk: int
    width: int
    hidden: int
    layers: int
    steps: int


WARM = 4


def speed(step: Callable[[], None], sizes: Sizes) -> tuple[float, float]:
    """Samples a second, and a second of this process's CPU time."""
    for _ in range(WARM):
        step()
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(sizes.steps):
        step()
    rows = sizes.steps * sizes.batch
    return rows / (time.perf_counter() - began), rows / (time.process_time() - cpu)


# ------------------------------------------------------------------------------------------------ inside the venv


def as_lerobot(root: str, sizes: Sizes, workers: int) -> None:
    """Answers "size", and "step" and "whole" with samples a second and a CPU second."""
    import lerobot_shim  # noqa: F401
    import torch
    from lerobot.configs.types import FeatureType
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
    from lerobot.datasets.utils import dataset_to_policy_features
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    torch.set_num_threads(1)
    torch.manual_seed(0)
    meta = LeRobotDatasetMetadata("bench/bench", root=root)
    features = dataset_to_policy_features(meta.features)
    config = ACTConfig(
        device="cpu",
        input_features={k: f for k, f in features.items() if f.type in (FeatureType.STATE, FeatureType.VISUAL)},
        output_features={k: f for k, f in features.items() if f.type is FeatureType.ACTION},
        chunk_size=sizes.chunk, n_action_steps=sizes.chunk, dim_model=sizes.width, n_heads=HEADS,
        dim_feedforward=sizes.hidden, n_encoder_layers=sizes.layers, n_vae_encoder_layers=sizes.layers,
        latent_dim=LATENT, pretrained_backbone_weights=None,
    )  # fmt: skip
    policy = ACTPolicy(config)
    policy.train()
    optimizer = torch.optim.AdamW(policy.get_optim_params(), lr=config.optimizer_lr)
    prepare, _ = make_pre_post_processors(config, dataset_stats=meta.stats)
    windows = {"action": [i / meta.fps for i in range(sizes.chunk)]}
    data = LeRobotDataset("bench/bench", root=root, delta_timestamps=windows, video_backend="torchcodec")
    loader = torch.utils.data.DataLoader(
        data, sizes.batch, shuffle=True, num_workers=workers, drop_last=True, prefetch_factor=2 if workers else None,
        persistent_workers=workers > 0,
    )  # fmt: skip

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    loaded = batches()
    kept = prepare(next(loaded))

    def step(batch: Any = kept) -> None:
        loss, _ = policy.forward(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()

    work = {"step": step, "whole": lambda: step(prepare(next(loaded)))}
    for line in sys.stdin:
        request = line.strip()
        answer(sum(p.numel() for p in policy.parameters()) if request == "size" else speed(work[request], sizes))


# ------------------------------------------------------------------------------------------------ palmar


def measure(
    data: Path, sizes: Sizes, peer: Peer, turns: int, named: str = "", image_size: ImageSize | None = None
) -> dict[str, dict[str, list[float]]]:
    """{"step", "cpu", "whole": {"palmar", "lerobot": samples a second of each turn}}; prints the parameters of both."""
    import torch

    from palmar.data.reader import Dataset
    from palmar.models.base import parameters
    from palmar.models.heads import ChunkConfig
    from palmar.models.presets import act_paper, preset
    from palmar.models.sequence import EncoderDecoderConfig
    from palmar.models.transformer import TransformerConfig
    from palmar.train.job import Job
    from palmar.train.loop import train
    from palmar.train.losses import Asked, Descent
    from palmar.train.request import TrainRequest
    from palmar.train.run import TrainConfig
    from palmar.train.speed import bf16_is_fast, keep_memory

    wide = TransformerConfig(sizes.width, sizes.layers, HEADS, sizes.hidden)
    paper = act_paper()
    assert paper.latent is not None and paper.latent.size == LATENT and isinstance(paper.head, ChunkConfig)
    config = preset(named) if named else replace(
        paper, fusion=EncoderDecoderConfig(wide, replace(wide, layers=1)),
        latent=replace(paper.latent, transformer=wide),
    )  # fmt: skip
    rows = WARM + sizes.steps
    fixed = TrainConfig(
        steps=2 * turns * rows, horizon=sizes.chunk, batch_size=sizes.batch, augment=None, threads=1,
        precision="auto" if named else "fp32",
        validation=0.0, checkpoint_minutes=1e9, log_every=rows,
    )  # fmt: skip
    source = Dataset(data, image_size=image_size)
    found: dict[str, dict[str, list[float]]] = {k: {"palmar": [], "lerobot": []} for k in ("step", "cpu", "whole")}

    keep_memory()
    torch.set_num_threads(1)
    job = Job.start(TrainRequest(config, [source], fixed))
    print(
        f"parameters: palmar {parameters(job.run.model) / 1e6:.1f} M, lerobot {peer.ask('size') / 1e6:.1f} M; "
        f"{len(source)} frames, {len(source.cameras)} cameras, {source.recorded_sizes} → {source.image_sizes}"
    )
    bf16 = fixed.precision == "auto" and bf16_is_fast()
    robot_data = job.robots_data[0]
    raw = robot_data.feed.step(0, sizes.batch)
    batch, asked, descent = robot_data.batch(raw, fixed, 0), Asked(raw), Descent(bf16=bf16)
    job.run.model.train()

    def step() -> None:
        descent(robot_data.view(job.run.model), batch, asked)  # type: ignore[arg-type]
        job.run.update()

    for _ in range(turns):
        for who, (wall, cpu) in (("palmar", speed(step, sizes)), ("lerobot", peer.ask("step"))):
            found["step"][who].append(wall)
            found["cpu"][who].append(cpu)

    count = itertools.count()

    def watch(row: dict[str, float]) -> None:
        """Every second row holds nothing but palmar's steps; in the others the peer had its turn."""
        if next(count) % 2:
            found["whole"]["palmar"].append(row["samples_per_s"])
            found["whole"]["lerobot"].append(peer.ask("whole")[0])

    with tempfile.TemporaryDirectory() as out:
        train(TrainRequest(config, source, fixed), out, progress=False, watch=watch)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a LeRobotDataset v3; by default some episodes are collected")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6, help="timed in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--preset", default="", help="palmar's side: a preset as palmar train trains it")
    parser.add_argument(
        "--image-size", type=int, nargs="+", default=[], help="of palmar's pictures; as recorded without"
    )
    parser.add_argument("--workers", type=int, default=1, help="of lerobot's DataLoader; palmar loads on one thread")
    parser.add_argument("--lerobot", type=Path, default=VENV, help="folder of a venv with lerobot")
    parser.add_argument("--as-lerobot", help=argparse.SUPPRESS)
    args = parser.parse_args()
    size = None if not args.image_size else args.image_size[0] if len(args.image_size) == 1 else tuple(args.image_size)
    sizes = Sizes(args.batch, args.chunk, args.width, args.hidden, args.layers, args.steps)
    if args.as_lerobot:
        return as_lerobot(args.as_lerobot, sizes, args.workers)

    from rich.console import Console
    from rich.table import Table

    with tempfile.TemporaryDirectory() as folder:
        data = args.data
        if data is None:
            from palmar.lab.collect import CollectConfig, collect

            data = Path(folder) / "set"
            collect(data, CollectConfig(episodes=args.episodes), progress=False)
        given = [f"--{k}={v}" for k, v in asdict(sizes).items()]
        command = [__file__, "--as-lerobot", data, f"--workers={args.workers}", *given]
        with Peer(args.lerobot, command, Path(folder) / "home") as peer:
            found = measure(data, sizes, peer, args.turns, args.preset, size)
    name, pace = args.preset or "ACT", f"{args.turns} turns of {args.steps} steps"
    title = f"{name}: width {args.width}, chunk {args.chunk}, batches of {args.batch}, {pace}"
    table = Table("samples/s", "palmar", "lerobot 0.4.4", "ratio", "ratios of the turns", title=title)
    shown = {
        "step": "step, batch in memory", "cpu": "the same, a CPU second", "whole": f"whole step, {args.workers} worker(s)"
    }  # fmt: skip
    for what, name in shown.items():
        mine, theirs = found[what]["palmar"], found[what]["lerobot"]
        ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
        a, b = statistics.median(mine), statistics.median(theirs)
        table.add_row(
            name, f"{a:.1f}", f"{b:.1f}", f"{statistics.median(ratios):.2f}×", f"{min(ratios):.2f} … {max(ratios):.2f}"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
