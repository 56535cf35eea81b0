"""Objects located by the systems on a vision-language model: their loss, their tokens, and independent rows of a batch."""

from dataclasses import replace

import pytest
import torch
from toy import batch as noise
from toy import labels_of

from palmar.errors import BadValue
from palmar.mapping import Interface
from palmar.models.base import Inputs
from palmar.models.config import from_dict, to_dict
from palmar.models.objects import ObjectsConfig
from palmar.models.presets import preset, without_objects
from palmar.models.vlm_presets import VLM_PRESETS

FACE = Interface({"front": (48, 48), "wrist": (48, 48)}, ("a", "b"), ("dx", "dy", "gripper"), horizon=6)
TINY = sorted(n for n in VLM_PRESETS if n.endswith("-tiny"))
TEXTS = ("push the blue cube to the left side of the table", "reach it")


@pytest.mark.parametrize("name", TINY)
def test_objects_have_a_loss_where_there_are_labels_and_tokens_before_the_prompt(name):
    torch.manual_seed(0)
    config = VLM_PRESETS[name]()
    assert config.objects == ObjectsConfig()
    assert from_dict(type(config), to_dict(config)) == config
    model = config.build(FACE).eval()
    given = replace(noise(FACE, 2), texts=TEXTS)
    without = model.loss(given)[1]
    total, parts = model.loss(replace(given, labels=labels_of(FACE, 2)))
    assert {"heat", "box", "visible", "relative", "turn", "relation"} == set(parts) - set(without)
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.objects.parameters())

    both = Inputs(given.images, given.state, given.tokens, given.mask, given.texts)
    last = Inputs(
        {c: x[1:] for c, x in both.images.items()}, both.state[1:], both.tokens[1:], both.mask[1:], both.texts[1:]
    )
    with torch.no_grad():
        state = model.state_in(both.state)[:, None] if name == "palme-tiny" else None
        wide = model.prefix(both, model.config.prompt, state)
        alone = model.prefix(last, model.config.prompt, None if state is None else state[1:])
        plain = without_objects(config).build(FACE).prefix(both, model.config.prompt, state)
    assert wide.embeddings.shape[1] == plain.embeddings.shape[1] + 2 and plain.found is None
    torch.testing.assert_close(wide.found.tokens[1:], alone.found.tokens, atol=1e-4, rtol=1e-3)


def test_objects_are_left_out_of_a_preset_that_has_them():
    with pytest.raises(BadValue, match=r"'act-paper' locates no objects .* rt1-tiny"):
        without_objects(preset("act-paper"))
    assert without_objects(preset("act-tiny")).objects is None
