"""Weights made by others: PyTorch files read without unpickling, ImageNet's from a package, and checkpoints that need neither."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_words import write_tokenizer
from torch import nn
from toy import face

from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, BadValue
from palmar.models import checkpoint, imagenet
from palmar.models.acting import NeuralPolicy
from palmar.models.imagenet import ImagenetConfig, Same
from palmar.models.pth import read_pth
from palmar.models.text import TowerConfig
from palmar.models.vision import PretrainedVisionConfig
from palmar.models.vla import VLAConfig
from palmar.models.vlm_presets import openvla_tiny
from palmar.types import Observation

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "stream"])


def save(value, path, zipped):
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@LAYOUTS
def test_tensors_of_a_pytorch_file_are_read_without_running_it(tmp_path, zipped):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    base = torch.randn(4, 6)
    file = {
        "model": net.state_dict(), "step": 7, "name": "x", "lr": 0.5, "on": True, "none": None,
        "optimiser": {"state": {0: {"mean": base[1:, ::2]}}, "groups": [{"params": [0, 1]}]},
        "list": [torch.arange(3), torch.ones(2, dtype=torch.bfloat16)], "tied": (base, base.t()),
        "parameter": nn.Parameter(torch.ones(1)), "empty": torch.empty(0), "bits": torch.tensor([True, False]),
    }  # fmt: skip
    got = read_pth(save(file, tmp_path / "x.pth", zipped))
    wanted = {f"model.{k}": v for k, v in net.state_dict().items()} | {
        "optimiser.state.0.mean": base[1:, ::2], "list.0": file["list"][0], "list.1": file["list"][1], "tied.0": base,
        "tied.1": base.t(), "parameter": torch.ones(1), "empty": torch.empty(0), "bits": file["bits"],
    }  # fmt: skip
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype and torch.equal(got[name], value), name


class Bomb:
    """What a pickle from a stranger may hold."""

    def __init__(self, made):
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


@LAYOUTS
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path, zipped):
    made = tmp_path / "ran"
    with pytest.raises(BadFile, match="mkdir"):
        read_pth(save({"w": torch.ones(1), "x": Bomb(made)}, tmp_path / "x.pth", zipped))
    assert not made.exists()


@LAYOUTS
def test_any_cut_of_a_file_is_a_message(tmp_path, zipped):
    whole = save({"w": torch.randn(50), "v": torch.ones(3)}, tmp_path / "x.pth", zipped).read_bytes()
    for end in [0, 1, 7, *range(20, len(whole) - 24, 37)]:  # a zip's last comment may go
        (tmp_path / "cut.pth").write_bytes(whole[:end])
        with pytest.raises(BadFile, match=r"cut\.pth"):
            read_pth(tmp_path / "cut.pth")


def archive(path, program, storages=()):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("x/data.pkl", program)
        for i, raw in enumerate(storages):
            z.writestr(f"x/data/{i}", raw)
    return path


def test_files_that_would_never_end_are_refused(tmp_path):
    ring: dict[str, object] = {}
    ring["again"] = ring
    laughs: list[object] = [0]
    for _ in range(40):
        laughs = [laughs, laughs]
    for value in (ring, laughs):
        with pytest.raises(BadFile, match="values"):
            read_pth(archive(tmp_path / "x.pth", pickle.dumps(value, 2)))


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path):
    path = save({"w": torch.ones(1).expand(1 << 50)}, tmp_path / "x.pth", True)
    with pytest.raises(BadFile, match="cut from 1 numbers"):
        read_pth(path)


def test_what_is_no_pytorch_file_is_a_message(tmp_path):
    buffer = io.BytesIO()
    torch.save(OrderedDict(w=torch.ones(2)), buffer)
    for i, raw in enumerate((b"hello", b"\x80\x02K\x01.", b"\x80\x02c__main__\nx\n.", buffer.getvalue()[:200])):
        (tmp_path / f"{i}.pth").write_bytes(raw)
        with pytest.raises(BadFile, match="Next"):
            read_pth(tmp_path / f"{i}.pth")
    with pytest.raises(BadFile, match="no file"):
        read_pth(tmp_path / "nothing.pth")


# ------------------------------------------------------------------------------------------------ ImageNet


def picture(size=64):
    """Smooth, in the units of `base.pixels`."""
    v, u = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    return ((torch.stack([v, u, v * u]) * 255 - 115) / 64)[None]


def test_imagenet_features_are_those_of_the_published_network():
    """Its first block computed the long way, with batch normalisation, from the file."""
    encoder = ImagenetConfig(stages=1).build(0).eval()
    w = imagenet._weights()

    def norm(x, name):
        stats = (w[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *stats, eps=1e-3)

    rgb = (picture() * 64 + 115) / 255
    x = (rgb - torch.tensor(imagenet.MEAN).view(3, 1, 1)) / torch.tensor(imagenet.STD).view(3, 1, 1)
    x = F.relu6(norm(F.conv2d(F.pad(x, (0, 1, 0, 1)), w["_conv_stem.weight"], stride=2), "_bn0"))
    x = F.conv2d(x, w["_blocks.0._depthwise_conv.weight"], padding=1, groups=32)
    x = norm(F.conv2d(F.relu6(norm(x, "_blocks.0._bn1")), w["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")
    with torch.no_grad():
        assert torch.allclose(encoder(picture()), x.flatten(2).transpose(1, 2), atol=1e-4)


@pytest.mark.parametrize("stages", range(1, 8))
@pytest.mark.parametrize("height, width", [(96, 96), (72, 104)])
def test_the_grid_is_what_comes_out(stages, height, width):
    encoder = ImagenetConfig(stages).build(0)
    rows, columns = encoder.grid(height, width)
    assert encoder(torch.zeros(1, 3, height, width)).shape == (1, rows * columns, encoder.width)


def test_same_padding_is_tensorflows():
    conv = Same(1, 1, 3, 2)
    with torch.no_grad():
        conv.weight.copy_(torch.ones_like(conv.weight))
        conv.bias.zero_()
        even, odd = conv(torch.ones(1, 1, 4, 4))[0, 0], conv(torch.ones(1, 1, 5, 5))[0, 0]
    assert even.tolist() == [[9, 6], [6, 4]]  # one pixel, right and below
    assert odd.tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_frozen_weights_stay_and_others_learn():
    for frozen in (True, False):
        encoder = ImagenetConfig(2, frozen).build(0).train()
        out = encoder(picture())
        assert out.requires_grad is not frozen and all(p.requires_grad is not frozen for p in encoder.parameters())


def test_a_number_of_stages_there_is_not_is_refused():
    with pytest.raises(BadValue, match="8 stages"):
        ImagenetConfig(8).build(0)


def test_a_checkpoint_loads_where_the_pretrained_weights_are_not(tmp_path, monkeypatch):
    """Its own file holds them; the robot needs no package and no folder."""
    config = VLAConfig(vision=ImagenetConfig(3))
    model = config.build(face(config))
    unit = {"state": Normalizer(np.zeros(4), np.ones(4)), "action": Normalizer(np.zeros(3), np.ones(3))}
    folder = checkpoint.save(tmp_path / "c", model.state_dict(), config, model.interface, unit)
    monkeypatch.setattr(imagenet, "_weights", lambda: pytest.fail("read again"))
    again = checkpoint.load(folder).model.state_dict()
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(again[k], v) for k, v in model.state_dict().items())


# ------------------------------------------------------------------------------------------------ folders a model names


def bert(folder):
    import transformers as hf

    words = write_tokenizer(folder, ["pick", "push", "up", "the", "red", "blue", "cube", "ball", "left"])
    config = hf.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40,
    )  # fmt: skip
    hf.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "</s>"
    tokenizer.save_pretrained(folder)
    return VLAConfig(text=TowerConfig(str(folder)))


def siglip(folder):
    import transformers as hf

    config = hf.SiglipVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    hf.SiglipVisionModel(config).save_pretrained(folder)
    return VLAConfig(vision=PretrainedVisionConfig("siglip", str(folder)))


def words(folder):
    write_tokenizer(folder, ["pick", "push", "up", "the", "red", "blue", "cube", "ball", "left"])
    tiny = openvla_tiny()
    return replace(tiny, vlm=replace(tiny.vlm, decoder=replace(tiny.vlm.decoder, tokenizer=str(folder))))


@pytest.mark.parametrize("made", [bert, siglip, words])
def test_a_checkpoint_takes_along_what_it_names_and_moves(tmp_path, made):
    (tmp_path / "hub").mkdir()
    config = made(tmp_path / "hub")
    torch.manual_seed(0)
    interface = face(config)
    model = config.build(interface).eval()
    unit = {"state": Normalizer(np.zeros(4), np.ones(4)), "action": Normalizer(np.zeros(3), np.ones(3))}
    checkpoint.save(tmp_path / "c", model.state_dict(), config, interface, unit)
    rng = np.random.default_rng(0)
    obs = Observation(
        {c: rng.integers(0, 255, (*s, 3), np.uint8) for c, s in interface.cameras.items()}, np.zeros(4, np.float32),
        "pick up the red cube", 0.0,
    )  # fmt: skip
    before = NeuralPolicy(model, *unit.values()).act(obs).actions

    (tmp_path / "hub").rename(tmp_path / "gone")
    (tmp_path / "c").rename(tmp_path / "robot")
    policy = checkpoint.load(tmp_path / "robot")
    np.testing.assert_allclose(policy.act(obs).actions, before, atol=1e-5)
    assert not list((tmp_path / "robot" / "assets").rglob("*.safetensors")), "weights are in the checkpoint once"
    again = checkpoint.save(tmp_path / "again", policy.model.state_dict(), policy.model.config, interface, unit)
    np.testing.assert_allclose(checkpoint.load(again).act(obs).actions, before, atol=1e-5)
