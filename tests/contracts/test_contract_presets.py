"""What every preset keeps: it builds, learns, is saved and loaded equal, and acts; at paper size it is as large as published.

A new preset is found by itself.
"""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from palmar.data.normalize import Normalizer
from palmar.errors import BadValue
from palmar.models import checkpoint
from palmar.models.acting import NeuralPolicy, act_together
from palmar.models.base import Labels, parameters
from palmar.models.catalogue import fitted
from palmar.models.config import from_dict, to_dict
from palmar.models.presets import KINDS, PRESETS, PUBLISHED, preset
from palmar.train import groups
from palmar.train.losses import Asked, Descent
from palmar.train.recipe import RECIPES
from palmar.types import Observation

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from toy import TEXTS, batch, face, past

TINY = [n for n in PRESETS if n.endswith(("-tiny", "-nano"))]
PAPER = [n for n in PRESETS if not n.endswith(("-tiny", "-nano"))]


def measured(model, given):
    """Loss and action error with the same draws of noise each time, so that a fall is learning and not luck."""
    with torch.no_grad():
        parts = [model.loss(given)[1] for s in range(4) if torch.manual_seed(s) is not None]
    return tuple(float(torch.stack([p[k] for p in parts]).mean()) for k in ("loss", "action"))


@pytest.mark.parametrize("name", TINY)
def test_it_builds_learns_saves_loads_and_acts(name, tmp_path):
    config = preset(name)
    assert config.preset == name
    assert from_dict(KINDS[type(config).__name__], to_dict(config)) == config
    interface = face(config)
    torch.manual_seed(0)
    model = config.build(interface)
    given = batch(interface)
    before = measured(model.eval(), given)

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    model.train()
    for step in range(20):
        torch.manual_seed(100 + step)
        loss, parts = model.loss(given)
        assert {"action", "loss"} <= set(parts) and parts["loss"].item() == pytest.approx(loss.item(), rel=1e-4)
        assert not any(v.requires_grad for v in parts.values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    after = measured(model.eval(), given)
    assert after[0] < 0.95 * before[0], f"loss {before[0]:.3f} → {after[0]:.3f}"
    assert after[1] < before[1], f"action error {before[1]:.3f} → {after[1]:.3f}"

    unit = {"state": Normalizer(np.zeros(4), np.ones(4)), "action": Normalizer(np.zeros(3), np.full(3, 0.1))}
    policy = checkpoint.load(checkpoint.save(tmp_path / "c", model.state_dict(), config, interface, unit))
    assert policy.model.config == config and policy.interface == interface
    now = past(given, interface)
    with torch.inference_mode():
        torch.manual_seed(1)
        mine = model.act(now)
        torch.manual_seed(1)
        theirs = policy.model.act(now)
    assert mine.actions.shape == (8, 4, 3) and torch.isfinite(mine.actions).all()
    assert torch.equal(mine.actions, theirs.actions)

    rng = np.random.default_rng(0)
    images = {c: rng.integers(0, 255, (*s, 3)).astype(np.uint8) for c, s in interface.cameras.items()}
    for i in range(2):
        chunk = policy.act(Observation(images, np.zeros(4, np.float32), TEXTS[0], 0.1 * i))
    assert chunk.actions.shape == (4, 3) and np.isfinite(chunk.actions).all() and chunk.dt == 0.1
    policy.reset()


@pytest.mark.parametrize("name", TINY)
def test_sessions_have_memories_of_their_own_and_are_answered_together(name, tmp_path):
    config = preset(name)
    interface = face(config)
    torch.manual_seed(0)
    unit = {"state": Normalizer(np.zeros(4), np.ones(4)), "action": Normalizer(np.zeros(3), np.full(3, 0.1))}
    one = NeuralPolicy(config.build(interface), unit["state"], unit["action"])
    rng = np.random.default_rng(0)

    def seen(i, k):
        images = {c: rng.integers(0, 255, (*s, 3)).astype(np.uint8) for c, s in interface.cameras.items()}
        return Observation(images, rng.normal(size=4).astype(np.float32), TEXTS[i % 2] + " now" * i, 0.1 * k)

    rows = [[seen(i, k) for i in range(3)] for k in range(3)]
    alone, sessions = [one.session() for _ in range(3)], [one.session() for _ in range(3)]
    for row in rows:
        single = [p.act(o) for p, o in zip(alone, row, strict=True)]
        if one.together:
            found = act_together(list(zip(sessions, row, strict=True)))
        else:
            found = [p.act(o) for p, o in zip(sessions, row, strict=True)]
        for a, b in zip(single, found, strict=True):
            np.testing.assert_allclose(b.actions, a.actions, atol=2e-5)
            assert b.t0 == a.t0 and (a.done is None or b.done == pytest.approx(a.done, abs=1e-4))
    fresh = one.session().act(rows[-1][0])
    alone[0].reset()
    np.testing.assert_array_equal(alone[0].act(rows[-1][0]).actions, fresh.actions)


def labelled(given):
    """The batch with truth about things, some of it missing, and of unlike rows: one real step, or all."""
    count, cameras, draw = len(given.state), len(given.images), torch.Generator().manual_seed(1)

    def some(*shape):
        return torch.rand(count, *shape, generator=draw)

    boxes = 0.3 + 0.4 * some(cameras, 2, 4)
    labels = Labels(
        some(cameras, 2, 2), (some(cameras, 2) > 0.4).float(), some(cameras, 2) > 0.3, some(2, 3), some(2) > 0.3,
        boxes, some(cameras, 2) > 0.3, torch.nn.functional.normalize(some(2, 2), dim=-1), some(2) > 0.5,
    )  # fmt: skip
    horizon = given.pad.shape[1]
    pad = torch.arange(horizon) > (torch.arange(count) * 3 % horizon)[:, None]
    return replace(given, pad=pad, labels=labels, done=torch.arange(count) < 3)


def descended(model, given, pieces):
    """Gradients and parts of a step; what is drawn at random depends on nothing but the row."""
    fixed = {
        "randn_like": lambda x: (12.9898 * x.flatten(1).cumsum(1)).sin().view_as(x) if x.ndim > 1 else x * 0,
        "rand": lambda *shape, **more: torch.full(
            shape[0] if isinstance(shape[0], tuple | torch.Size) else shape, 0.95
        ),
        "randint": lambda low, high, shape, **more: torch.full(shape, high // 2),
    }
    model.zero_grad()
    with pytest.MonkeyPatch.context() as patched:
        for verb, instead in fixed.items():
            patched.setattr(torch, verb, instead)
        parts = Descent(pieces=pieces)(model, given, Asked({"family": np.zeros(len(given.state), int)}))
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}, parts


@pytest.mark.parametrize("name", TINY)
def test_a_batch_in_pieces_has_the_gradient_of_the_whole(name):
    """Whatever a loss takes means over: steps, labels, words; of rows that have unlike many of them."""
    config = preset(name)
    interface = face(config)
    torch.manual_seed(0)
    model = config.build(interface)
    given = labelled(batch(interface))
    model.train()
    for part in model.modules():
        part.p = 0.0 if isinstance(part, torch.nn.Dropout) else getattr(part, "p", None)
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0
    whole, said = descended(model, given, 1)
    cut, parts = descended(model, given, 4)
    assert whole.keys() == cut.keys() and said.keys() == parts.keys()
    size = torch.stack([g.norm() for g in whole.values()]).norm()
    off = torch.stack([(g - cut[n]).norm() for n, g in whole.items()]).norm()
    assert off <= 1e-5 * size, f"{float(off / size):.1e}"
    for part, value in said.items():
        assert float(parts[part]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), part


@pytest.mark.parametrize("name", TINY)
def test_a_robot_without_a_state_is_learned_and_acts_or_refused(name):
    config = preset(name)
    interface = replace(face(config), state_names=())
    if name.startswith("palmar-"):
        with pytest.raises(BadValue, match="the data have no state"):
            config.build(interface)
        return
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch: a layer that reads nothing has no weight to draw
        model = config.build(interface)
    given = batch(interface)
    loss, _ = model.loss(given)
    loss.backward()
    with torch.inference_mode():
        said = model.eval().act(past(given, interface)).actions
    assert torch.isfinite(loss) and said.shape == (8, 4, 3) and torch.isfinite(said).all()


@pytest.mark.parametrize("name", TINY)
def test_two_long_instructions_that_differ_at_their_end_act_apart(name):
    """Each preset either reads them whole, by the limit that training gives it, or says which is too long."""
    texts = tuple(40 * "very " + f"carefully pick up the {colour} cube" for colour in ("red", "blue"))
    config = preset(name)
    limited = config.for_texts(texts)
    assert config.for_texts(("pick up the cube",)) == config and limited.for_texts(texts) == limited
    model = limited.build(face(config))
    policy = NeuralPolicy(model, *(Normalizer(np.zeros(n), np.ones(n)) for n in (4, 3)))
    rng = np.random.default_rng(0)
    images = {c: rng.integers(0, 255, (*s, 3)).astype(np.uint8) for c, s in model.interface.cameras.items()}
    first, second = (policy.inputs(Observation(images, np.zeros(4, np.float32), t)) for t in texts)
    if config.max_tokens:
        assert first.tokens.shape[1] > 32 and not torch.equal(first.tokens, second.tokens)
        short = NeuralPolicy(config.build(face(config)), *policy.normalizers.values())
        with pytest.raises(BadValue, match=r"the instruction has more than the 32 tokens"):
            short.act(Observation(images, np.zeros(4, np.float32), texts[0]))
    else:
        words = [model.vlm.words.rows([x.texts[0]])[0] for x in (first, second)]
        assert len(words[0]) > 40 and words[0] != words[1]


@pytest.mark.parametrize("name", PAPER)
def test_it_is_as_large_as_published(name):
    row, config = PUBLISHED[name], preset(name)
    assert config.preset == name
    with torch.device("meta"):
        count = parameters(config.build(row.interface(config)))
    if row.parameters is None:
        assert ("not published" in row.source or row.source == "ours") and count > 10e6
    else:
        assert count == pytest.approx(row.parameters, rel=0.15), f"{count / 1e6:.1f} M"


def test_every_system_has_both_sizes_and_a_source():
    systems = {n.rsplit("-", 1)[0] for n in PRESETS}
    expected = {
        "rt1",
        "rt2",
        "octo",
        "openvla",
        "pi0",
        "gr2",
        "palme",
        "bcz",
        "humanoid",
        "act",
        "diffusion",
        "smolvla",
        "palmar",
    }
    assert systems >= expected
    for system in systems - {"palmar", "imagenet"}:  # ours
        assert f"{system}-tiny" in PRESETS and f"{system}-paper" in PRESETS
    for row in PUBLISHED.values():
        assert row.source and row.head and row.recipe


@pytest.mark.parametrize("name", TINY)
def test_every_recipe_finds_its_parameters(name):
    """@vision, @language, @head and @top2 mean something in every system; only a stage's adapters come later."""
    config = preset(name)
    with torch.device("meta"):
        model = config.build(fitted(config))
    everything = {n for n, _ in model.named_parameters()}
    for make in RECIPES.values():
        for stage in make().stages:
            patterns = [p for p in stage.train or ("*",) if p != "@lora"]
            chosen = groups.select(model, patterns, stage.freeze)
            assert chosen and (chosen < everything or patterns == ["*"])
