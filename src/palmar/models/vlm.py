"""A vision-language model put together from `transformers` classes: vision towers → projector → causal language model.

The same parts in other sizes make SmolVLM, PaliGemma, Prismatic and PaLM-E, so that one file serves every preset that
stands on one. Random at `tiny`; `weights_from` reads a local checkpoint. Tokens in order: pictures, words, then whatever
a preset adds (`run` takes embeddings). Prompts are padded on the left, so that an answer always follows at once.

Axis legend: B batch · N tokens · P prefix tokens · L words · D width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import BadFile, BadValue, UnknownName, need, regular_files
from palmar.models.assets import FOLDER
from palmar.models.base import colours
from palmar.models.encoders import minilm_tokenizer

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TowerConfig:
    """A vision transformer, `siglip` or `dinov2` (with registers). image: pictures are resized to this square [px].
    mean, std: of colours 0 … 1. normed: whether the last LayerNorm is applied; Prismatic models take features without."""

    kind: str = "siglip"
    width: int = 64
    layers: int = 2
    heads: int = 4
    hidden: int = 256
    image: int = 72
    patch: int = 12
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    normed: bool = True
    activation: str = "gelu_pytorch_tanh"
    registers: int = 4

    def __post_init__(self) -> None:
        if self.image % self.patch:
            raise BadValue(f"image {self.image} px is no multiple of the patch, {self.patch} px")

    @property
    def cells(self) -> int:
        return (self.image // self.patch) ** 2


@dataclass(frozen=True)
class DecoderConfig:
    """A causal language model, `gemma` or `llama`. vocab: rows of the table of words, the last `spare` of them unused.
    tied: words are read and written with one table. tokenizer: folder of a `transformers` tokenizer; empty for the word
    pieces that come with the sentence encoder (30 522, lower case)."""

    kind: str = "llama"
    width: int = 96
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 24
    hidden: int = 256
    vocab: int = 30522
    spare: int = 0
    tied: bool = True
    theta: float = 10000.0
    epsilon: float = 1e-6
    tokenizer: str = field(default="", metadata=FOLDER)


@dataclass(frozen=True)
class VLMConfig:
    """projector: linear, mlp, fused (three layers, of Prismatic models) or shuffle (`merge`² neighbours become a token).
    bidirectional: prefix tokens see each other, as in PaliGemma; else everything is causal. start_first: the
    beginning-of-sentence token comes before the pictures (Prismatic). suffix: token ids that end every prompt (OpenVLA's
    empty one). Several towers are fused by channel, so they must cut a picture into equally many patches."""

    towers: tuple[TowerConfig, ...] = (TowerConfig(),)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    projector: str = "linear"
    merge: int = 1
    bidirectional: bool = True
    start_first: bool = False
    suffix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len({t.cells for t in self.towers}) != 1:
            raise BadValue(f"towers cut a picture into {[t.cells for t in self.towers]} patches; expected equally many")

    @property
    def side(self) -> int:
        """Tokens along each side of a picture."""
        tower = self.towers[0]
        return tower.image // tower.patch // (self.merge if self.projector == "shuffle" else 1)


class VLM(nn.Module):
    """See the module's head. Verbs: `see`, `prefix`, `run`, `logits`, `teach`, `language_loss`, `answer`, `weights_from`."""

    def __init__(self, config: VLMConfig) -> None:
        super().__init__()
        need("transformers", "learn")
        self.config = config
        width, decoder = sum(t.width for t in config.towers), config.decoder
        self.towers = nn.ModuleList(_tower(t) for t in config.towers)
        self.projector = _projector(config, width)
        self.language = _language_model(decoder)
        self.head = None if decoder.tied else nn.Linear(decoder.width, decoder.vocab, bias=False)
        self.words = Words(decoder.tokenizer, decoder.vocab)

    @property
    def width(self) -> int:
        return self.config.decoder.width

    def see(self, images: Mapping[str, Tensor] | Tensor) -> Tensor:
        """Pictures float32[B, 3, H, W] from `base.pixels`, one or one a camera → tokens [B, N, D], camera by camera."""
        views = [images] if isinstance(images, Tensor) else list(images.values())
        joined = []
        for tower, config in zip(self.towers, self.config.towers, strict=True):
            seen = [tower(recast(view, config)).last_hidden_state[:, -config.cells :] for view in views]
            joined.append(torch.stack(seen, 1))  # [B, cameras, cells, width]; class and register tokens come first
        features = torch.cat(joined, -1)
        return self.projector(features.flatten(0, 1)).unflatten(0, features.shape[:2]).flatten(1, 2)

    def embed(self, ids: Tensor) -> Tensor:
        return self.language.embed_tokens(ids)

    def prefix(
        self,
        images: Mapping[str, Tensor] | Tensor,
        texts: Sequence[str],
        extra: Tensor | None = None,
        locate: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Pictures, `extra` tokens [B, M, D] and words → [B, P, D] and bool[B, P], True where there is a token. locate:
        makes further tokens of the pictures' [B, N, D], the words' [B, L, D] and bool[B, L]."""
        seen = self.see(images)
        start = [] if self.config.start_first else self.words.start
        rows = [start + row + list(self.config.suffix) for row in self.words.rows(texts)]
        ids, there = (x.to(seen.device) for x in pad(rows, left=True))
        words = self.embed(ids)
        parts = [seen, *([] if extra is None else [extra])]
        parts += [words] if locate is None else [locate(seen, words.to(seen.dtype), there), words]
        if self.config.start_first and self.words.start:
            parts.insert(0, self.embed(torch.tensor([self.words.start], device=seen.device)).expand(len(seen), -1, -1))
        before = there.new_ones(len(there), sum(p.shape[1] for p in parts[:-1]))
        return torch.cat([p.to(seen.dtype) for p in parts], 1), torch.cat([before, there], 1)

    def run(
        self, embeddings: Tensor, there: Tensor, prefix: int, cache: Any = None, keep: bool = False
    ) -> tuple[Tensor, Any]:
        """Hidden states [B, N, D] of the newest N tokens, and the cache of keys and values if `keep`.

        there: bool[B, M ≥ N], also of the tokens in `cache`. prefix: how many tokens see each other (when bidirectional).
        """
        new = embeddings.shape[1]
        allowed = causal(there, prefix if self.config.bidirectional else 0)[:, -new:]
        positions = (there.cumsum(1) - 1).clamp(min=0)[:, -new:]
        out = self.language(
            inputs_embeds=embeddings, attention_mask=allowed[:, None], position_ids=positions,
            past_key_values=cache, use_cache=keep or cache is not None,
        )  # fmt: skip
        return out.last_hidden_state, out.past_key_values

    def logits(self, hidden: Tensor, rows: slice | None = None) -> Tensor:
        """[..., D] → [..., vocab], or of the words in `rows` only."""
        table = self.language.embed_tokens.weight if self.head is None else self.head.weight
        return hidden @ (table if rows is None else table[rows]).to(hidden.dtype).T

    def language_loss(
        self, images: Mapping[str, Tensor] | Tensor, prompts: Sequence[str], answers: Sequence[str]
    ) -> Tensor:
        """float32[B], the mean cross-entropy a word of each answer, given its picture and prompt: web data beside robot data."""
        embeddings, there = self.prefix(images, prompts)
        ids, real = (x.to(there.device) for x in pad([row + [self.words.end] for row in self.words.rows(answers)]))
        hidden = self.teach(embeddings, there, ids, real)
        wrong = F.cross_entropy(self.logits(hidden).float().transpose(1, 2), ids, reduction="none")
        return (wrong * real).sum(1) / real.sum(1)

    def teach(self, embeddings: Tensor, there: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        """Hidden states [B, L, D] that predict each of the words `ids` from the prefix and the true words before it."""
        before, start = self.embed(ids[:, :-1]), embeddings.shape[1]
        whole = torch.cat([embeddings, before.to(embeddings.dtype)], 1)
        return self.run(whole, torch.cat([there, real[:, :-1]], 1), start)[0][:, start - 1 :]

    @torch.no_grad()
    def answer(
        self, images: Mapping[str, Tensor] | Tensor, prompts: Sequence[str], longest: int = 32
    ) -> tuple[str, ...]:
        """What it says, word by word the likeliest."""
        embeddings, there = self.prefix(images, prompts)
        hidden, cache = self.run(embeddings, there, embeddings.shape[1], keep=True)
        said, ended = [], torch.zeros(len(there), dtype=torch.bool, device=there.device)
        for _ in range(longest):
            ids = self.logits(hidden[:, -1]).argmax(-1)
            said.append(torch.where(ended, self.words.end, ids))
            ended = ended | (ids == self.words.end)
            if bool(ended.all()):
                break
            there = torch.cat([there, there.new_ones(len(there), 1)], 1)
            hidden, cache = self.run(self.embed(ids)[:, None], there, 0, cache)
        return self.words.texts(torch.stack(said, 1))

    def weights_from(self, path: str | Path) -> list[str]:
        """Copy what a local `transformers` checkpoint has of this model: a whole VLM (PaliGemma, SmolVLM, LLaVA), or a
        language model or vision tower alone. Extra layers are left out. What was copied, by name (`language`, `head`,
        `towers`, `projector`). Raises `BadFile` when nothing in it fits."""
        copied = _copy_pretrained(self, Path(path))
        if not copied:
            raise BadFile(
                f"'{path}' holds neither {self.config.decoder.kind} nor the vision towers of this model. "
                "Next: another model folder, or a newer transformers"
            )
        return copied


class Words:
    """A tokenizer read when it is first needed. end: the token that ends an answer."""

    def __init__(self, folder: str, vocab: int) -> None:
        self.folder, self.vocab = folder, vocab

    @property
    def tokenizer(self) -> Any:
        tokenizer = _tokenizer(self.folder)
        if len(tokenizer) > self.vocab:
            raise BadValue(f"tokenizer '{self.folder}' has {len(tokenizer)} words; the model has {self.vocab}")
        return tokenizer

    @property
    def end(self) -> int:
        tokenizer = self.tokenizer
        return int(tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id)

    @property
    def start(self) -> list[int]:
        """The beginning-of-sentence token, if the tokenizer has one."""
        return [] if self.tokenizer.bos_token_id is None else [int(self.tokenizer.bos_token_id)]

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, without special tokens."""
        return [list(x) for x in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def texts(self, ids: Tensor) -> tuple[str, ...]:
        return tuple(self.tokenizer.batch_decode(ids.tolist(), skip_special_tokens=True))


def pad(rows: Sequence[Sequence[int]], left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of token ids → int64[B, L] and bool[B, L], True where there is one; at least one column."""
    longest = max(1, *map(len, rows))
    ids, there = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, where], there[i, where] = torch.tensor(row, dtype=torch.long), True
    return ids, there


def causal(there: Tensor, prefix: int) -> Tensor:
    """bool[B, M, M]: who (row) may look at whom (column): the past, and the first `prefix` tokens; nobody at padding."""
    n = torch.arange(there.shape[1], device=there.device)
    return there[:, None, :] & ((n[None, :] <= n[:, None]) | (n[None, :] < prefix))


def recast(images: Tensor, config: TowerConfig) -> Tensor:
    """Pictures from `base.pixels` to the size and the colours a tower was trained on."""
    size = (config.image, config.image)
    x = colours(images)
    if images.shape[-2:] != size:
        x = F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    mean, std = (x.new_tensor(v)[:, None, None] for v in (config.mean, config.std))
    return (x - mean) / std


class Shuffle(nn.Module):
    """`merge` × `merge` neighbouring cells become one token (pixel shuffle of Idefics3 and SmolVLM), then a linear map."""

    def __init__(self, merge: int, width: int, out: int) -> None:
        super().__init__()
        self.merge, self.proj = merge, nn.Linear(width * merge**2, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        m, side = self.merge, round(x.shape[1] ** 0.5)
        blocks = x.unflatten(1, (side // m, m, side // m, m)).transpose(2, 3)
        return self.proj(blocks.flatten(3).flatten(1, 2))


def _projector(config: VLMConfig, width: int) -> nn.Module:
    out = config.decoder.width
    if config.projector == "linear":
        return nn.Linear(width, out)
    if config.projector == "mlp":
        return nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.Linear(out, out))
    if config.projector == "fused":
        return nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, out), nn.GELU(), nn.Linear(out, out)
        )
    if config.projector == "shuffle":
        side = config.towers[0].image // config.towers[0].patch
        if side % config.merge:
            raise BadValue(f"merge {config.merge} does not divide {side} patches a side")
        return Shuffle(config.merge, width, out)
    raise UnknownName("projector", config.projector, ("linear", "mlp", "fused", "shuffle"))


def _tower(t: TowerConfig) -> Any:
    hf = import_module("transformers")  # late, and not by name: its types know less than its code
    shape = {
        "hidden_size": t.width,
        "num_hidden_layers": t.layers,
        "num_attention_heads": t.heads,
        "image_size": t.image,
        "patch_size": t.patch,
        "hidden_act": t.activation,
        "layer_norm_eps": 1e-6,
    }
    if t.kind == "siglip":
        model = hf.SiglipVisionModel(
            hf.SiglipVisionConfig(**shape, intermediate_size=t.hidden, vision_use_head=False)
        )  # fmt: skip
        if not t.normed:
            model.post_layernorm = nn.Identity()
    elif t.kind == "dinov2":
        if t.hidden % t.width:
            raise BadValue(f"dinov2: hidden {t.hidden} is no multiple of the width {t.width}")
        ratio = t.hidden // t.width
        model = hf.Dinov2WithRegistersModel(
            hf.Dinov2WithRegistersConfig(
                **shape, mlp_ratio=ratio, num_register_tokens=t.registers, use_mask_token=False
            )
        )
        model.embeddings.mask_token = None  # only for its own pre-training
        if not t.normed:
            model.layernorm = nn.Identity()
    else:
        raise UnknownName("vision tower", t.kind, ("siglip", "dinov2"))
    return model


def _language_model(d: DecoderConfig) -> Any:
    hf = import_module("transformers")
    kinds = {"gemma": (hf.GemmaConfig, hf.GemmaModel), "llama": (hf.LlamaConfig, hf.LlamaModel)}
    if d.kind not in kinds:
        raise UnknownName("language model", d.kind, kinds)
    config, model = kinds[d.kind]
    return model(
        config(
            vocab_size=d.vocab, hidden_size=d.width, intermediate_size=d.hidden, num_hidden_layers=d.layers,
            num_attention_heads=d.heads, num_key_value_heads=d.kv_heads, head_dim=d.head_dim, rms_norm_eps=d.epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": d.theta}, pad_token_id=None, bos_token_id=None,
            eos_token_id=None, attn_implementation="sdpa",
        )
    )  # fmt: skip


@lru_cache(maxsize=8)
def _tokenizer(folder: str) -> Any:
    need("transformers", "learn")
    from transformers import AutoTokenizer

    if folder:
        if not Path(folder).is_dir():
            raise BadFile(f"no tokenizer at '{folder}'. Next: give the folder that holds tokenizer.json")
        regular_files(folder)
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as e:
            raise BadFile(
                f"no tokenizer at '{folder}' that runs without its own code: {str(e).splitlines()[0]}. "
                "Next: another model folder, or a newer transformers"
            ) from e
    return minilm_tokenizer()


def _copy_pretrained(model: VLM, folder: Path) -> list[str]:
    """The names of what was copied: language, head, towers, projector."""
    from palmar.models.published import checkpoint_folder

    hf = import_module("transformers")
    folder = checkpoint_folder(folder, "transformers checkpoint")
    config = hf.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    name = (config.architectures or [""])[0]
    if not hasattr(hf, name):
        raise BadFile(
            f"'{folder}' is a '{name or config.model_type}', which transformers {hf.__version__} does not know. "
            "Next: another model folder, or a newer transformers"
        )
    whole = getattr(hf, name).from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    base = getattr(whole, "model", whole)
    copied: list[str] = []

    def part(*names: str) -> Any:
        return next((getattr(base, n) for n in names if hasattr(base, n)), None)

    language = part("language_model", "text_model") or (base if hasattr(base, "embed_tokens") else None)
    if language is not None:
        _copy(model.language, language, folder)
        copied.append("language")
        if model.head is not None and (head := whole.get_output_embeddings()) is not None:
            _copy(model.head, head, folder)
            copied.append("head")
    tower = part("vision_tower", "vision_model") or (base if hasattr(base, "embeddings") else None)
    for ours in model.towers:  # SigLIP has a `post_layernorm`, DINOv2 not
        if tower is not None and hasattr(ours, "post_layernorm") == hasattr(tower, "post_layernorm"):
            _copy(ours, tower, folder)
            copied.append("towers")
    if (projector := part("multi_modal_projector", "connector")) is not None:
        ours_p, theirs_p = list(model.projector.parameters()), list(projector.parameters())
        if [p.shape for p in ours_p] != [p.shape for p in theirs_p]:
            raise BadFile(
                f"'{folder}': its projector is {[tuple(p.shape) for p in theirs_p]}, this model's is another. "
                "Next: another model folder, or a newer transformers"
            )
        with torch.no_grad():
            for mine, its in zip(ours_p, theirs_p, strict=True):
                mine.copy_(its)
        copied.append("projector")
    return copied


def _copy(ours: nn.Module, theirs: nn.Module, folder: Path) -> None:
    """Every tensor of `ours` from the one of the same name in `theirs`."""
    given, wanted = theirs.state_dict(), ours.state_dict()
    for name, tensor in wanted.items():
        if name not in given or given[name].shape != tensor.shape:
            has = tuple(given[name].shape) if name in given else "nothing"
            raise BadFile(f"'{folder}': '{name}' should be {tuple(tensor.shape)}, it has {has}. Next: match the sizes")
    ours.load_state_dict({name: given[name].to(wanted[name].dtype) for name in wanted})
