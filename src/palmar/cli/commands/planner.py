"""`palmar eval --agent`: 100 long instructions, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from palmar.cli.shared import Answer, writable
from palmar.console import Screen
from palmar.tables import Table

if TYPE_CHECKING:
    from palmar.cli.commands.judge import Eval


def evaluate_planner(command: Eval, console: Screen) -> Answer:
    """The table and the figures of it."""
    from palmar.agent.evaluation import AgentEvalConfig, evaluate_agent
    from palmar.agent.language_planner import find_planner
    from palmar.eval.stats import points

    writable(command.out, command.force)
    find_planner(command.agent)  # a name or a key that is wrong ends here, and not in a worker
    config = AgentEvalConfig(
        command.policy, command.agent, command.tables, command.seed, command.world, execute=command.execute
    )  # fmt: skip
    results = evaluate_agent(config, command.processes, progress=not command.json)
    if command.out:
        results.save(command.out)
    table = Table("instructions", "runs", "right (95 % Wilson)", "what counts")
    meaning = {
        "feasible": "every goal reached, in the order asked for, by the simulator",
        "impossible": "refused before anything moved",
        "ambiguous": "asked about, and then every goal reached",
    }
    for kind, said in meaning.items():
        trials = results.of(kind)  # type: ignore[arg-type]
        table.add_row(kind, str(len(trials)), Text(str(results.rate(kind))), said)  # type: ignore[arg-type]
    console.print(table)
    figures = results.figures()
    if (pair := results.beside_the_policy()) is not None:
        console.print(
            f"the policy alone, told the whole instruction: {results.alone()}; the agent on the same tables "
            f"{points(pair.difference)} points [{points(pair.low)}, {points(pair.high)}]"
        )
    console.print(
        f"replans {figures['replans']} · questions {figures['questions']} · skills {figures['skills']} · commands outside the "
        f"robot's limits {figures['outside']}"
    )
    return 0, figures
