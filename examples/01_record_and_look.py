"""Record demonstrations, then look at what was recorded.

A policy is never better than its data, so look before training: are all tasks there, did the episodes succeed, does
every dimension move, do the pictures show what they should?

    python examples/01_record_and_look.py            records 6 episodes to /tmp/palmar-01 and writes page.html there
    python examples/01_record_and_look.py FOLDER     keeps the data set in FOLDER; run again to go on after Ctrl-C
"""

import sys
from pathlib import Path

import numpy as np

from palmar.data.inspect import print_summary
from palmar.data.normalize import Normalizer
from palmar.data.page import write_html
from palmar.data.reader import Dataset
from palmar.lab.collect import CollectConfig, collect

root = Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/palmar-01")

# 1. An expert drives the simulated arm. Every episode is on the disk before the next one counts: Ctrl-C loses nothing.
#    resume counts what is there and goes on with new seeds.
done = collect(root, CollectConfig(episodes=6), processes=1, resume=True)
print(f"{done.there} were there, {done.saved} recorded, {done.short} missing")

# 2. The folder is a LeRobotDataset v3.0: this reader and the lerobot package both open it.
ds = Dataset(root)
print_summary(ds)

# 3. What training takes: random frames with their next 16 actions, and a mask where the episode had ended.
batch = ds.batch(np.array([0, len(ds) - 3]), horizon=16)
print({k: v.shape for k, v in batch.items() if k != "images"}, {cam: v.shape for cam, v in batch["images"].items()})
norm = Normalizer.fit(ds.actions, "quantile", ds.action_names)
print(
    "actions at unit scale:", norm.forward(batch["actions"][0, 0]).round(2), "constant:", norm.constant_names or "none"
)

# 4. One page to look at, or to send to a colleague.
print(f"open {write_html(ds, root.with_name(root.name + '.html'))}")
