"""Action tokens a second with and without the cache of keys and values, in one run, on the same weights.

    OMP_NUM_THREADS=1 python benchmarks/kv_cache.py [--repeats 5] [--paper]

One chunk of 16 actions of 7 numbers is 112 tokens, one after the other; parallel decoding answers all at once (other
weights, so another answer) and is printed for comparison. The two ways take turns; the outputs must be equal. Medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from palmar.mapping import Interface
from palmar.models.heads import TokenConfig, TokenHead
from palmar.models.presets import rt1_paper, rt1_tiny

ACTIONS = ("dx", "dy", "dz", "drx", "dry", "drz", "gripper")
HORIZON = 16


def seconds(work: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    began = time.perf_counter()
    out = work()
    return time.perf_counter() - began, out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--paper", action="store_true", help="at the size of RT-1 instead of rt1-tiny")
    args = parser.parse_args()
    config = rt1_paper() if args.paper else rt1_tiny()
    tokens = config.head
    assert isinstance(tokens, TokenConfig)
    face = Interface({"front": (96, 96)}, ("s",), ACTIONS, HORIZON)
    torch.manual_seed(0)
    width = config.fusion.width
    head, parallel = (replace(tokens, parallel=p).build(width, face).eval() for p in (False, True))
    assert isinstance(head, TokenHead)
    torch.nn.init.normal_(head.logits.weight)  # so that the answers differ from token to token
    context = torch.randn(1, 97, width)  # 6 pictures of 2 cameras, 8 tokens each, and the state
    times: dict[str, list[float]] = {"cache": [], "no cache": [], "parallel": []}
    with torch.inference_mode():
        head.act(context), head.act(context, cached=False), parallel.act(context)
        for _ in range(args.repeats):
            took, one = seconds(lambda: head.act(context))
            times["cache"].append(took)
            took, two = seconds(lambda: head.act(context, cached=False))
            times["no cache"].append(took)
            times["parallel"].append(seconds(lambda: parallel.act(context))[0])
            if not torch.equal(one, two):
                raise SystemExit("the cache changes the answer")
    middle = {name: statistics.median(t) for name, t in times.items()}
    table = Table(
        "decoding", "ms a chunk", "tokens/s", "ratio", title=f"{config.preset}: {HORIZON * len(ACTIONS)} tokens"
    )
    for name, took in middle.items():
        speed = HORIZON * len(ACTIONS) / took
        table.add_row(name, f"{took * 1e3:.1f}", f"{speed:,.0f}", f"{middle['no cache'] / took:.1f}×")
    Console().print(table)
    print("outputs with and without the cache: equal")


if __name__ == "__main__":
    main()
