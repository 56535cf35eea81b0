"""Systems that stand on a vision-language model: they build, learn, act, speak, and have the published sizes."""

import json

import numpy as np
import pytest
import torch
from tiny_words import write_tokenizer

from palmar.errors import BadFile, BadValue, UnknownName
from palmar.mapping import Interface
from palmar.models.action_tokens import ActionTokens
from palmar.models.base import Batch, Inputs, pixels
from palmar.models.config import from_dict, to_dict
from palmar.models.expert import Expert, ExpertConfig, block_causal, rotation
from palmar.models.palme import PalmEConfig
from palmar.models.plans import plan_of, remaining
from palmar.models.token_vla import TokenVLAConfig
from palmar.models.vlm import VLM, DecoderConfig, TowerConfig, VLMConfig, causal, recast
from palmar.models.vlm_presets import VLM_KINDS, VLM_PRESETS, VLM_PUBLISHED, pi0_tiny

ACTIONS = ("dx", "dy", "gripper")
FACE = Interface({"front": (48, 48), "wrist": (48, 48)}, ("a", "b"), ACTIONS, horizon=6)
TEXTS = ("pick up the red cube", "push the blue cube to the left side of the table", "pick up the red cube", "reach it")
TINY = sorted(n for n in VLM_PRESETS if n.endswith("-tiny"))


def batch(seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    images = {c: pixels(torch.from_numpy(rng.integers(0, 255, (4, 48, 48, 3), np.uint8))) for c in FACE.cameras}
    pad = torch.zeros(4, 6, dtype=torch.bool)
    pad[1, 3:] = True
    return Batch(
        images, torch.from_numpy(rng.normal(size=(4, 2)).astype(np.float32)),
        torch.zeros(4, 0, 384), torch.zeros(4, 0, dtype=torch.bool), TEXTS,
        actions=torch.from_numpy(rng.normal(size=(4, 6, 3)).astype(np.float32)), pad=pad,
        done=torch.tensor([False, False, True, False]), importance=torch.tensor([1.0, 1.0, 0.5]),
    )  # fmt: skip


def plain(b: Batch) -> Inputs:
    return Inputs(b.images, b.state, b.tokens, b.mask, b.texts)


@pytest.fixture(scope="module", params=TINY)
def trained(request):
    """(name, model, its losses over 25 steps on one batch)."""
    torch.manual_seed(0)
    model = VLM_PRESETS[request.param]().build(FACE).train()
    optimizer, losses = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.0, fused=True), []
    for _ in range(25):
        loss, parts = model.loss(batch())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(parts["loss"]))
    return request.param, model.eval(), losses


def test_a_preset_learns_its_batch_and_acts(trained):
    name, model, losses = trained
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:3]), losses
    with torch.inference_mode():
        out = model.act(plain(batch()))
    assert out.actions.shape == (4, 6, 3) and torch.isfinite(out.actions).all() and out.done.shape == (4,)
    assert len(out.texts) == (4 if name.startswith("palme") else 0)
    if out.confidence is not None:
        assert ((out.confidence > 0) & (out.confidence <= 1)).all()


def test_every_part_is_trained_and_no_weight_is_stored_twice(trained):
    _, model, _ = trained
    model.train()
    model.zero_grad()
    model.loss(batch())[0].backward()
    unused = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    head = {"vlm.head.weight"} if model.config.preset in ("smolvla-tiny",) else set()
    head |= {n for n in unused if n.startswith("objects.relate")}  # this batch has no labels
    assert not unused - head - {n for n in unused if is_past_the_cache(n, model)}, unused
    limits = {"reach"} & dict(model.named_buffers()).keys()  # of action words, from the data
    assert model.state_dict().keys() == dict(model.named_parameters()).keys() | limits
    model.eval()


def is_past_the_cache(name: str, model) -> bool:
    """What follows the last layer's keys and values only serves the done head or speech."""
    last = len(model.vlm.language.layers) - 1
    return name.startswith((f"vlm.language.layers.{last}", "vlm.language.norm"))


