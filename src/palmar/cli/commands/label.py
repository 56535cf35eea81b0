"""Success and instruction of recorded episodes, by a language model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from tyro.conf import Positional

from palmar.agent.frames_shown import Frames
from palmar.cli.shared import Answer, configured, writable
from palmar.console import Screen, styled
from palmar.ranges import Count
from palmar.tables import Table

if TYPE_CHECKING:
    from palmar.agent.labelling import LabelResults
    from palmar.agent.labels import EpisodeLabel
    from palmar.data.reader import EpisodeInfo


ANOTHER = "another --model"  # what a message offers beside mending the one that was asked for
"""Beside what is said about a model: the messages are those of all three commands."""


@dataclass(frozen=True)
class Label:
    """Let a language model say what was done in recorded episodes, and whether; and count how often that is as recorded.

    Pictures of the episodes are sent to the model. Its labels are kept beside the data set, with its name; what was recorded stays
    as it is. An episode that this model has labelled with these settings is not sent again, so a run that was stopped goes on.
    """

    data: Positional[Path]
    """Folder of a LeRobotDataset, v2.0 to v3."""
    model: str
    """anthropic or anthropic:MODEL (ANTHROPIC_API_KEY), or openai:MODEL@URL for any endpoint that speaks OpenAI's protocol
    (OPENAI_API_KEY)."""
    episodes: Count = 100
    """Label the first so many episodes."""
    frames: Frames = 6
    """Moments of each that are shown, the first and the last among them; 24 pictures of all cameras together at most."""
    camera: str = ""
    """Show the pictures of this camera alone."""
    told: bool = False
    """Tell the model the recorded instruction, and let it judge success by that."""
    keys: tuple[str, ...] = ()
    """Which features are what, where that is not clear: state=FEATURE action=FEATURE images.CAMERA=FEATURE."""
    out: Path | None = None
    """File of the labels; meta/labels.json of the data set when not given. Labels of others in it are kept."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.agent.labelling import LabelConfig, label_set
        from palmar.agent.labels import LABELS
        from palmar.agent.language_model import find_model
        from palmar.data.reader import Dataset
        from palmar.data.roles import parse_keys

        dataset = Dataset(self.data, cache=False, keys=parse_keys(self.keys))
        try:
            model = find_model(self.model, instead=ANOTHER)
            writable(self.out or self.data / LABELS, force=True)

            def tell(episode: EpisodeInfo, said: EpisodeLabel | str) -> None:
                if not self.json:
                    console.print(line(episode, said))

            results = label_set(dataset, model, configured(LabelConfig, self), self.out, tell)
        finally:
            dataset.close()
        shown(results, console)
        return int(bool(results.refused)), results.figures()


def line(episode: EpisodeInfo, said: EpisodeLabel | str) -> Text:
    """One episode as a person reads it."""
    if isinstance(said, str):
        return styled("[yellow]{}[/] refused: {}", episode.index, said)
    won = Text("success", "green") if said.success else Text("failure", "red")
    return styled("[bold]{}[/] {} ({}) {}", episode.index, won, f"{said.confidence:.2f}", said.instruction)


def shown(results: LabelResults, console: Screen) -> None:
    before = f", {results.before} of them before" if results.before else ""
    console.print(
        styled("[bold]{}[/] episodes are labelled{} in [bold]{}[/]", len(results.labels), before, results.path)
    )
    agreed = results.agreement
    rows = (
        ("success as recorded", agreed.success),
        ("recorded failures called a success", agreed.false_success),
        ("recorded successes called a failure", agreed.false_failure),
        ("same task", agreed.task),
        ("same thing", agreed.thing),
        ("same instruction", agreed.whole),
    )
    if any(rate.n for _, rate in rows):
        table = Table("beside what was recorded", "share (95 % Wilson)")
        for name, rate in rows:
            table.add_row(name, Text(str(rate)))
        console.print(table)
    elif results.labels:
        console.print("the data set records neither success nor an instruction that can be compared")
    else:
        console.print("there is no label that can be compared")
    if agreed.unread:
        console.print(f"{agreed.unread} instructions are not compared: their words are none of palmar's tasks")
    if results.stills:
        console.print(f"{results.stills} stills have no motion to judge, and are left out")
    if results.refused:
        console.print(
            styled("[yellow]{} episodes have no label, for what is said above. Next: the same command again, or palmar repair for "
                   "what cannot be decoded[/]", len(results.refused))
        )  # fmt: skip
    if results.left:
        console.print(
            f"{results.left} more episodes are not asked about. Next: --episodes {results.left + _asked(results)}"
        )


def _asked(results: LabelResults) -> int:
    return len(results.labels) + len(results.refused)
