"""Reality's pictures in simulation's style."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from rich.table import Table

from palmar.cli.shared import Answer, one_thread, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadFile, BadValue
from palmar.ranges import COUNT, SEED, Range


@dataclass(frozen=True)
class Translate:
    """Put a policy behind a translation of its pictures: reality's in, simulation's style out; no picture needs a partner.

    The result in --out is a policy like any other (palmar eval, palmar run). With --data a data set is translated instead.
    """

    policy: str = "shipped"
    """Checkpoint folder or "shipped": the policy, whose cameras and picture sizes count."""
    real: Path | None = None
    """LeRobot data set, or folder of pictures (CAMERA/ in it), of the place where the policy is to act."""
    sim: Path | None = None
    """The same of the place where the policy was trained, such as a set of palmar collect --strength 0."""
    kind: Literal["colour", "network"] = "colour"
    """colour: mean and covariance of RGB, at once. network: that, and then a small
    CycleGAN, in minutes."""
    out: Path | None = None
    """Folder of the translated policy, or with --data of the translated data set."""
    data: Path | None = None
    """Translate this LeRobot data set by the translation in --by."""
    by: Path | None = None
    """With --data: the --out of an earlier call."""
    pictures: Annotated[int, COUNT] = 400
    """Most pictures of each camera that are looked at."""
    minutes: Annotated[float, Range(0, 600, above=True)] = 5.0
    """Longest training of a network, of each camera."""
    steps: Annotated[int, COUNT] = 1500
    """Of the optimiser, of each camera."""
    seed: Annotated[int, SEED] = 0
    force: bool = False
    """Replace a translation in --out."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_with: ClassVar = {"by": "data"}

    def run(self, console: Screen) -> Answer:
        if self.out is None:
            raise BadValue("--out names no folder. Next: palmar translate --real SET --sim SET --out runs/translated")
        if self.data is not None or self.by is not None:
            return self._dataset(console, self.out)
        if self.real is None or self.sim is None:
            raise BadValue(
                "--real and --sim name the pictures of both places; expected both. Next: palmar collect --out sim --strength "
                "0 for --sim"
            )
        if self.kind == "colour":
            usual = {f.name: f.default for f in fields(self) if f.name in ("minutes", "steps", "seed")}
            if stray := [n for n, value in usual.items() if getattr(self, n) != value]:
                raise BadValue(f"--{stray[0]} counts only with --kind network. Next: leave --{stray[0]} out")
        from palmar.models import translation
        from palmar.policy import check_policy, load_policy
        from palmar.transfer.cycle import CycleConfig
        from palmar.transfer.translate import fit_translation

        if translation.is_translated(self.out) and not self.force:
            raise BadFile(f"'{self.out}' holds a translation already. Next: another name, or --force to replace it")
        writable_folder(self.out)
        check_policy(self.policy)
        before, where = self.policy, []
        while (
            before not in where and Path(before).resolve() != self.out.resolve() and translation.is_translated(before)
        ):
            where.append(before)
            before = translation.read(before)[0]
        if Path(before).resolve() == self.out.resolve():
            raise BadValue(
                f"--out '{self.out}' is the policy itself, or one that it is made of; expected another folder: it would stand in "
                "front of itself. Next: --out with a new name"
            )
        one_thread(self.policy)
        cameras = {c: (size[0], size[1]) for c, size in load_policy(self.policy).interface.cameras.items()}
        config = replace(CycleConfig(), minutes=self.minutes, steps=self.steps, seed=self.seed)
        translators, figures = fit_translation(
            self.real,
            self.sim,
            cameras,
            self.kind,
            config,
            self.pictures,
            lambda text: console.print(styled("{}", text)),
        )
        about = {"kind": self.kind, "real": str(self.real), "sim": str(self.sim), "figures": figures}
        translation.save(self.out, translators, self.policy, about)
        table = Table("camera", "pictures", "colours apart before", "after (held out, of 255)")
        for camera, told in figures.items():
            table.add_row(camera, f"{told['pictures']:.0f}", f"{told['before']:.1f}", f"{told['after']:.1f}")
        console.print(table)
        console.print(
            styled("{} is a policy. Next: palmar eval --policy {}, beside {}", self.out, self.out, self.policy)
        )
        return 0, {"out": str(self.out), "kind": self.kind, "cameras": figures}

    def _dataset(self, console: Screen, out: Path) -> Answer:
        from palmar.models import translation
        from palmar.transfer.translate import translate_dataset

        own = ("data", "by", "out", "json")
        if stray := [f.name for f in fields(self) if f.name not in own and getattr(self, f.name) != f.default]:
            raise BadValue(f"--{stray[0]} counts without --data, for a new translation. Next: leave --{stray[0]} out")
        if self.data is None or self.by is None:
            raise BadValue(
                "--data and --by go together. Next: palmar translate --data SET --by runs/translated --out NEW"
            )
        _, translators = translation.read(self.by)
        count = translate_dataset(self.data, out, translators)
        console.print(styled("{} pictures in {}", count, out))
        return 0, {"out": str(out), "pictures": count}
