"""Weights made by others: PyTorch files read without unpickling, ImageNet's from a package, and checkpoints that need neither."""

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from squares import Squares
from tiny_words import write_tokenizer
from torch import nn
from toy import face
from training import train

from palmar.data.normalize import Normalizer
from palmar.errors import BadFile, BadValue
from palmar.models import checkpoint, imagenet, vlm
from palmar.models.acting import NeuralPolicy
from palmar.models.imagenet import ImagenetConfig, Same
from palmar.models.pth import read_pth
from palmar.models.text import TowerConfig
from palmar.models.vision import PretrainedVisionConfig
from palmar.models.vla import VLAConfig
from palmar.models.vlm_presets import openvla_tiny
from palmar.train.loop import TrainConfig
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


@LAYOUTS
def test_damaged_bytes_are_a_message_or_other_numbers(tmp_path, zipped):
    rng = np.random.default_rng(0)
    base = torch.randn(5)
    whole = save({"w": base, "v": [torch.ones(3), base[1:]], "n": 3}, tmp_path / "x.pth", zipped).read_bytes()
    for at in rng.choice(len(whole), 60, replace=False):
        for bits in (0xFF, 0x80, int(rng.integers(1, 256))):
            damaged = bytearray(whole)
            damaged[at] ^= bits
            (tmp_path / "y.pth").write_bytes(damaged)
            try:
                got = read_pth(tmp_path / "y.pth")
            except BadFile as error:
                assert "y.pth" in str(error)
            else:
                assert all(isinstance(x, torch.Tensor) and x.numel() <= 5 for x in got.values())


@pytest.mark.parametrize("length", [1 << 63, 1 << 60, 1 << 40, 5])
def test_a_length_beyond_the_end_asks_for_no_memory(tmp_path, length):
    path = save({"w": torch.ones(4)}, tmp_path / "x.pth", False)
    raw = bytearray(path.read_bytes())
    raw[-24:-16] = length.to_bytes(8, "little")
    path.write_bytes(raw)
    with pytest.raises(BadFile, match=rf"storage \d+ has 16 of {4 * length} bytes"):
        read_pth(path)


def tensor(key, shape=(4,), more=()):
    """The pickle instructions of a tensor, its numbers in the storage `key`."""

    def plain(value):  # without the head and the end of a pickle of its own
        return pickle.dumps(value, 2)[2:-1]

    stride = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    kind = b"ctorch\nFloatStorage\n"
    held = b"(" + plain("storage") + kind + b"".join(map(plain, (key, "cpu", 4, *more))) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + held + b"".join(map(plain, (0, shape, stride))) + b"tR"


def program(*values):
    return b"\x80\x02](" + b"".join(values) + b"e."


def test_one_storage_cannot_fill_the_memory_by_being_asked_for_often(tmp_path):
    raw = np.arange(4096, dtype=np.float32).tobytes()
    once = tensor("0", (4096,)) + b"q\x07"
    got = read_pth(archive(tmp_path / "tied.pth", program(once, *[b"h\x07"] * 3), [raw]))
    assert len({x.data_ptr() for x in got.values()}) == 4 and all(float(x[9]) == 9 for x in got.values())
    with pytest.raises(BadFile, match="holds more than 4 times"):
        read_pth(archive(tmp_path / "x.pth", program(once, *[b"h\x07"] * 500), [raw]))


def test_members_that_grow_when_read_are_refused(tmp_path):
    path = archive(tmp_path / "x.pth", program(tensor("0")))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x/data/0", bytes(1 << 20))
    with pytest.raises(BadFile, match="compressed"):
        read_pth(path)
    path = archive(tmp_path / "y.pth", program(tensor("0")), [bytes(16)])
    raw = path.read_bytes()
    at = raw.rindex(b"PK\x01\x02")  # what the list of members says of the last
    path.write_bytes(raw[: at + 20] + (1 << 30).to_bytes(4, "little") * 2 + raw[at + 28 :])
    with pytest.raises(BadFile, match=r"y\.pth"):
        read_pth(path)


def test_a_view_of_the_older_stream_is_refused(tmp_path):
    whole = archive(tmp_path / "x.pth", program(tensor("0", more=(None,))), [bytes(16)])
    assert read_pth(whole)["0"].tolist() == [0] * 4
    with pytest.raises(BadFile, match="a storage that is part of another"):
        read_pth(archive(tmp_path / "y.pth", program(tensor("0", more=(("1", 0, 4),))), [bytes(16)]))


def test_values_that_double_are_not_written_out(tmp_path):
    """As a name, a key or a shape, a tuple of tuples of … would never end."""
    laughs = b"K\x01" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    shape = tensor("0").replace(b"K\x04\x85", laughs, 1)
    assert shape != tensor("0")
    for value in (laughs + b")R", b"}" + laughs + b"K\x01s", shape, laughs + b"Q"):
        with pytest.raises(BadFile, match=r"x\.pth"):
            read_pth(archive(tmp_path / "x.pth", program(value), [bytes(16)]))


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


def test_frozen_weights_take_no_gradient_and_others_do():
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


@pytest.mark.parametrize("made", [bert, siglip, words])
def test_training_goes_on_from_a_checkpoint_that_took_along_what_it_names(tmp_path, made):
    (tmp_path / "hub").mkdir()
    config = made(tmp_path / "hub")
    run = TrainConfig(steps=1, batch_size=4, horizon=4, validate=1, precision="fp32", validation=0.1)
    first = train(config, Squares(100), tmp_path / "first", run, progress=False)
    (tmp_path / "hub").rename(tmp_path / "gone")
    again = checkpoint.read_config(first)[0]
    second = train(again, Squares(100), tmp_path / "second", run, init=first, progress=False)
    third = train(again, Squares(100), tmp_path / "third", run, init=second, progress=False)  # as DAgger's rounds do
    assert checkpoint.load(third).model.config.preset == config.preset


@pytest.mark.parametrize("name", ["assets/../../secret", "/etc", "../hub", "assets/x"])
def test_a_checkpoint_that_names_a_folder_outside_itself_is_refused(tmp_path, name):
    (tmp_path / "hub").mkdir()
    config = words(tmp_path / "hub")
    interface = face(config)
    unit = {"state": Normalizer(np.zeros(4), np.ones(4)), "action": Normalizer(np.zeros(3), np.ones(3))}
    folder = checkpoint.save(tmp_path / "c", config.build(interface).state_dict(), config, interface, unit)
    text = (folder / "config.json").read_text().replace("assets/0", name)
    (folder / "config.json").write_text(text)
    with pytest.raises(BadFile, match="outside itself"):
        checkpoint.read_config(folder)


def test_a_tokenizer_with_code_of_its_own_does_not_run_it(tmp_path):
    write_tokenizer(tmp_path, ["pick"])
    told = json.loads((tmp_path / "tokenizer_config.json").read_text())
    told |= {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n")
    with contextlib.suppress(BadFile):  # read as a plain tokenizer, or not at all
        vlm._tokenizer(str(tmp_path))
    assert not (tmp_path / "ran").exists()
