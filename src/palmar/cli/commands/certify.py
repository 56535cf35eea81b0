"""The release checklist of a policy on a robot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from rich.table import Table
from tyro.conf import Positional

from palmar.cli.shared import Answer, configured, one_thread, writable, writable_folder
from palmar.console import Screen, styled
from palmar.errors import BadValue
from palmar.files import write_text
from palmar.ranges import Count, Processes, Range, Seed


@dataclass(frozen=True)
class Certify:
    """Run the release checklist of a policy on a robot: every item is met with its evidence, or refused.

    Exit code 0: certified (with --only: these items are met); 1: an item is not met, --quick, or less evidence than by default.
    With --verify nothing is run: a certificate is held to the checkpoint, robot and data that are there now.
    """

    policy: Positional[str] = "shipped"
    """Checkpoint folder, or "shipped"."""
    robot: str = "arm7"
    """Name of a robot that comes with palmar, or a robot file (.toml)."""
    data: Path | None = None
    """Folder of the data set it was trained on: its hash becomes part of the certificate."""
    out: Path | None = None
    """Write the certificate here (.json), and the same as a page beside it (.html)."""
    verify: Path | None = None
    """A certificate to hold to what is there now; the policy and the robot are those given here."""
    evidence: Path | None = None
    """Folder where results are kept; those that are there of the same checkpoint, robot, data and version are taken."""
    days: Annotated[float, Range(0, 36_500)] = 30.0
    """Oldest evidence that is taken [days]; with more than 30 it certifies nothing."""
    only: tuple[str, ...] = ()
    """Names of items to run alone; what comes out is no certificate of the whole list."""
    episodes: Count = 50
    """Tables of each task in each test set; with fewer than 50 it certifies nothing."""
    hostile: Annotated[int, Range(100, 10**8)] = 20_000
    """Commands that try to get past the limits; with fewer than 20 000 it certifies nothing."""
    quick: bool = False
    """A tenth of everything: to see that it works. It certifies nothing."""
    seed: Seed = 20_000
    """First table of the test sets."""
    processes: Processes = None
    """One a core when not given."""
    force: bool = False
    """Replace the files of --out when they are there."""
    json: bool = False
    """One JSON object with every figure on stdout."""
    only_without: ClassVar = {
        n: ("verify",)
        for n in ("out", "evidence", "only", "quick", "days", "episodes", "hostile", "seed", "processes", "force")
    }

    def run(self, console: Screen) -> Answer:
        if self.verify is not None:
            return self._verify(console, self.verify)
        page = None if self.out is None else self.out.with_suffix(".html")
        if self.out is not None and self.out == page:
            raise BadValue(
                f"--out is '{self.out}'; expected a name for the JSON, beside which the page is. Next: --out certificate.json"
            )
        writable(self.out, self.force)
        writable(page, self.force)
        writable_folder(self.evidence)
        one_thread(self.policy)
        from palmar.certify.checklist import certify
        from palmar.certify.item import CertifyConfig
        from palmar.certify.page import page as page_of

        config = configured(CertifyConfig, self, commands=offered())
        table = Table("item", "", "finding")

        def found(item: Any) -> None:
            words = {True: styled("[green]met"), False: styled("[red]not met"), None: styled("not applicable")}
            table.add_row(item.name, words[item.met], styled("{}", item.finding))

        def say(text: str) -> None:
            if not self.json:
                console.print(styled("[dim]{} …", text))

        made = certify(config, self.only, not self.json, say, found)
        console.print(table)
        if self.out is not None and page is not None:
            write_text(page, page_of(made))
            write_text(self.out, json.dumps(made.to_dict(), indent=1))
            console.print(styled("written: {} and {}", self.out, page))
        ran = {i["name"]: i["met"] is not False for i in made.items}
        if made.certified:
            console.print(
                styled("[green]certified[/]: {} on {}, all {} items", self.policy, self.robot, len(made.items))
            )
        elif self.quick:
            console.print(styled("[yellow]--quick certifies nothing.[/] Next: without it"))
        elif weaker := " and ".join(f"--{name}" for name in config.weaker):
            console.print(
                styled(
                    "[yellow]{} ask for less than by default, which certifies nothing.[/] Next: without them", weaker
                )
            )
        elif self.only:
            console.print(
                styled("{} of the named items are met; the others were not run", f"{sum(ran.values())} of {len(ran)}")
            )
        if refused := [n for n, good in ran.items() if not good]:
            console.print(styled("[red]not met: {}[/]. It is not to be promoted.", ", ".join(refused)))
        good = config.certifies and all(ran.values()) and (made.certified or bool(self.only))
        return int(not good), made.to_dict()

    def _verify(self, console: Screen, file: Path) -> Answer:
        from palmar.runtime.adaptation.certificate import Fingerprints, read_certificate

        found = read_certificate(file)
        problems = found.problems(Fingerprints.of(self.policy, self.robot, self.data), self.data is not None)
        for problem in problems:
            console.print(styled("[red]{}", problem))
        if self.data is None and found.fingerprints.data:
            console.print(styled("[yellow]the data were not compared.[/] Next: --data FOLDER"))
        signed = found.to_dict()["hmac"] is not None
        checked = "its HMAC is of this key" if signed else "no key is set: that nobody else made it was not checked"
        if not problems:
            console.print(styled("[green]{} holds[/] for {} on {} ({})", file, self.policy, self.robot, checked))
        return int(bool(problems)), {"valid": not problems, "problems": problems, "made": found.made, "signed": signed}


def offered() -> Mapping[str, tuple[str, ...]]:
    """{command: names of its options} of this command line."""
    from palmar.cli.commands import COMMANDS

    return {name: tuple(f.name for f in fields(cast(Any, kind))) for name, kind in COMMANDS.items()}
