"""Questions about the docs, asked by somebody who has not read them: is the right file among the first three?

    OMP_NUM_THREADS=1 python benchmarks/retrieval.py [--questions tests/agent/questions.toml] [--cache FOLDER] [--first 3]
    OMP_NUM_THREADS=1 python benchmarks/retrieval.py --off-topic [--cache FOLDER]

By shared words alone (BM25), by meaning alone (sentence vectors), by reciprocal rank fusion of both, and by the sum that
`palmar.agent.retrieval` uses; of questions.toml over each half, since the sum was tuned on the half "tune". "files": the first
three files that the answers name. "passages": the files of the first three passages, which is stricter. docs/questions.md, which
says a little of everything, counts only where a found passage is of an entry that was labelled as the answer, but for the column
"by file alone". "README not counted": questions that README.md alone answers are left out. Intervals are exact (Clopper and
Pearson 1934), 95 %. --off-topic: how many of the questions of
tests/agent/off_topic.txt, and of all three sets, are told to have no likely answer; the threshold was chosen on the sets and the
first 40 of that file, its last 20 were written after. Every citation is read again: the lines must exist and hold the passage,
word for word.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from palmar.agent.passages import Passage, quote
from palmar.agent.retrieval import Index, fused
from palmar.agent.sources import documentation
from palmar.eval.stats import exact_upper
from palmar.types import Array

ROOT = Path(__file__).parents[1]
COMMON = ROOT / "docs" / "questions.md"
RANK = 60  # of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)
Scorer = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Question:
    """files: those that hold the answer. half: "tune" or "held". entries: headings of docs/questions.md that hold it."""

    text: str
    files: tuple[Path, ...]
    half: str
    entries: tuple[str, ...] = ()

    def right(self, found: Sequence[Passage], readme: bool = True, entry: bool = True) -> bool:
        """Whether one of the passages is of a file that holds the answer. readme: README.md counts. entry: docs/questions.md
        counts by the entry that holds it, and not as a whole."""
        files = self.files if readme else self.pages
        return any(
            p.heading.rpartition(" > ")[2] in self.entries if entry and path == COMMON else path in files
            for p in found
            for path in [Path(p.path).resolve()]
        )

    @property
    def pages(self) -> set[Path]:
        """The files that hold the answer, without README.md, which says a little of everything."""
        return {f for f in self.files if f.name != "README.md"}


def questions(path: Path) -> list[Question]:
    rows = tomllib.loads(path.read_text("utf-8"))["question"]
    return [
        Question(r["text"], tuple((ROOT / f).resolve() for f in r["files"]), r["half"], tuple(r.get("entries", ())))
        for r in rows
    ]


def reciprocal(words: Array, meaning: Array) -> Array:
    """Reciprocal rank fusion. A passage that shares no word has no rank by words."""
    return np.where(words > 0, 1 / (RANK + _rank(words)), 0.0) + 1 / (RANK + _rank(meaning))


def _rank(scores: Array) -> Array:
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


WAYS: dict[str, Scorer] = {
    "words (BM25)": lambda words, meaning: words,
    "meaning (vectors)": lambda words, meaning: meaning,
    "reciprocal ranks": reciprocal,
    "sum, as shipped": fused,
}
SHIPPED = "sum, as shipped"


def exact(hits: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson interval, 95 %."""
    return 1 - exact_upper(n - hits, n, 0.025), exact_upper(hits, n, 0.025)


def found_by(index: Index, scores: Array, first: int) -> tuple[list[Passage], list[Passage]]:
    """(the passages of the first files, the first passages), as a search for twice as many passages finds them."""
    found = [f.passage for f in index.best(scores, 2 * first, per_file=2)]
    files = list(dict.fromkeys(p.path for p in found))[:first]
    return [p for p in found if p.path in files], found[:first]


def share(right: list[bool]) -> str:
    low, high = exact(sum(right), len(right))
    return (
        f"{sum(right):2} of {len(right)} = {100 * sum(right) / len(right):4.1f} % [{100 * low:4.1f}, {100 * high:5.1f}]"
    )


