"""The composed model: its parts do what they say."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from toy import batch, face, past

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models.auxiliary import VideoConfig
from palmar.models.base import Inputs, parameters, pixels
from palmar.models.compress import ResamplerConfig, TokenLearnerConfig
from palmar.models.config import from_dict, to_dict
from palmar.models.generative import UNetConfig
from palmar.models.heads import ChunkConfig, EnsembleConfig, FlowConfig, GRUConfig, TokenConfig
from palmar.models.objects import ObjectsConfig
from palmar.models.presets import bcz_tiny, gr2_tiny, octo_tiny, preset
from palmar.models.sequence import (
    CrossAttentionConfig,
    EncoderDecoderConfig,
    PassConfig,
    PooledConfig,
    SelfAttentionConfig,
)
from palmar.models.text import TowerConfig, WordsConfig
from palmar.models.transformer import (
    Cache,
    Transformer,
    TransformerConfig,
    causal,
    grid_features,
    over_keys,
    time_features,
)
from palmar.models.vision import EfficientNetConfig, PretrainedVisionConfig, ResNetConfig, SmallConvConfig, ViTConfig
from palmar.models.vla import GoalConfig, StateConfig, VLAConfig

SMALL = TransformerConfig(width=32, layers=2, heads=2, hidden=64, dropout=0.0)
VISION = {
    "conv": SmallConvConfig(channels=(8, 16), out=16),
    "ViT": ViTConfig(SMALL, patch=8),
    "ViT, CLS": ViTConfig(SMALL, cls_only=True),
    "EfficientNet": EfficientNetConfig(wide=0.25, deep=0.25, out=16),
    "ResNet": ResNetConfig(widths=(8, 16), blocks=(1, 1), film=True),
    **{
        family: PretrainedVisionConfig(family, size=32, patch=8, width=32, layers=1, heads=2)
        for family in ("vit", "clip", "siglip", "dinov2")
    },
}


def act(model, inputs):
    with torch.no_grad():
        return model.eval().act(inputs)


@pytest.mark.parametrize("name", VISION)
def test_a_vision_encoder_gives_its_grid_and_takes_language(name):
    config = VISION[name]
    torch.manual_seed(0)
    encoder = config.build(12 if config.film else 0).eval()
    x, words = torch.randn(2, 3, 48, 64), torch.randn(2, 12)
    with torch.no_grad():
        tokens = encoder(x, words if config.film else None)
    h, w = encoder.grid(48, 64)
    assert tokens.shape == (2, h * w, encoder.width) and torch.isfinite(tokens).all()
    if config.film:  # FiLM starts as the identity and is learned
        with torch.no_grad():
            assert torch.equal(tokens, encoder(x, words + 1))
            for p in encoder.parameters():
                p.add_(0.05 * torch.randn_like(p))
            assert not torch.allclose(encoder(x, words), encoder(x, words + 1), atol=1e-4)
    assert from_dict(VLAConfig, to_dict(VLAConfig(vision=config))).vision == config


def test_efficientnet_b3_and_resnet18_are_as_large_as_published():
    with torch.device("meta"):
        b3 = EfficientNetConfig(film=False).build(0)
        resnet = ResNetConfig().build(0)
    # EfficientNet-B3 has 12.2 M with its classifier of 1536 × 1000; ResNet-18 11.7 M with one of 512 × 1000
    assert parameters(b3) - parameters(b3.last) == pytest.approx(12.2e6 - 1536 * 1000, rel=0.03)
    assert parameters(resnet) == pytest.approx(11.69e6 - 513 * 1000, rel=0.01)


def test_the_unet_is_as_large_as_the_authors():
    """With 2 actions and a condition of 1028 their notebook counts 79.9 M."""
    with torch.device("meta"):
        assert parameters(UNetConfig().build(1028, 16, 2)) == pytest.approx(79.9e6, rel=0.01)


def test_a_frozen_tower_is_not_trained_and_a_missing_one_is_named(tmp_path):
    frozen = PretrainedVisionConfig("siglip", size=32, patch=8, width=32, layers=1, heads=2)
    assert parameters(frozen.build(0)) == 0 < parameters(replace(frozen, frozen=False).build(0))
    with pytest.raises(BadFile, match=r"no siglip tower at .*Next: give the local folder"):
        replace(frozen, path=str(tmp_path / "nowhere")).build(0)
    made = frozen.build(0)
    made.tower.save_pretrained(tmp_path / "siglip")
    again = replace(frozen, path=str(tmp_path / "siglip")).build(0)
    x = torch.randn(1, 3, 48, 48)
    assert torch.allclose(made.eval()(x), again.eval()(x), atol=1e-6)


FUSIONS = {
    "pass": (PassConfig(32), FlowConfig()),
    "pooled": (PooledConfig(32), ChunkConfig()),
    "keypoints": (PooledConfig(32, pool="keypoints"), ChunkConfig()),
    "self": (SelfAttentionConfig(SMALL), ChunkConfig()),
    "cross": (CrossAttentionConfig(SMALL), ChunkConfig()),
    "encoder-decoder": (EncoderDecoderConfig(SMALL, SMALL), ChunkConfig(per_step=True)),
}


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("compress", [None, TokenLearnerConfig(4, 8), ResamplerConfig(6, 1, 2)])
def test_every_fusion_takes_every_compression_and_ignores_what_is_masked(name, compress):
    fusion, head = FUSIONS[name]
    film = ResNetConfig(widths=(8, 16), blocks=(1, 1), film=True)
    config = VLAConfig(film, fusion=fusion, head=head, compress=compress, history=(-1, 0), per_camera=True)
    torch.manual_seed(0)
    model = config.build(face(config))
    given = batch(model.interface)
    if compress is not None and name == "keypoints":
        with pytest.raises(BadValue, match="keypoints of compressed tokens, which have no place"):
            model.loss(given)
        return
    model.loss(given)[0].backward()
    unused = {n for n, p in model.named_parameters() if p.grad is None}
    assert not unused, unused
    tokens = given.tokens.clone()
    tokens[~given.mask] = 100.0  # behind the end of the sentence
    torch.manual_seed(1)
    one = act(model, past(given, model.interface)).actions
    torch.manual_seed(1)
    two = act(model, replace_inputs(past(given, model.interface), tokens=tokens)).actions
    assert torch.allclose(one, two, atol=1e-4)


def replace_inputs(inputs, **changes):
    return Inputs(**({k: getattr(inputs, k) for k in ("images", "state", "tokens", "mask", "texts")} | changes))


def test_cross_attention_shows_where_it_looked():
    config = VLAConfig(SmallConvConfig((8, 16), 16), fusion=CrossAttentionConfig(SMALL), history=(-1, 0))
    model = config.build(face(config))
    given = batch(model.interface)
    out = act(model, given)
    assert {k: tuple(v.shape) for k, v in out.attention.items()} == {
        "front.words": (8, 12, 12),
        "wrist.words": (8, 8, 8),
    }
    assert all(torch.allclose(v.sum((1, 2)), torch.ones(8), atol=1e-4) for v in out.attention.values())
    seen, _ = model.perceive(given)
    assert seen.weights.shape[1] == SMALL.heads
    assert torch.allclose(seen.weights.sum(-1), torch.ones_like(seen.weights[..., 0]), atol=1e-4)


def test_token_learner_weights_sum_to_one():
    learner = TokenLearnerConfig(8, 16).build(32)
    x = torch.randn(2, 196, 32)
    assert learner(x).shape == (2, 8, 32)
    assert torch.allclose(learner.weights(x).sum(-1), torch.ones(2, 8), atol=1e-5)
    assert ResamplerConfig(48).build(32)(x).shape == (2, 48, 32)


def test_causal_and_cached_attention_agree():
    torch.manual_seed(0)
    net = Transformer(SMALL).eval()
    x = torch.randn(2, 9, 32)
    with torch.no_grad():
        whole = net(x, causal(4, 5))
        caches = net.caches(9)
        steps = [net(x[:, :5], causal(4, 1), caches=caches)]
        steps += [net(x[:, i : i + 1], caches=caches) for i in range(5, 9)]
        changed = x.clone()
        changed[:, 7] += 1
        later = net(changed, causal(4, 5))
    assert torch.allclose(whole, torch.cat(steps, 1), atol=1e-5)
    assert torch.allclose(whole[:, :7], later[:, :7], atol=1e-6) and not torch.allclose(whole[:, 7:], later[:, 7:])
    assert isinstance(caches[0], Cache) and caches[0].used == 9
    mask = torch.tensor([[True] * 9, [True] * 6 + [False] * 3])
    short = net(x[1:, :6])
    assert torch.allclose(net(x, over_keys(mask))[1:, :6], short, atol=1e-5)


def test_position_and_time_features_tell_apart():
    grid = grid_features(5, 7, 32)
    assert grid.shape == (35, 32) and torch.cdist(grid, grid).add(torch.eye(35) * 9).min() > 0.1
    t = time_features(torch.linspace(0, 1, 20), 32)
    assert torch.cdist(t, t).add(torch.eye(20) * 9).min() > 0.1
    with pytest.raises(BadValue, match="multiple of 4"):
        grid_features(2, 2, 6)


def test_words_from_scratch_and_missing_texts():
    config = VLAConfig(text=WordsConfig(SMALL), fusion=CrossAttentionConfig(SMALL))
    model = config.build(face(config))
    assert config.max_tokens == 0
    given = batch(model.interface, 2)
    empty = replace_inputs(given, tokens=torch.zeros(2, 0, 384), mask=torch.zeros(2, 0, dtype=torch.bool))
    one, same, other = (
        act(model, replace_inputs(empty, texts=t)).actions
        for t in (("pick up the red cube",) * 2, ("Pick up the RED cube!",) * 2, ("pick up the blue cube",) * 2)
    )
    assert torch.equal(one, same) and not torch.allclose(one, other)
    with pytest.raises(BadValue, match="0 texts for 2 observations"):
        act(model, replace_inputs(empty, texts=()))
    long = tuple(35 * "very " + f"{colour} cube" for colour in ("red", "blue"))
    with pytest.raises(
        BadValue, match=r"2 of 2 instructions have more than the 32 tokens .*text.longest.*: 38 in 'very"
    ):
        act(model, replace_inputs(empty, texts=long))
    wider = config.for_texts(long)
    assert wider.text.longest == 38 and config.for_texts(("pick",)) == config
    read = wider.build(model.interface).eval()
    one, other = (act(read, replace_inputs(empty, texts=(t,) * 2)).actions for t in long)
    assert not torch.allclose(one, other)
    with pytest.raises(BadValue, match=r"at most 256"):
        config.for_texts((300 * "very ",))


@pytest.mark.parametrize("family", ["bert", "t5", "clip"])
def test_a_text_tower_by_path(family, tmp_path):
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[PAD]", "[UNK]", "pick", "push", "up", "the", "red", "blue", "cube"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path
    )
    made = {
        "bert": lambda: hf.BertModel(
            hf.BertConfig(
                vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                max_position_embeddings=40,
            ), add_pooling_layer=False
        ),
        "t5": lambda: hf.T5EncoderModel(hf.T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)),
        "clip": lambda: hf.CLIPTextModel(
            hf.CLIPTextConfig(
                vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=40,
                bos_token_id=0, eos_token_id=1, pad_token_id=0,
            )
        ),
    }[family]()  # fmt: skip
    made.save_pretrained(tmp_path)
    config = VLAConfig(text=TowerConfig(str(tmp_path), family), fusion=CrossAttentionConfig(SMALL))
    model = config.build(face(config))
    given = replace_inputs(batch(model.interface, 2), texts=("pick up the red cube", "push the blue cube"))
    tokens, mask = model.text(given)
    assert tokens.shape == (2, 5, 16) and mask.sum(1).tolist() == [5, 4]
    assert torch.equal(tokens, model.text(given)[0])  # the second time from memory
    assert not torch.allclose(*act(model, given).actions)
    long = tuple(33 * "the " + f"{colour} cube" for colour in ("red", "blue"))
    with pytest.raises(BadValue, match=r"2 of 2 instructions have more than the 32 tokens .*text.longest"):
        model.text(replace_inputs(given, texts=long))
    wider = config.for_texts(long)
    assert wider.text.longest == 35 and wider.build(model.interface).text(replace_inputs(given, texts=long))[1].all()
    if family != "t5":  # which has no table of positions
        with pytest.raises(BadValue, match="at most 40"):
            config.for_texts((41 * "the ",))
    with pytest.raises(BadFile, match=f"no {family} tower at"):
        TowerConfig(str(tmp_path / "nowhere"), family).build()


def test_readouts_are_seen_by_none():
    """So a head can be added or changed and nothing before it moves (Octo)."""
    config = VLAConfig(fusion=SelfAttentionConfig(SMALL))
    model = config.build(face(config)).eval()
    given = batch(model.interface)
    with torch.no_grad():
        before = model.perceive(given)[0]
        model.fusion.readouts += 1
        after = model.perceive(given)[0]
    assert torch.equal(before.memory, after.memory) and not torch.allclose(before.context, after.context)


def test_octo_acts_on_words_or_on_a_goal_picture():
    config = octo_tiny()
    model = config.build(face(config)).eval()
    given = batch(model.interface)

    def context(inputs):
        with torch.no_grad():
            return model.perceive(inputs)[0].context

    now = past(given, model.interface)
    goal = replace_inputs(given)
    other = replace_inputs(given, images={c: torch.cat([x[:, :2], -x[:, 2:]], 1) for c, x in given.images.items()})
    assert not torch.allclose(context(now), context(goal))
    assert not torch.allclose(context(goal), context(other))
    model.train()
    torch.manual_seed(0)
    hidden_goal, hidden_words = model.hide(10_000, torch.device("cpu"))
    assert not (hidden_goal & hidden_words).any()
    assert float(hidden_goal.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(hidden_words.float().mean()) == pytest.approx(0.2, abs=0.03)


def test_gr2_learns_a_video_without_actions():
    """A bright square moves 8 px to the right every step: predicting it must beat copying the picture of now."""
    config = replace(gr2_tiny(), video=VideoConfig(offsets=(1,), weight=1.0, patch=16, transformer=SMALL))
    cameras = {"front": (32, 32)}
    interface = Interface(cameras, ("s",), ("dx",), 4, offsets=config.offsets)
    torch.manual_seed(0)
    model = config.build(interface)
    made = np.full((4, 3, 32, 32, 3), 60, np.uint8)
    for row in range(4):
        for k, x in enumerate((0, 8, 16)):
            made[row, k, 8 * row : 8 * row + 8, x : x + 8] = 230
    given = batch(interface, 4)
    given = replace(given, images={"front": pixels(torch.from_numpy(made))}, pad=torch.ones(4, 4, dtype=torch.bool))
    first = model.eval().loss(given)[1]
    copying = (given.images["front"][:, 2] - given.images["front"][:, 1]).square().mean()
    assert first["video"].item() == pytest.approx(copying.item(), rel=1e-4)  # it starts as a copy
    assert first["action"].item() == 0.0
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(60):
        model.loss(given)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        seen = model.eval().imagine(past(given, interface))["front"]
    assert seen.shape == (4, 1, 3, 32, 32)
    assert (seen - given.images["front"][:, 2:]).square().mean() < 0.5 * copying
    with pytest.raises(BadValue, match=r"does not predict pictures\. Next: take gr2"):
        VLAConfig().build(face(VLAConfig())).imagine(given)


def test_two_robots_share_the_body_of_the_model():
    """Joint training of two action spaces: both learn, each through its own head."""
    config = bcz_tiny()
    torch.manual_seed(0)
    model = config.build(face(config))
    other = model.as_robot("arm7-joints")
    assert len(other.interface.action_names) == 8 and model.robot == "own"
    one, two = batch(model.interface, 4), batch(other.interface, 4, seed=1)
    before = model.eval().loss(one)[1]["action"].item(), other.loss(two)[1]["action"].item()
    model.loss(one)[0].backward()
    assert all(p.grad is None for p in model.heads["arm7-joints"].parameters())
    assert all(p.grad is not None for p in model.heads["own"].parameters())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    model.train()
    for _ in range(15):
        (model.loss(one)[0] + other.loss(two)[0]).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model.eval().loss(one)[1]["action"].item(), other.loss(two)[1]["action"].item()
    assert after[0] < 0.8 * before[0] and after[1] < 0.8 * before[1]
    assert act(other, two).actions.shape == (4, 4, 8)
    with pytest.raises(UnknownName, match="Did you mean 'arm7-joints'"):
        model.as_robot("arm7-joint")


def test_a_missing_channel_is_known_to_be_missing_and_velocities_are_not_read():
    config = VLAConfig(state=StateConfig(noise=0.0))
    model = config.build(face(config)).eval()
    given = batch(model.interface)
    with torch.no_grad():
        for change, differs in ((("tcp.x", float("nan")), True), (("joint1.vel", 9.0), False)):
            state = given.state.clone()
            state[:, model.interface.state_names.index(change[0])] = change[1]
            now, then = (act(model, replace_inputs(given, state=s)).actions for s in (given.state, state))
            assert torch.isfinite(then).all() and torch.allclose(now, then) != differs


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (VLAConfig(history=(0, 2)), r"history is \(0, 2\); expected rising steps that end with 0"),
        (VLAConfig(fusion=PooledConfig(), goal=GoalConfig()), "goal picture with PooledConfig"),
        (VLAConfig(video=VideoConfig(patch=20)), "multiples of its patch, 20 px"),
        (VLAConfig(vision=ViTConfig(patch=20)), "multiples of the patch, 20 px"),
    ],
)
def test_what_does_not_fit_is_named(config, message):
    with pytest.raises(BadValue, match=message):
        config.build(face(config))


def test_an_interface_of_other_offsets_is_refused():
    config = VLAConfig(history=(-1, 0))
    with pytest.raises(BadValue, match=r"pictures at \(0,\), preset 'vla' needs \(-1, 0\)"):
        config.build(Interface({"front": (48, 48)}, ("s",), ("dx",)))


def test_the_configuration_is_json():
    ensemble = VLAConfig(head=EnsembleConfig(GRUConfig(8), 3), objects=ObjectsConfig(relation=1.0))
    for config in (octo_tiny(), gr2_tiny(), bcz_tiny(), ensemble):
        assert from_dict(VLAConfig, json.loads(json.dumps(to_dict(config)))) == config


@dataclass(frozen=True)
class Plain:
    width: int = 1


@dataclass(frozen=True)
class Grown:
    """It had `depth` alone before it could be given a `rate`."""

    depth: int = 2
    rate: float | None = None


@dataclass(frozen=True)
class Either:
    part: Plain | Grown = Plain()


def test_one_of_several_kinds_is_known_by_its_fields_also_when_it_grew_since():
    for config in (Either(Plain(4)), Either(Grown(4)), Either(Grown(4, 0.5))):
        assert from_dict(Either, to_dict(config)) == config
    assert from_dict(Either, {"part": {"depth": 3}}) == Either(Grown(3))
    with pytest.raises(TypeError, match=r"part\.height"):
        from_dict(Either, {"part": {"height": 3}})


def test_an_ensemble_of_heads_is_trained_and_acts_as_one_head():
    config = VLAConfig(SmallConvConfig((8, 16), 16), fusion=PooledConfig(32), head=EnsembleConfig(members=3))
    torch.manual_seed(0)
    model = config.build(face(config))
    given = batch(model.interface)
    model.loss(given)[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for m in model.head.members for p in m.parameters())
    context = model.eval().perceive(past(given, model.interface))[0].context
    with torch.no_grad():
        said = torch.stack([m.act(context) for m in model.head.members])
    torch.testing.assert_close(act(model, past(given, model.interface)).actions, said.mean(0))


@pytest.mark.parametrize("name", ["", "left.wrist"])
def test_a_camera_with_an_encoder_of_its_own_has_a_name_that_a_module_can_have(name):
    faces = {n: replace(face(preset(n)), cameras={name: (96, 96)}) for n in ("act-tiny", "octo-tiny", "palmar-tiny")}
    assert preset("act-tiny").build(faces["act-tiny"]).cameras.names == [name]
    for refused in ("octo-tiny", "palmar-tiny"):
        with pytest.raises(BadValue, match=r"expected a name without a dot.*Next: another name"):
            preset(refused).build(faces[refused])


def test_neighbours_of_the_true_bin_share_the_target_of_a_token():
    config = TokenConfig(TransformerConfig(width=16, layers=1, heads=2, hidden=16), bins=32, parallel=True)
    where = Interface({"front": (16, 16)}, ("s",), ("dx", "dy"), 4)
    truth = torch.tensor([[0, 5, 31, 16, 1, 2, 3, 4]])
    assert config.build(8, where).targets(truth) is truth
    target = replace(config, neighbours=2.0).build(8, where).targets(truth)
    assert target.shape == (1, 32, 8) and torch.equal(target.argmax(1), truth)
    torch.testing.assert_close(target.sum(1), torch.ones(1, 8))
    near = target[0, :, 3]
    assert near[15] == near[17] and float(near[14] / near[16]) == pytest.approx(np.exp(-0.5))
