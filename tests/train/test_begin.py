"""Where a run begins: published weights by path, and pictures without actions."""

import json
from dataclasses import replace

import pytest
import torch
from squares import Squares
from tiny_words import write_tokenizer
from training import train

from palmar.data.reader import Dataset
from palmar.errors import BadValue
from palmar.lab.collect import CollectConfig, collect
from palmar.models import checkpoint
from palmar.models.presets import preset
from palmar.models.vlm import _language_model
from palmar.train.loop import TrainConfig
from palmar.train.recipe import recipe
from palmar.train.track import METRICS
from palmar.train.world import seed

SHORT = TrainConfig(steps=4, batch_size=8, horizon=4, validate=1, log_every=1, precision="fp32")


def rows(run):
    return [json.loads(line) for line in (run / METRICS).read_text().splitlines()]


def test_a_run_begins_from_a_published_language_model_and_reads_by_its_words(tmp_path):
    hub = tmp_path / "hub"
    config = preset("pi0-tiny")
    torch.manual_seed(7)
    published = _language_model(config.vlm.decoder)
    published.save_pretrained(hub)
    words = write_tokenizer(hub, ["reach", "the", "red", "green", "blue", "yellow", "square"])
    asleep = replace(SHORT, steps=1, lr=1e-12, ema=0.0)
    out = train(config, Squares(200), tmp_path / "run", asleep, pretrained=hub, progress=False)
    hub.rename(tmp_path / "gone")  # the checkpoint needs it no more
    policy = checkpoint.load(out)
    theirs, mine = published.state_dict(), policy.model.vlm.language.state_dict()
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-6) for k in mine)
    assert len(policy.model.vlm.words.tokenizer) == len(words)


def test_only_some_systems_have_somewhere_to_put_them(tmp_path):
    with pytest.raises(BadValue, match="'act-tiny' stands on no vision-language model"):
        train(preset("act-tiny"), Squares(100), tmp_path / "run", SHORT, pretrained=tmp_path, progress=False)


def test_video_first_teaches_pictures_and_leaves_the_head_alone(tmp_path):
    """Until the second stage nothing of the actions is seen, so only decay may move the head."""
    demos = collect(tmp_path / "data", CollectConfig(episodes=3, tasks=("reach",)), processes=1, progress=False)
    data, plan = Dataset(demos.root), recipe("video")
    watching = replace(plan, stages=(replace(plan.stages[0], share=1.0),))
    config = replace(SHORT, steps=12, weight_decay=0.0, ema=0.0)
    torch.manual_seed(0)
    out = train(preset("gr2-tiny"), data, tmp_path / "watch", config, recipe=watching, progress=False)
    seen = rows(out)
    assert all(r["action"] == 0 for r in seen if "action" in r)
    pictures = [r["video"] for r in seen if "video" in r]
    assert pictures[-1] < pictures[0]
    both = train(preset("gr2-tiny"), data, tmp_path / "both", config, recipe=plan, progress=False)
    acted = [r["action"] for r in rows(both) if "action" in r]
    assert acted[0] == 0 and acted[-1] > 0
    watched, acting = (checkpoint.load(p).model for p in (out, both))
    seed(config.seed)
    new = preset("gr2-tiny").build(watched.interface).state_dict()
    head = [k for k in new if k.startswith("heads.")]
    assert head and all(torch.equal(watched.state_dict()[k], new[k]) for k in head)
    assert not all(torch.equal(acting.state_dict()[k], new[k]) for k in head)


def test_a_model_that_predicts_no_pictures_is_not_shown_video(tmp_path):
    with pytest.raises(BadValue, match="stage 'watch' of recipe 'video' shows no actions, and 'act-tiny'"):
        train(preset("act-tiny"), Squares(100), tmp_path / "run", SHORT, recipe=recipe("video"), progress=False)