def off_topic(cache: Path | None) -> int:
    index = Index(documentation(), cache)
    folder = ROOT / "tests" / "agent"
    others = (folder / "off_topic.txt").read_text("utf-8").splitlines()
    about = {p.name: [q.text for q in questions(p)] for p in sorted(folder.glob("questions*.toml"))}
    for name, texts in {**about, "off topic, first 40": others[:40], "off topic, last 20": others[40:]}.items():
        best = [index.search(t, 1) for t in texts]
        refused = [not found or not index.likely(found[0]) for found in best]
        print(f"{name:24} no likely answer: {share(refused)}")
        for text, no in zip(texts, refused, strict=True):
            if no == (name in about):
                print(f"    {text}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, default=ROOT / "tests" / "agent" / "questions.toml")
    parser.add_argument("--cache", type=Path, help="keep what was read there; by default nothing is kept")
    parser.add_argument("--first", type=int, default=3, help="files, and passages, that are looked at")
    parser.add_argument("--off-topic", action="store_true")
    args = parser.parse_args()
    if args.off_topic:
        return off_topic(args.cache)
    asked = questions(args.questions)
    with tempfile.TemporaryDirectory() as folder:
        began, cpu = time.monotonic(), time.process_time()
        index = Index(documentation(), args.cache or folder)
        print(
            f"{len(index.passages)} passages of {len({p.path for p in index.passages})} files read in "
            f"{time.monotonic() - began:.1f} s ({time.process_time() - cpu:.1f} s of CPU)"
        )
        again = time.monotonic()
        Index(documentation(), args.cache or folder)
        print(f"opened again, nothing changed: {time.monotonic() - again:.2f} s")
    if index.without_meaning:
        print(f"no meaning: {index.without_meaning}")
        return 1
    found_by_way: dict[tuple[str, str], list[list[Passage]]] = {}
    misses: list[str] = []
    cited, false, seconds = 0, 0, []
    for q in asked:
        began = time.monotonic()
        for hit in index.search(q.text, 2 * args.first):
            cited += 1
            lines = Path(hit.passage.path).read_text("utf-8").split("\n")
            held = "\n".join(lines[hit.passage.first - 1 : hit.passage.last])
            false += not (quote(hit.passage).holds and held == hit.passage.text)
        seconds.append(time.monotonic() - began)
        words, meaning = index.word_scores(q.text), index.meaning_scores(q.text)
        assert meaning is not None
        for name, way in WAYS.items():
            files, passages = found_by(index, way(words, meaning), args.first)
            found_by_way.setdefault((name, "files"), []).append(files)
            found_by_way.setdefault((name, "passages"), []).append(passages)
            if name == SHIPPED and not q.right(files):
                wanted, got = (
                    " ".join(f.name for f in fs) for fs in (q.files, dict.fromkeys(Path(p.path) for p in files))
                )
                misses.append(f"  {q.half}: {q.text}\n        wanted {wanted}; found {got}")
    halves = [h for h in ("all", "tune", "held") if h == "all" or len({q.half for q in asked}) > 1]
    heads = [f"half {h}" if h != "all" else h for h in halves]
    print(
        f"\n{'right among the first ' + str(args.first):30}",
        *(f"{h:>30}" for h in (*heads, "by file alone", "README not counted")),
    )
    for (name, what), found in found_by_way.items():
        both = list(zip(asked, found, strict=True))
        chosen = [[q.right(f) for q, f in both if half in ("all", q.half)] for half in halves]
        whole = [q.right(f, entry=False) for q, f in both]
        others = [q.right(f, readme=False) for q, f in both if q.pages]
        print(f"{name:20} {what:9}", *(f"{share(h):>30}" for h in (*chosen, whole, others)))
    print(f"\nmisses of {SHIPPED}, files:", *misses, sep="\n")
    p50, p90 = np.percentile(seconds, (50, 90))
    print(f"\na search with its citations checked: p50 {1000 * p50:.0f} ms, p90 {1000 * p90:.0f} ms")
    bad = sum(not quote(p).holds for p in index.passages)
    print(f"{cited} cited passages, {false} whose lines do not hold them; of all {len(index.passages)} passages {bad}")
    return int(false + bad > 0)


if __name__ == "__main__":
    sys.exit(main())
