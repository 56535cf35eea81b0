import torch

from palmar.data.language import Wordings
from palmar.models import encoders
from palmar.models.encoders import LanguageConfig, SentenceTokens, SlotReader


def test_tokens_are_contextual_padded_and_cached(monkeypatch):
    sentences = SentenceTokens()
    tokens, mask = sentences(["pick up the red cube", "stop"])
    assert tokens.shape[-1] == encoders.TOKEN_WIDTH and tokens.dtype == torch.float16
    assert mask.sum(1).tolist() == [7, 3]  # words and two special tokens
    assert not tokens[1, 3:].any()

    def fail(*_):
        raise AssertionError("encoded twice")

    monkeypatch.setattr(encoders, "encode", fail)
    again, _ = sentences(["stop", "pick up the red cube"])
    assert torch.equal(again[1], tokens[0])


def test_a_word_differs_by_its_context():
    a, b = encoders.encode(["put the red cube on the blue plate", "put the blue cube on the red plate"], 32)
    assert (
        torch.cosine_similarity(a[3].float(), b[7].float(), dim=0) < 0.98
    )  # "red" once for the cube, once for the plate


def test_padding_does_not_change_slots():
    reader = SlotReader(LanguageConfig(width=32, layers=1, heads=2)).eval()
    tokens = torch.randn(1, 5, encoders.TOKEN_WIDTH)
    mask = torch.ones(1, 5, dtype=torch.bool)
    padded = torch.cat([tokens, torch.randn(1, 3, encoders.TOKEN_WIDTH)], 1)
    longer = torch.cat([mask, torch.zeros(1, 3, dtype=torch.bool)], 1)
    assert torch.allclose(reader(tokens, mask), reader(padded, longer), atol=1e-5)


def test_wordings_draw_only_paraphrases_of_the_task():
    import numpy as np

    words = Wordings.of(["a", "b"], lambda t: [f"{t}1", f"{t}2", t])
    rng = np.random.default_rng(0)
    tasks = rng.integers(0, 2, 200)
    drawn = [words.texts[i] for i in words.draw(tasks, rng)]
    assert all(d[0] == "ab"[t] for d, t in zip(drawn, tasks, strict=True))
    assert len(set(drawn)) == 6
