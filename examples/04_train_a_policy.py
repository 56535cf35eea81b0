"""From nothing to a policy that looks and acts, in about two minutes.

A few demonstrations of one task, one minute of training of the smallest model, and an honest look at the result. Two dozen
demonstrations are a proof of the pipeline and not of the policy: `palmar demo` does the same at a size that works.

    python examples/04_train_a_policy.py                 24 demonstrations, 1 minute
    python examples/04_train_a_policy.py 200 10          more of both
"""

import sys
import tempfile
from pathlib import Path

from palmar.data.reader import Dataset
from palmar.lab.collect import CollectConfig, collect
from palmar.lab.suite import EvalConfig, evaluate
from palmar.models.presets import palmar_nano
from palmar.sim.instructions import paraphrases
from palmar.train.loop import TrainConfig, TrainRequest, train


def main():
    episodes, minutes = (int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) == 3 else (24, 1.0)
    root = Path(tempfile.mkdtemp(prefix="palmar-04-"))

    # 1. Demonstrations of a scripted expert, each on a table of its own.
    demos = collect(root / "data", CollectConfig(episodes=episodes, tasks=("reach",)))
    print(f"{demos.saved} demonstrations, {demos.frames} frames")

    # 2. Behaviour cloning. The checkpoint knows its normalisation, cameras and names.
    config = TrainConfig(minutes=minutes, batch_size=64)
    request = TrainRequest(palmar_nano(), Dataset(demos.root), config, embodiment="arm7", paraphrases=paraphrases)
    policy = train(request, root / "policy")

    # 3. Tables it has not seen.
    results = evaluate(EvalConfig(str(policy), episodes=10, tasks=("reach",), timeout=6.0))
    print(f"success on new tables: {results.rate()}; went to the object asked for: {results.approach()}")
    print(f"everything is in {root}")


if __name__ == "__main__":  # collect and evaluate start a process for each core
    main()
