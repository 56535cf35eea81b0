"""Which passages of files answer a question: by the words they share with it (BM25) and by what they mean (sentence vectors).

    index = Index((*documentation(), Path("runs")), cache_folder())
    for found in index.search("how do I stop the arm from a browser?"):
        print(found.passage.citation, quote(found.passage).holds)

Both scores are added up: that gives more right files than reciprocal ranks do (`benchmarks/retrieval.py`). Files are read and
compared once and kept in a folder; `refresh` reads again what changed.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from palmar.agent.kept import IndexedFile, KeptPassages, kept_file, key, load, said, save, width
from palmar.agent.meaning import Embed, name_of, sentence_vectors
from palmar.agent.passages import Passage, passages_of
from palmar.agent.readable import MARKDOWN, contents, in_lines
from palmar.agent.sources import Unread, files_under
from palmar.agent.words import WordIndex
from palmar.data.progress import counting
from palmar.errors import BadFile, BadValue, need, unusable
from palmar.types import Array

BATCH = 16  # texts that are compared at once
PATIENCE = 2.0  # s of work from which progress is shown
OPENING = 0.4  # how much what a page says of itself at its beginning counts beside the passage
WORDS, HALF = 0.45, 15.0  # what shared words can add to a cosine, and the BM25 score that adds half of it
LIKELY = 0.36
"""Score from which a passage is likely to answer: of 180 questions about palmar the best passage is below it for 3, of 60 about
anything else above it for 4 (`benchmarks/retrieval.py --off-topic`)."""


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that may answer. score: comparable within one search alone, larger is better."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Files that are new, that changed, and that are gone or read no more."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Index:
    """The passages of all files under `paths`, searched.

    folder: where what was read is kept; None keeps it in memory. embed: texts → their vectors; None compares by words alone, and
    so does an encoder that is not installed (`without_meaning` says why). quiet: show no progress.
    unread: files that are not searched, or not whole. notes: what was wrong with what is kept, in words.

    Raises `MissingPackage` where palmar[agent] is not installed, `BadValue` without a path.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        folder: str | Path | None = None,
        embed: Embed | None = sentence_vectors,
        quiet: bool = False,
    ) -> None:
        need("bm25s", "agent")
        self.paths = tuple(Path(p) for p in paths)
        if not self.paths:
            raise BadValue("there is nothing to search; expected files or folders. Next: name one")
        self.folder = None if folder is None else Path(folder)
        self.quiet = quiet
        self.without_meaning = "" if embed is not None else "no sentence encoder was asked for"
        self.notes: tuple[str, ...] = ()
        self.unread: tuple[Unread, ...] = ()
        self.passages: tuple[Passage, ...] = ()
        self._embed = embed
        self._encoder = "" if embed is None else name_of(embed)
        self._words = WordIndex(())
        self._vectors: Array | None = None
        self._openings = np.zeros(0, int)
        self._kept = self._of_this_encoder({path: self._load(path) for path in self.paths})
        self.refresh()

    def refresh(self) -> Refreshed:
        """Read what is new or changed, and forget what is gone."""
        fresh: dict[Path, dict[str, IndexedFile]] = {}
        unread: list[Unread] = []
        seen: set[str] = set()
        for root in self.paths:
            files, refused = files_under([root])
            mine = [f for f in files if os.path.realpath(f) not in seen]
            seen |= {os.path.realpath(f) for f in mine}
            before = self._kept[root].files
            fresh[root] = {str(f): _indexed(f, before.get(str(f))) for f in mine}
            unread += [*refused, *_not_whole(fresh[root])]
        self.unread = tuple(unread)
        changes = _changes({n: f for kept in self._kept.values() for n, f in kept.files.items()}, fresh)
        old, self._kept = self._kept, self._with_vectors(fresh)
        new = [root for root, kept in self._kept.items() if _differ(kept, old[root])]
        for root in new:
            self._save(root, self._kept[root])
        if new or not self.passages:
            self._put_together()
        return changes

    def search(self, question: str, count: int = 6, per_file: int = 2) -> list[FoundPassage]:
        """The passages that fit the question best, the best first, at most `per_file` of one file. Raises `BadValue` for a
        number below 1."""
        if count < 1 or per_file < 1:
            raise BadValue(
                f"count is {count} and per_file {per_file}; expected 1 or more. Next: how many passages you want"
            )
        if not self.passages or not question.strip():
            return []
        return self.best(fused(self.word_scores(question), self.meaning_scores(question)), count, per_file)

    def likely(self, found: FoundPassage) -> bool:
        """Whether a passage that was found is likely to answer; always where passages are compared by words alone."""
        return self._vectors is None or self._embed is None or found.score >= LIKELY

    def best(self, scores: Array, count: int, per_file: int) -> list[FoundPassage]:
        """The passages of the largest scores above 0. scores: float[N], of every passage."""
        found: list[FoundPassage] = []
        taken: Counter[str] = Counter()
        for i in np.argsort(-scores, kind="stable"):
            passage = self.passages[i]
            if len(found) == count or scores[i] <= 0:
                break
            if taken[passage.path] < per_file:
                taken[passage.path] += 1
                found.append(FoundPassage(passage, float(scores[i])))
        return found

    def word_scores(self, question: str) -> Array:
        """float32[N] by BM25, of every passage."""
        return self._words.scores(question)

    def meaning_scores(self, question: str) -> Array | None:
        """float32[N], of every passage its cosine with the question, and `OPENING` times that of the beginning of its page, which
        says what the page is about (of a file that is no page, its own again); None without an encoder."""
        if self._embed is None or self._vectors is None:
            return None
        asked = self._vectors_of([question])
        if asked is not None and asked.shape[1] != self._vectors.shape[1]:
            self._compare_anew()
        if asked is None or self._vectors is None:
            return None
        cosines = self._vectors @ asked[0]
        return np.asarray(cosines + OPENING * cosines[self._openings], np.float32)

    def _vectors_of(self, texts: Sequence[str]) -> Array | None:
        """None, from now on, where the encoder is not installed or not as it ought to be."""
        if self._embed is None:
            return None
        try:
            return self._embed(texts)
        except (ImportError, OSError) as error:
            self._embed, self.without_meaning = None, str(error)
            return None

    def _with_vectors(self, fresh: Mapping[Path, Mapping[str, IndexedFile]]) -> dict[Path, KeptPassages]:
        """What was read, with the vectors that were kept and those of what is new."""
        vectors = {k: v for kept in self._kept.values() for k, v in kept.vectors.items()}
        keys = {root: [key(p) for f in files.values() for p in f.passages] for root, files in fresh.items()}
        texts = {key(p): said(p) for files in fresh.values() for f in files.values() for p in f.passages}
        made = self._new_vectors({k: text for k, text in texts.items() if k not in vectors})
        if made and vectors and width(made) != width(vectors):  # another encoder of the same name
            vectors, made = {}, made | self._new_vectors({k: text for k, text in texts.items() if k not in made})
        vectors |= made
        return {
            root: KeptPassages(dict(files), {k: vectors[k] for k in keys[root] if k in vectors}, self._encoder)
            for root, files in fresh.items()
        }

    def _compare_anew(self) -> None:
        """Make the vectors again: those that are kept are not of the encoder that compares the questions."""
        self._kept = {root: KeptPassages(kept.files, {}, self._encoder) for root, kept in self._kept.items()}
        self._kept = self._with_vectors({root: kept.files for root, kept in self._kept.items()})
        for root, kept in self._kept.items():
            self._save(root, kept)
        self._put_together()

    def _new_vectors(self, texts: Mapping[str, str]) -> dict[str, Array]:
        """The vector of each text by its key, as float16; a bar is shown from `PATIENCE` on."""
        order = sorted(texts, key=lambda k: len(texts[k]))  # like lengths together: less padding
        made: dict[str, Array] = {}
        began, count = time.monotonic(), None
        with ExitStack() as shown:
            for at in range(0, len(order), BATCH):
                batch = order[at : at + BATCH]
                vectors = self._vectors_of([texts[k] for k in batch])
                if vectors is None:
                    return {}
                made |= {k: v.astype(np.float16) for k, v in zip(batch, vectors, strict=True)}
                left = len(order) - at - len(batch)
                if count is not None:
                    count(len(batch))
                elif left and not self.quiet and time.monotonic() - began > PATIENCE:
                    count = shown.enter_context(counting("reading what answers are looked for in", left))
        return made

    def _load(self, root: Path) -> KeptPassages:
        if self.folder is None:
            return KeptPassages()
        path = kept_file(self.folder, root)
        kept, why = load(path)
        if why:
            self.notes = (
                *self.notes,
                f"what was kept of '{root}' in '{path}' cannot be used ({why}); it is made again",
            )
        return kept

    def _of_this_encoder(self, kept: Mapping[Path, KeptPassages]) -> dict[Path, KeptPassages]:
        """What is kept, without the vectors of another encoder: of another name, or not all of one width."""
        alike = len({k.width for k in kept.values() if k.vectors and k.encoder == self._encoder}) < 2
        return {
            root: k if alike and k.encoder == self._encoder else KeptPassages(k.files, {}, self._encoder)
            for root, k in kept.items()
        }

    def _save(self, root: Path, kept: KeptPassages) -> None:
        if self.folder is None:
            return
        try:
            save(kept_file(self.folder, root), kept)
        except OSError as error:
            note = f"what was read of '{root}' is not kept ({error}); it is read again next time"
            self.notes = (*(n for n in self.notes if n != note), note)

    def _put_together(self) -> None:
        self.passages = tuple(p for kept in self._kept.values() for f in kept.files.values() for p in f.passages)
        self._words = WordIndex([said(p) for p in self.passages])
        first: dict[str, int] = {}
        for i, p in enumerate(self.passages):
            first.setdefault(p.path, i)
        self._openings = np.array(
            [first[p.path] if p.path.lower().endswith(MARKDOWN) else i for i, p in enumerate(self.passages)], int
        )
        vectors = {k: v for kept in self._kept.values() for k, v in kept.vectors.items()}
        rows = [vectors.get(key(p)) for p in self.passages]
        whole = [r for r in rows if r is not None]
        self._vectors = np.stack(whole).astype(np.float32) if rows and len(whole) == len(rows) else None