def test_padding_of_other_rows_changes_nothing(trained):
    name, model, _ = trained
    b = batch()
    one = Inputs({c: x[3:] for c, x in b.images.items()}, b.state[3:], b.tokens[3:], b.mask[3:], b.texts[3:])
    with torch.inference_mode():
        torch.manual_seed(1)
        alone = model.act(one)
        if name.startswith(("pi0", "smolvla")):
            wide = Inputs({c: x[2:] for c, x in b.images.items()}, b.state[2:], b.tokens[2:], b.mask[2:], b.texts[2:])
            torch.manual_seed(1)
            noise = torch.randn(1, 6, 3)
            seen = [model._look(x) for x in (one, wide)]
            speeds = [
                model._velocity(
                    noise.expand(len(x.state), -1, -1), torch.full((len(x.state),), 0.3), x.state, cache, prefix.there
                )[-1]
                for x, (cache, prefix, _) in zip((one, wide), seen, strict=True)
            ]
            torch.testing.assert_close(speeds[0], speeds[1], atol=2e-4, rtol=1e-3)
        else:
            together = model.act(plain(b))
            torch.testing.assert_close(alone.done[0], together.done[3], atol=2e-4, rtol=1e-3)
            torch.testing.assert_close(alone.actions[0], together.actions[3], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(VLM_PRESETS))
