"""The checklist from its first item to its last, and the certificate of what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from palmar.certify import evaluation, improvement, operations, performance, safety
from palmar.certify.item import Case, CertifyConfig, Changed, Check, Found, Item, check_unchanged
from palmar.description.find import find_robot
from palmar.errors import PalmarError, PolicyUnreachable, brief, check_names
from palmar.eval.report import Machine, plain
from palmar.policy import check_policy
from palmar.runtime.adaptation.certificate import ITEMS, Certificate, Fingerprints

GROUPS: dict[str, tuple[Check, ...]] = {
    "evaluation": evaluation.CHECKS,
    "safety": safety.CHECKS,
    "performance": performance.CHECKS,
    "operations": operations.CHECKS,
    "improvement": improvement.CHECKS,
}


def certify(
    config: CertifyConfig,
    only: Sequence[str] = (),
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
    found: Callable[[Item], None] = lambda item: None,
) -> Certificate:
    """Run the checklist, or the items named in `only`. found: called with each item when it is there.

    Raises what is wrong with the policy, the robot or the data before anything is run, `PolicyUnreachable`, and `Changed` where
    one of them was changed meanwhile. What fails in a check is that item's finding.
    """
    check_names("item", only or ITEMS, ITEMS)
    check_policy(config.policy)
    robot, prints = find_robot(config.robot), Fingerprints.of(config.policy, config.robot, config.data)
    items = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        folder = config.evidence or scratch / "evidence"
        folder.mkdir(parents=True, exist_ok=True)
        case = Case(config, robot, prints, folder, scratch, progress, say)
        for group, checks in GROUPS.items():
            for check in checks:
                if not only or check.name in only:
                    say(f"{group}: {check.name}")
                    items.append(_item(group, check, case))
                    found(items[-1])
        check_unchanged(config, prints)
    about = {
        "machine": asdict(Machine.here()),
        "episodes a task": config.tables,
        "seed": config.seed,
        "training data": "not given, and not part of the certificate" if config.data is None else "given",
        "robot": robot.name,
    }
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Certificate(
        made, config.policy, config.robot, not config.certifies, prints, tuple(i.to_dict() for i in items), plain(about)
    )


def _item(group: str, check: Check, case: Case) -> Item:
    try:
        found = check.run(case)
    except (PolicyUnreachable, Changed):
        raise
    except PalmarError as error:
        found = Found(False, f"could not be run: {' '.join(str(error).split())}")
    except Exception as error:  # a check that breaks is an item without evidence; the others are still worth knowing
        found = Found(False, f"the check broke ({type(error).__name__}: {brief(error)})")
    evidence: dict[str, Any] = dict(found.evidence)
    return Item(
        check.name, group, check.requirement, found.met, found.finding, evidence, "" if found.met else check.how
    )
