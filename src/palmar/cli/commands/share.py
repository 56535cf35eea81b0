"""Checkpoints and data sets to and from a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from palmar.cli.shared import Answer, writable_folder
from palmar.console import Screen, styled


@dataclass(frozen=True)
class Push:
    """Send a checkpoint or a data set to a hub (HF_ENDPOINT, HF_TOKEN), private, with a card; a data set gets the tag v3.0."""

    folder: Positional[Path]
    """Of a checkpoint, a policy of LeRobot or a LeRobot v3 data set."""
    repository: Positional[str]
    """OWNER/NAME; made where there is none."""
    license: str = ""
    """Under which others may use it, such as apache-2.0 or cc-by-4.0: of the card. Not needed where the folder has a README.md."""
    results: Path | None = None
    """File of palmar eval --out: success for the card of a checkpoint."""
    public: bool = False
    """Let everybody read it."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.hub.push import push

        done = push(self.folder, self.repository, self.license, self.results, self.public)
        who = "private" if done.private else "public"
        tag = f", tag {done.tag}" if done.tag else ""
        console.print(styled("{} files in [bold]{}[/] ({}{}), commit {}", done.files, done.url, who, tag, done.commit))
        _left_out(console, done.left_out)
        console.print(styled("Next: palmar pull {} --revision {} --out FOLDER", done.repository, done.commit))
        return 0, {
            "repository": str(done.repository), "url": done.url, "commit": done.commit, "tag": done.tag, "private": done.private,
            "files": done.files, "left_out": list(done.left_out),
        }  # fmt: skip


@dataclass(frozen=True)
class Pull:
    """Fetch a checkpoint or a data set from a hub (HF_ENDPOINT, HF_TOKEN) into a new folder: one commit, every file compared."""

    repository: Positional[str]
    """OWNER/NAME of a model, or datasets/OWNER/NAME."""
    out: Path
    """The new folder."""
    revision: str = ""
    """Branch, tag or commit. Not given: the tag v3.0 of a data set that has it, else main."""
    json: bool = False
    """One JSON object with every figure on stdout."""

    def run(self, console: Screen) -> Answer:
        from palmar.hub.pull import pull

        writable_folder(self.out)
        done = pull(self.repository, self.out, self.revision)
        size = f"{done.size / 1e6:.1f} MB"
        console.print(styled("{} files, {} in [bold]{}[/] (commit {})", done.files, size, done.folder, done.commit))
        _left_out(console, done.left_out)
        data = done.repository.kind == "dataset"
        console.print(styled("Next: palmar {} {}", "inspect" if data else "eval --policy", done.folder))
        return 0, {
            "repository": str(done.repository), "folder": str(done.folder), "commit": done.commit, "files": done.files,
            "bytes": done.size, "left_out": list(done.left_out),
        }  # fmt: skip


def _left_out(console: Screen, names: tuple[str, ...]) -> None:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        console.print(styled("[yellow]left out: {}{}", ", ".join(names[:5]), more))
