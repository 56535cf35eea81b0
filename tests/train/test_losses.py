"""One batch in pieces is the same batch."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from speaking import SpeakingConfig
from squares import Squares
from training import train

from palmar.data.mixture import Mixture
from palmar.data.webdata import WebData
from palmar.errors import BadFile, BadValue
from palmar.models.presets import palmar_nano
from palmar.train import recipe
from palmar.train.feed import Feed
from palmar.train.loop import TrainConfig
from palmar.train.losses import Asked, Descent, jiggled, mixed, take
from palmar.train.recipe import Recipe, Stage
from palmar.train.robot_data import fit_normalizers
from palmar.train.web import ask, retention

SMALL = TrainConfig(steps=20, horizon=4, batch_size=16, threads=1, log_every=5, augment=None, lr=1e-2)


def some(count=12):
    data = Squares(120)
    for i, e in enumerate(data.episodes):
        e.task = "ab"[i % 2]
    feed = Feed([data], 4, max_tokens=0)
    raw = feed.plain(np.arange(0, 10 * count, 10)[:count])
    state, action, importance = fit_normalizers(feed)
    batch = feed.tensors(raw, state, action, importance)
    torch.manual_seed(0)
    return SpeakingConfig().build(feed.interface(4, 0.1)), batch, raw, feed


def gradient(model):
    return torch.cat([p.grad.reshape(-1) for n, p in model.named_parameters() if p.grad is not None])


@pytest.mark.parametrize("pieces", [1, 3, 5, 12])
def test_accumulated_gradients_are_those_of_the_whole(pieces):
    model, batch, raw, _ = some()
    model.loss(batch)[0].backward()
    whole = gradient(model)
    model.zero_grad()
    parts = Descent(pieces=pieces)(model, batch, Asked(raw))
    torch.testing.assert_close(gradient(model), whole)
    torch.testing.assert_close(parts["loss"], model.loss(batch)[1]["loss"])


@pytest.mark.parametrize("pieces", [2, 4, 12])
def test_pieces_with_unlike_padding_weigh_by_real_steps(pieces):
    """A row with one real step counts one step, not as much as a row with four."""
    model, batch, raw, _ = some()
    batch = dataclasses.replace(batch, pad=torch.arange(4) > (torch.arange(12) * 5 % 4)[:, None])
    model.loss(batch)[0].backward()
    whole = gradient(model)
    model.zero_grad()
    parts = Descent(pieces=pieces)(model, batch, Asked(raw))
    torch.testing.assert_close(gradient(model), whole, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(parts["loss"], model.loss(batch)[1]["loss"], atol=1e-6, rtol=1e-6)


def test_a_mean_over_a_mask_that_nobody_counts_is_refused():
    model, batch, raw, _ = some()
    model.masks = lambda batch: {"done": batch.done}
    with pytest.raises(BadValue, match=r"a mean over 'steps', and the model counts done.*add it to `masks`"):
        Descent(pieces=2)(model, batch, Asked(raw))


def test_a_task_with_a_weight_counts_that_much():
    model, batch, raw, feed = some()
    weights = [{"a": 3.0, "b": 1.0}[f] for f in feed.families]
    Descent(weights=weights)(model, batch, Asked(raw))
    got = gradient(model)
    model.zero_grad()
    error = (model.act(batch).actions - batch.actions).abs().mean(-1)
    each = (error * ~batch.pad).sum(1) / (~batch.pad).sum() * len(error)
    (each * torch.tensor([weights[f] for f in raw["family"]])).mean().backward()
    torch.testing.assert_close(got, gradient(model))


def test_taking_rows_takes_them_everywhere():
    _, batch, _, _ = some()
    part = take(batch, np.array([3, 5]))
    assert part.texts == (batch.texts[3], batch.texts[5]) and torch.equal(part.actions, batch.actions[[3, 5]])
    assert torch.equal(part.importance, batch.importance) and torch.equal(
        part.labels.points, batch.labels.points[[3, 5]]
    )
    assert torch.equal(part.images["front"], batch.images["front"][[3, 5]])


def test_mixup_stays_inside_a_task_and_nearer_the_row_itself():
    _, batch, raw, _ = some()
    out = mixed(batch, 0.2, raw["family"], np.random.default_rng(0))
    assert out.texts == batch.texts and not torch.equal(out.actions, batch.actions)
    for b in range(12):
        others = [i for i in range(12) if raw["family"][i] == raw["family"][b]]
        difference = out.state[b] - batch.state[b]
        shares = [
            float(
                difference
                @ (batch.state[i] - batch.state[b])
                / (batch.state[i] - batch.state[b]).square().sum().clamp(1e-9)
            )
            for i in others
        ]
        fits = [s for s, i in zip(shares, others, strict=True)
                if torch.allclose(batch.state[b] + s * (batch.state[i] - batch.state[b]), out.state[b], atol=1e-5)]  # fmt: skip
        assert any(-1e-6 <= s <= 0.5 + 1e-6 for s in fits)
    torch.manual_seed(0)
    assert 0.005 < (jiggled(batch, 0.01).actions - batch.actions).std() < 0.02


# ---------------------------------------------------------------------------------------------- questions


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """Grey pictures, dark or bright, and one question about them."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    root = tmp_path_factory.mktemp("web")
    (root / "pictures").mkdir()
    rows = []
    rng = np.random.default_rng(0)
    for i in range(60):
        bright = i % 2
        level = 200 if bright else 30
        Image.fromarray(rng.integers(level - 20, level + 20, (32, 32, 3)).astype(np.uint8)).save(
            root / f"pictures/{i:06d}.png"
        )
        rows.append(
            {"picture": i, "kind": "light", "prompt": "dark or bright?", "answer": "bright" if bright else "dark",
             "choices": ["dark", "bright"], "split": "held-out" if i >= 40 else "train"}
        )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), root / "questions.parquet")
    return WebData(root)


