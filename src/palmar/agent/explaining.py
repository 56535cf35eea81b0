"""What became of a run, in words: every skill as the success check saw it, and of the last that failed what its black box shows."""

from __future__ import annotations

from palmar.agent.carry_out import AgentRun
from palmar.agent.skills import SkillResult
from palmar.errors import BadFile
from palmar.runtime.records.findings import findings


def outcome(run: AgentRun) -> str:
    """How a run ended, by the success check and not by who did it, and the next step where it is not done."""
    step = next_step(run)
    return f"{_ended(run)}. {step}" if step else _ended(run)


def _ended(run: AgentRun) -> str:
    done = sum(r.done for r in run.results)
    said = (
        f"{run.ending}: {done} of {len(run.results)} skills done in {run.seconds:.0f} s" if run.results else run.ending
    )
    if run.replans:
        said += f", planned anew {run.replans} times"
    return f"{said}. {run.why}" if run.why else said


def next_step(run: AgentRun) -> str:
    """What to do next about a run that is not done, as "Next: …"; "" where its reason says that already, or a person decided it."""
    if "Next: " in run.why:
        return ""
    if run.ending == "refused":
        return "Next: other words, or what stands there by its name"
    if run.ending == "not answered":
        return "Next: the instruction with the answer in it, or answer at a terminal"
    if run.ending == "failed" and run.results and "Next: " not in str(run.results[-1]):
        records = [r.record for r in run.results if r.record is not None]
        return f"Next: palmar replay {records[-1]} shows what happened" if records else ""
    return ""


def explained(run: AgentRun) -> str:
    """Every skill of a run with what really happened, and why the last that failed did."""
    return "\n".join(explanation(run))


def explanation(run: AgentRun) -> list[str]:
    """The lines of `explained`."""
    lines = [f"“{run.instruction}”: {_ended(run)}", *(f"- {r}" for r in run.results)]
    failed = [r for r in run.results if not r.done]
    return [*lines, *_why(failed[-1])] if failed else lines


def _why(result: SkillResult) -> list[str]:
    lines = []
    if result.left == result.left:
        lines.append(f"{result.skill} was {100 * result.left:.0f} cm from done at its end")
    if result.record is None:
        if result.clipped:
            lines.append(f"the guards changed its commands: {', '.join(map(str, result.clipped))}")
        return lines
    try:
        shown = findings(result.record)
    except BadFile as error:  # a person may have moved it meanwhile
        return [*lines, str(error)]
    again = f"played again by: palmar replay {result.record}"
    return [*lines, f"the black box of {result.skill}:", *(f"- {s}" for s in shown), again]