def fused(words: Array, meaning: Array | None) -> Array:
    """float[N]: the cosine, and up to `WORDS` more for the words that are shared. words: BM25. meaning: cosines, or None."""
    shared = WORDS * words / (words + HALF)
    return np.asarray(shared if meaning is None else meaning + shared, float)


def _indexed(path: Path, before: IndexedFile | None) -> IndexedFile:
    """The file as it is now; as it was before where it did not change."""
    try:
        stat, looked = path.stat(), time.time_ns()
        if before is not None and before.is_as(stat):
            return before
        held = contents(path)
    except OSError as error:
        return IndexedFile(0, 0, 0, "", why=str(unusable(error, path)))
    except BadFile as error:
        return IndexedFile(0, 0, 0, "", why=str(error))
    now = IndexedFile(stat.st_size, stat.st_mtime_ns, looked, held.digest())
    if before is not None and before.digest == now.digest:
        return replace(before, size=now.size, changed=now.changed, looked=now.looked)
    try:
        passages, left_out = passages_of(path, in_lines(path, held))
    except BadFile as error:
        return replace(now, why=str(error))
    return replace(now, passages=tuple(passages), left_out=left_out)


def _differ(kept: KeptPassages, before: KeptPassages) -> bool:
    """Whether what is kept has to be written again."""
    about = [(k.files, k.vectors.keys(), k.width, k.encoder) for k in (kept, before)]
    return about[0] != about[1]


def _not_whole(files: Mapping[str, IndexedFile]) -> list[Unread]:
    found = [Unread(name, f.why) for name, f in files.items() if f.why]
    for name, f in files.items():
        if f.left_out:
            all_of_them = len(f.passages) + f.left_out
            found.append(Unread(name, f"it is long: {len(f.passages)} of its {all_of_them} passages are searched"))
    return found


def _changes(before: Mapping[str, IndexedFile], fresh: Mapping[Path, Mapping[str, IndexedFile]]) -> Refreshed:
    old = {name: f.digest for name, f in before.items() if not f.why}
    new = {name: f.digest for files in fresh.values() for name, f in files.items() if not f.why}
    return Refreshed(
        tuple(n for n in new if n not in old),
        tuple(n for n in new if n in old and new[n] != old[n]),
        tuple(n for n in old if n not in new),
    )