def test_questions_fit_the_camera_and_are_drawn_from_training_tables(web):
    model, *_ = some()
    picked = web.draw(10, np.random.default_rng(0))
    assert set(picked) <= set(web.training) and web.chance == 0.5
    asked = ask(web, picked, model.interface)
    assert asked.images["front"].shape == (10, 3, 48, 48) and set(asked.answers) == {"dark", "bright"}
    np.testing.assert_array_equal(picked, web.draw(10, np.random.default_rng(0)))


def test_retention_is_the_share_answered(web):
    model, *_ = some()

    def told(bright, sure=1.0):
        def language_loss(images, prompts, answers):
            light = images["front"].mean((1, 2, 3)) > 0
            right = torch.tensor([(a == "bright") == bool(b) for a, b in zip(answers, light, strict=True)])
            return torch.where(right == bright, 0.0, sure)

        return language_loss

    model.language_loss = told(True)
    assert retention(model, web, model.interface) == 1.0
    model.language_loss = told(False)
    assert retention(model, web, model.interface) == 0.0


def test_co_training_learns_both_and_says_how_many_questions_are_answered(web, tmp_path):
    config = dataclasses.replace(SMALL, steps=40, batch_size=32, validate=2)
    plan = Recipe("co", (Stage(data=Mixture(web=0.5)),))
    out = train(SpeakingConfig(), Squares(200), tmp_path / "co", config, recipe=plan, web=web, progress=False)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    language = [r["language"] for r in rows if "language" in r]
    action = [r["action"] for r in rows if "action" in r]
    assert language[-1] < 0.8 * language[0] and action[-1] < action[0]
    assert all(0 <= r["val_language"] <= 1 for r in rows if "val_action" in r)
    more = dataclasses.replace(config, steps=41)
    with pytest.raises(BadValue, match="another steps"):
        train(SpeakingConfig(), Squares(200), out, more, recipe=plan, web=web, progress=False, resume=True)


def test_who_cannot_answer_is_told_so(web, tmp_path):
    with pytest.raises(BadValue, match="'palmar-nano' cannot answer questions"):
        train(palmar_nano(), Squares(100), tmp_path / "x", SMALL, recipe=recipe.co_train(), web=web, progress=False)
    with pytest.raises(BadValue, match="takes 50 % of its batches from web data and none is given"):
        train(SpeakingConfig(), Squares(100), tmp_path / "x", SMALL, recipe=recipe.co_train(), progress=False)
    with pytest.raises(BadFile, match=r"no questions.parquet"):
        WebData(tmp_path)
