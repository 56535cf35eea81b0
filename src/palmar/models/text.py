"""From an instruction to tokens: the frozen sentence encoder's vectors, words learned from scratch, or a text tower.

A configuration builds its encoder; all are called alike: inputs → tokens [B, L, width] and mask bool[B, L].
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from palmar.errors import BadFile, BadValue, UnknownName, need, regular_files
from palmar.models.assets import FOLDER
from palmar.models.base import Inputs, wants_weights
from palmar.models.encoders import LONGEST, TOKEN_WIDTH, enough_tokens
from palmar.models.layers import CrossAttention
from palmar.models.lengths import Limit
from palmar.models.transformer import Transformer, TransformerConfig, over_keys


class TextEncoder(nn.Module):
    """width: of its tokens."""

    width: int

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def texts_of(inputs: Inputs) -> Sequence[str]:
    """The instructions themselves. Raises `BadValue` when they are not there."""
    if len(inputs.texts) != len(inputs.state):
        raise BadValue(
            f"{len(inputs.texts)} texts for {len(inputs.state)} observations; this model reads the words itself. Next: "
            "give Inputs.texts"
        )
    return inputs.texts


@dataclass(frozen=True)
class VectorsConfig:
    """The vectors that come in `Inputs.tokens`. max_tokens: longer instructions are refused."""

    max_tokens: int = 32

    def for_texts(self, texts: Sequence[str]) -> VectorsConfig:
        """See `ModelConfig.for_texts`."""
        return replace(self, max_tokens=enough_tokens(texts, self.max_tokens))

    def build(self) -> TextEncoder:
        return Vectors()


class Vectors(TextEncoder):
    """all-MiniLM-L6-v2 is frozen and outside: here its vectors are only normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.width = TOKEN_WIDTH
        self.norm = nn.LayerNorm(TOKEN_WIDTH)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return self.norm(inputs.tokens.to(self.norm.weight.dtype)), inputs.mask


@dataclass(frozen=True)
class WordsConfig:
    """A transformer over words, from scratch. buckets: words are hashed into so many, so that there is no vocabulary to
    fit or to lose; two words may meet in one. longest: words of an instruction and the begin mark; longer ones are refused."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    buckets: int = 4096
    longest: int = 32

    def for_texts(self, texts: Sequence[str]) -> WordsConfig:
        """See `ModelConfig.for_texts`."""
        lengths = [1 + len(words_of(t)) for t in texts]
        return replace(self, longest=Limit(self.longest, "text.longest").raised(texts, lengths, LONGEST))

    @property
    def max_tokens(self) -> int:
        return 0

    def build(self) -> TextEncoder:
        return Words(self)


class Words(TextEncoder):
    """Hashed words, learned positions, a transformer. Case and punctuation do not matter."""

    def __init__(self, config: WordsConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.transformer.width
        self.embed = nn.Embedding(config.buckets, self.width)
        self.positions = nn.Parameter(torch.randn(config.longest, self.width) * 0.02)
        self.encoder = Transformer(config.transformer)

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        rows = [self.numbers(t) for t in texts_of(inputs)]
        Limit(self.config.longest, "text.longest").check(inputs.texts, [len(r) for r in rows])
        device = self.positions.device
        ids = nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True).to(device)
        mask = torch.arange(ids.shape[1], device=device) < torch.tensor([len(r) for r in rows], device=device)[:, None]
        return self.encoder(self.embed(ids) + self.positions[: ids.shape[1]], over_keys(mask)), mask

    def numbers(self, text: str) -> list[int]:
        """A begin mark, 0, and a number for each word, the same on every machine."""
        return [0] + [1 + zlib.crc32(w.encode()) % (self.config.buckets - 1) for w in words_of(text)]


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@dataclass(frozen=True)
class TowerConfig:
    """A text tower of `transformers` with its tokenizer, from a local folder in the Hugging Face layout. longest: tokens of an
    instruction; longer ones are refused."""

    path: str = field(metadata=FOLDER)
    family: Literal["bert", "t5", "clip"] = "bert"
    frozen: bool = True
    longest: int = 32

    def for_texts(self, texts: Sequence[str]) -> TowerConfig:
        """See `ModelConfig.for_texts`."""
        tokenizer = tokenizer_at(self)
        lengths = [len(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []
        ceiling = min(LONGEST, int(tokenizer.model_max_length), positions_of(self))
        return replace(self, longest=Limit(self.longest, "text.longest").raised(texts, lengths, ceiling))

    @property
    def max_tokens(self) -> int:
        return 0

    def build(self) -> TextEncoder:
        return Tower(self)


class Tower(TextEncoder):
    """The last hidden states of BERT, of T5's encoder or of CLIP's text tower. A frozen one remembers what it has read."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer, self.tower = text_tower(config)
        if config.frozen:
            self.tower.requires_grad_(False)
        self.width = int(self.tower.config.hidden_size)
        self._read: dict[str, Tensor] = {}

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        texts = texts_of(inputs)
        if not self.config.frozen:
            return self.read(texts)
        device = next(self.tower.parameters()).device
        if new := [t for t in dict.fromkeys(texts) if t not in self._read]:
            if len(self._read) > 4096:
                self._read.clear()
                new = list(dict.fromkeys(texts))
            with torch.inference_mode(False), torch.no_grad():
                tokens, mask = self.read(new)
            self._read |= {t: x[m] for t, x, m in zip(new, tokens, mask, strict=True)}
        rows = [self._read[t].to(device) for t in texts]
        lengths = torch.tensor([len(r) for r in rows], device=device)
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return padded, torch.arange(padded.shape[1], device=device) < lengths[:, None]

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        given = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        Limit(self.config.longest, "text.longest").check(texts, given["attention_mask"].sum(1).tolist())
        given = {k: given[k].to(next(self.tower.parameters()).device) for k in ("input_ids", "attention_mask")}
        return self.tower(**given).last_hidden_state, given["attention_mask"].bool()

    def train(self, mode: bool = True) -> Tower:
        """A frozen tower stays as it is: no dropout."""
        super().train(mode)
        if self.config.frozen:
            self.tower.eval()
        return self


