"""A tokenizer of a handful of words, saved as `transformers` saves one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SPECIAL = ["<s>", "</s>", "<unk>"]


def write_tokenizer(folder: Path, words: Sequence[str]) -> list[str]:
    """Its words by number."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = [*SPECIAL, *dict.fromkeys(words)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
    return known