def test_configurations_survive_json(name):
    config = VLM_PRESETS[name]()
    assert config.preset == name and config.max_tokens == 0 and config.offsets == (0,)
    assert from_dict(VLM_KINDS[type(config).__name__], json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("system", sorted(VLM_PUBLISHED))
def test_paper_sizes(system):
    face = Interface(
        {"front": (224, 224)}, tuple(map(str, range(32))), tuple(map(str, range(32 if system == "pi0" else 7))), 50
    )
    with torch.device("meta"):
        model = VLM_PRESETS[f"{system}-paper"]().build(face)
    count = sum(p.numel() for p in model.parameters())
    assert count == pytest.approx(VLM_PUBLISHED[system].parameters, rel=0.15)


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    """A VLM configuration with a tokenizer of its own, by path, that knows every word of these tests."""
    folder = tmp_path_factory.mktemp("words")
    said = " ; ".join([*(s for t in TEXTS for s in plan_of(t)), *TEXTS, "done", "is it dark or very light ?"])
    known = write_tokenizer(folder, said.split())
    return VLMConfig(decoder=DecoderConfig(vocab=len(known), tokenizer=str(folder)))


def test_speech_is_learned_beside_actions(speaking):
    torch.manual_seed(0)
    tokens = ActionTokens(
        bins=16, limit=3.0
    )  # the words of the actions are the last of the vocabulary: here, real words
    model = TokenVLAConfig(speaking, tokens).build(FACE)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, fused=True)
    shade = torch.stack([torch.full((3, 48, 48), x) for x in (-1.5, 1.5)])
    asked, told = ["is it dark or light ?"] * 2, ["it is dark", "it is very light"]
    before = model.language_loss({"any": shade}, asked, told)
    alone = torch.cat([model.language_loss(shade[i : i + 1], asked[:1], told[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(before, alone)  # one loss for each, and the padding of a longer answer adds nothing
    for _ in range(40):
        optimizer.zero_grad()
        loss = model.language_loss(shade, asked, told).mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * before.mean()
    assert model.vlm.answer(shade, asked) == tuple(told)


def test_the_cache_gives_what_no_cache_gives():
    torch.manual_seed(0)
    for bidirectional in (True, False):
        vlm = VLM(VLMConfig(bidirectional=bidirectional)).eval()
        x, there = torch.randn(2, 7, vlm.width), torch.ones(2, 7, dtype=torch.bool)
        there[1, 2] = False
        with torch.no_grad():
            whole, _ = vlm.run(x, there, 4)
            start, cache = vlm.run(x[:, :4], there[:, :4], 4, keep=True)
            rest = []
            for i in range(4, 7):
                h, cache = vlm.run(x[:, i : i + 1], there[:, : i + 1], 0, cache)
                rest.append(h)
        torch.testing.assert_close(torch.cat([start, *rest], 1)[there], whole[there], atol=1e-5, rtol=1e-4)


def test_who_sees_whom():
    there = torch.tensor([[True, False, True, True]])
    assert causal(there, 2)[0].int().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]
    assert causal(there, 3)[0, 0].int().tolist() == [1, 0, 1, 0]
    assert block_causal([1, 2]).int().tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert block_causal([1, 2], causal_last=True).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_the_state_does_not_see_the_actions():
    torch.manual_seed(0)
    d = DecoderConfig()
    expert = Expert(ExpertConfig(), d)
    cache = [
        (torch.randn(1, d.kv_heads, 5, d.head_dim), torch.randn(1, d.kv_heads, 5, d.head_dim)) for _ in range(d.layers)
    ]
    x, there = torch.randn(1, 4, 72), torch.ones(1, 5, dtype=torch.bool)
    other = x.clone()
    other[:, 1:] += 1
    one, two = (expert(v, cache, there, block_causal([1, 3])) for v in (x, other))
    torch.testing.assert_close(one[:, 0], two[:, 0])
    assert (one[:, 1] - two[:, 1]).abs().max() > 1e-3


def test_frozen_vlm_keeps_no_gradient_and_the_expert_still_learns():
    model = pi0_tiny().build(FACE)
    model.vlm.requires_grad_(False)
    cache, _, hidden = model._look(plain(batch()))
    assert not hidden.requires_grad and not cache[0][0].requires_grad
    model.loss(batch())[0].backward()
    assert model.action_out.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.vlm.parameters())


def test_positions_are_turned_as_transformers_does():
    from transformers.models.llama.modeling_llama import LlamaConfig, LlamaRotaryEmbedding, apply_rotary_pos_emb

    q, at = torch.randn(2, 3, 4, 8), torch.tensor([[0, 1, 2, 3], [5, 6, 7, 8]])
    shape = {"hidden_size": 24, "num_attention_heads": 3, "head_dim": 8}
    rope = LlamaRotaryEmbedding(LlamaConfig(**shape, rope_parameters={"rope_type": "default", "rope_theta": 500.0}))
    theirs, _ = apply_rotary_pos_emb(q, q, *rope(q, at))
    torch.testing.assert_close(rotation(at, 8, 500.0)(q), theirs, atol=1e-5, rtol=1e-4)


def test_action_words():
    plain_bins = ActionTokens()
    x = torch.tensor([-1.0, -0.999, 0.0, 0.5, 1.0, 3.0])
    words = plain_bins.words(x, 32000)
    digitized = np.digitize(x.clamp(-1, 1).numpy(), np.linspace(-1, 1, 256))  # OpenVLA's own formula
    assert words.tolist() == (32000 - digitized).tolist()
    edges = np.linspace(-1, 1, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    np.testing.assert_allclose(plain_bins.actions(words, 32000), middles[np.clip(digitized - 1, 0, 254)], atol=1e-6)
    wide = ActionTokens(limit=10.0, compand=True, anchors=3)
    x = torch.linspace(-9, 9, 200)
    assert (wide.actions(wide.words(x, 500), 500) - x).abs().max() < 0.15
    assert (wide.actions(wide.words(x / 20, 500), 500) - x / 20).abs().max() < 0.015
    assert wide.steps(7) == [0, 3, 6] and wide.steps(2) == [0, 1] and plain_bins.steps(9) == [0]
    line = torch.arange(7.0)[None, :, None]
    torch.testing.assert_close(wide.fill(line[:, [0, 3, 6]], 7), line)
    assert plain_bins.fill(line[:, :1] + 2, 4).flatten().tolist() == [2.0] * 4
    with pytest.raises(BadValue, match="bins 2"):
        ActionTokens(bins=2)


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ("pick up the red cube", ("move to the red cube", "grasp the red cube", "lift the red cube")),
        ("Put the ball on the blue plate.",
         ("move to the ball", "grasp the ball", "move to the blue plate", "place on the blue plate", "open gripper")),
        ("push the box left", ("move to the box", "close gripper", "push the box left")),
        ("push the box to the left side", ("move to the box", "close gripper", "push the box to the left side")),
        ("push the box", ("move to the box", "close gripper", "push the box")),
        ("go to the red square", ("move to the red square",)),
        ("dance", ("dance",)),
    ],
)  # fmt: skip
def test_plans(said, steps):
    assert plan_of(said) == steps


def test_what_is_left_of_a_plan():
    plan = plan_of("put the ball on the plate")
    assert remaining(plan, False, False) == plan
    assert remaining(plan, True, False) == plan[2:]
    assert remaining(plan, True, True) == ("done",)


def test_a_plan_is_spoken_and_its_first_skill_acts(speaking):
    torch.manual_seed(0)
    face = Interface({"front": (48, 48)}, ("a", "b"), ACTIONS, horizon=6)
    model = PalmEConfig(speaking).build(face)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, fused=True)
    b = batch()
    for _ in range(70):
        optimizer.zero_grad()
        loss, parts = model.loss(b)
        loss.backward()
        optimizer.step()
    assert float(parts["plan"]) < 0.2, parts
    with torch.no_grad():
        out = model.eval().act(plain(b))
    left = [" ; ".join(p) for p in model.plans(b)]
    assert list(out.texts) == left and out.texts[2] == "done" and len({*out.texts}) > 2
    weight = (~b.pad).float()[..., None]
    error = ((out.actions - b.actions).abs() * weight).mean()
    assert error < 0.7 * (b.actions.abs() * weight).mean()