def text_tower(config: TowerConfig) -> tuple[Any, Any]:
    """(tokenizer, module). Raises `BadFile` when the folder does not hold them."""
    need("transformers", "learn")
    import transformers as hf

    kinds: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "bert": (hf.BertConfig, hf.BertModel, {"add_pooling_layer": False}),
        "t5": (hf.T5Config, hf.T5EncoderModel, {}),
        "clip": (hf.CLIPTextConfig, hf.CLIPTextModel, {}),
    }
    if config.family not in kinds:
        raise UnknownName("text family", config.family, kinds)
    form, kind, options = kinds[config.family]
    regular_files(config.path)
    tokenizer = tokenizer_at(config)
    try:
        if not wants_weights():
            return tokenizer, kind(form.from_pretrained(config.path, local_files_only=True), **options)
        return tokenizer, kind.from_pretrained(config.path, local_files_only=True, use_safetensors=True, **options)
    except (OSError, ValueError) as e:
        raise _no_tower(config, e) from e


def tokenizer_at(config: TowerConfig) -> Any:
    """Raises `BadFile` when the folder does not hold it."""
    need("transformers", "learn")
    import transformers as hf

    try:
        return hf.AutoTokenizer.from_pretrained(config.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as e:
        raise _no_tower(config, e) from e


def positions_of(config: TowerConfig) -> int:
    """How many tokens the tower can read, of which each position has its own embedding; as many as it likes for T5."""
    try:
        shape = json.loads((Path(config.path) / "config.json").read_text("utf-8"))
        return int(shape.get("text_config", shape).get("max_position_embeddings", LONGEST))
    except (OSError, ValueError, AttributeError) as e:
        raise _no_tower(config, e) from e


def _no_tower(config: TowerConfig, e: Exception) -> BadFile:
    return BadFile(
        f"no {config.family} tower at '{config.path}': {str(e).splitlines()[0]}. Next: give the local folder that "
        "holds its config.json, model.safetensors and tokenizer"
    )


TextConfig = VectorsConfig | WordsConfig | TowerConfig


class Summary(nn.Module):
    """One vector for an instruction: a learned query reads its tokens [B, L, D] → [B, width]."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(tokens, width)
        self.query = nn.Parameter(torch.randn(1, width) * 0.02)
        self.read = CrossAttention(width, 4)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        read = self.read(self.query.expand(len(tokens), -1, -1), self.project(tokens), mask)
        return self.norm(read).squeeze(1)
