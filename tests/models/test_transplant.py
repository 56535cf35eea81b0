"""A model of one robot begins from a checkpoint of another: what fits is taken, by name and size, and nothing else changes."""

import torch

from palmar.mapping import Interface
from palmar.models import checkpoint
from palmar.models.presets import palmar_tiny
from palmar.models.transplant import is_checkpoint, namesakes, transplant
from palmar.policy import shipped


def test_cameras_find_their_namesakes():
    theirs = {"front": 1, "wrist": 2}
    assert namesakes({"wrist": 0, "high": 0, "left_wrist": 0}, theirs) == {
        "wrist": "wrist", "high": "front", "left_wrist": "wrist",
    }  # fmt: skip


def test_what_fits_is_taken_and_the_rest_stays():
    torch.manual_seed(0)
    size = (96, 96)
    interface = Interface({"high": size, "wrist": size}, ("a.pos", "b.pos"), ("a", "b"))
    model = palmar_tiny().build(interface)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    (said,) = transplant(model, shipped())
    assert "arm7" in said
    after = model.state_dict()
    source = checkpoint.load(shipped()).model.state_dict()
    eyes = [n for n in after if n.startswith("trunks.high.")]
    assert eyes and all(torch.equal(after[n], source[n.replace("high", "front")]) for n in eyes)
    assert any(n.startswith("reader.") and torch.equal(after[n], source[n]) for n in after)
    arm = [n for n in after if n.startswith("head.") and source[n].shape != after[n].shape]
    assert arm and all(torch.equal(after[n], before[n]) for n in arm)


def test_a_folder_of_something_else_is_no_checkpoint(tmp_path):
    assert is_checkpoint(shipped())
    assert not is_checkpoint(tmp_path)
