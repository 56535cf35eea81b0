"""The checkpoint inside the package: small enough, loads, and does what it is there for."""

import torch

from palmar.cli.shared import one_thread
from palmar.lab.suite import EvalConfig, evaluate
from palmar.policy import load_policy, shipped
from palmar.sim import tasks
from palmar.sim.things import SHAPES
from palmar.sim.world import World


def test_it_is_small_and_safe_to_load() -> None:
    files = {p.name for p in shipped().iterdir()}
    assert files == {"config.json", "model.safetensors"}
    assert sum(p.stat().st_size for p in shipped().iterdir()) < 8 * 2**20


def test_it_looks_at_what_the_words_name() -> None:
    """On one table, the heatmap of the target follows the instruction."""
    policy, world, hits, asked = load_policy("shipped"), World(), 0, 0
    for seed in range(6):
        table = tasks.sample("pick", "layout", seed)
        for i, item in enumerate(table.items):
            if item.shape not in SHAPES:
                continue
            obs = world.load(table.ask_for(i), seed=seed)
            heat = policy.act(obs).attention["front.target"]  # type: ignore[index]
            v, u = divmod(int(heat.argmax()), heat.shape[1])
            truth = world.privileged()[world.truth_names.index("front.target.u") :][:2] * heat.shape[::-1]
            hits, asked = hits + (abs(u + 0.5 - truth[0]) < 2.5 and abs(v + 0.5 - truth[1]) < 2.5), asked + 1
    world.close()
    assert asked >= 12 and hits >= 0.7 * asked, f"{hits} of {asked}"


def test_it_does_what_it_is_told() -> None:
    results = evaluate(EvalConfig(episodes=5, tasks=("reach", "pick"), timeout=10.0), processes=1, progress=False)
    assert results.rate().successes >= 6, results.rate()


def test_acting_from_the_command_line_takes_one_thread_and_the_script_needs_none() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for policy in ("expert", "openpi://localhost:8000"):
            one_thread(policy)
            assert torch.get_num_threads() == 2
        one_thread("shipped")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