def test_pictures_reach_a_tower_in_its_own_colours():
    image = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
    image[..., 0] = 255
    tower = TowerConfig(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    seen = recast(pixels(image), tower)
    assert seen.shape == (1, 3, 72, 72)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    torch.testing.assert_close(seen[0, :, 10, 10], torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_pixel_shuffle_is_the_published_one():
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector

    from palmar.models.vlm import Shuffle

    x = torch.arange(2 * 16 * 3.0).reshape(2, 16, 3)
    ours = Shuffle(2, 3, 5)
    blocks = SmolVLMConnector.pixel_shuffle(ours, x, 2)
    torch.testing.assert_close(ours(x), ours.proj(blocks))


def small_vlm(**kwargs) -> VLM:
    tower = TowerConfig(width=32, layers=2, heads=2, hidden=64, image=48, patch=12)
    decoder = DecoderConfig(**{"kind": "gemma", "width": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 16,
                               "hidden": 64, "vocab": 300} | kwargs)  # fmt: skip
    return VLM(VLMConfig((tower,), decoder))


def test_weights_of_a_published_vlm_by_path(tmp_path):
    import transformers as hf

    torch.manual_seed(3)
    vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
              "image_size": 48, "patch_size": 12, "vision_use_head": False}  # fmt: skip
    text = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
            "intermediate_size": 64, "vocab_size": 300, "model_type": "gemma"}  # fmt: skip
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**vision).to_dict(), text_config=text, projection_dim=32
    )
    published = hf.PaliGemmaForConditionalGeneration(config).eval()
    published.save_pretrained(tmp_path)

    ours = small_vlm().eval()
    before = ours.language.layers[0].mlp.up_proj.weight.clone()
    assert ours.weights_from(tmp_path) == ["language", "towers", "projector"]
    assert not torch.equal(before, ours.language.layers[0].mlp.up_proj.weight)
    torch.testing.assert_close(
        ours.language.layers[1].mlp.up_proj.weight, published.model.language_model.layers[1].mlp.up_proj.weight
    )
    image = pixels(torch.randint(0, 255, (1, 48, 48, 3), dtype=torch.uint8))
    with torch.no_grad():
        theirs = published.model.vision_tower(recast(image, ours.config.towers[0])).last_hidden_state
        torch.testing.assert_close(ours.see(image), published.model.multi_modal_projector(theirs), atol=1e-5, rtol=1e-4)
    with pytest.raises(BadFile, match="should be"):
        small_vlm(hidden=128).weights_from(tmp_path)


def test_weights_of_another_kind_or_pickled_are_refused(tmp_path):
    vlm = small_vlm()
    with pytest.raises(BadFile, match="no transformers checkpoint at"):
        vlm.weights_from(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(BadFile, match=r"is a pickle.*Next: palmar convert"):
        vlm.weights_from(tmp_path)


def test_bad_settings_are_named():
    with pytest.raises(BadValue, match="no multiple of the patch"):
        TowerConfig(image=50)
    with pytest.raises(BadValue, match="equally many"):
        VLMConfig((TowerConfig(), TowerConfig(patch=8)))
    with pytest.raises(UnknownName, match="projector 'glue'"):
        VLM(VLMConfig(projector="glue"))
    with pytest.raises(UnknownName, match=r"language model 'gema'.*'gemma'"):
        VLM(VLMConfig(decoder=DecoderConfig(kind="gema")))
    with pytest.raises(BadValue, match="30522 words; the model has 100"):
        TokenVLAConfig(VLMConfig(decoder=DecoderConfig(vocab=100))).build(FACE).vlm.words.rows(["go"])
