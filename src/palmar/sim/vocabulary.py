"""Words of typed sentences and what they mean: verbs of tasks, nouns of things, and words that join, deny or decorate."""

from __future__ import annotations

from palmar.sim import tasks
from palmar.sim.things import DESTINATIONS, NOUNS, SHAPES

ROBOT = "arm7"  # whose tasks a typed sentence may ask for in words of one's own
TASKS = tasks.usual(ROBOT)
EXTRA = tuple(n for n in tasks.names(ROBOT) if n not in TASKS)
VERBS_OF: dict[str, tuple[str, ...]] = {n: tasks.task(n).verbs for n in TASKS}
HINTS = ("belongs", "should", "like", "above", "over", "close", "fingers", "slides")  # tell a task, and are no verbs
VERBS = tuple(dict.fromkeys(v for verbs in VERBS_OF.values() for v in verbs if v not in HINTS))
GOING_ON = ("keep", "hold", "wait", "leave")  # after another verb, the same hand goes on doing it
MORE = {"move": ("push",), "bring": ("pick",)}  # what else they may mean beside another verb
PARTS = {n: tasks.task(n).parts for n in TASKS}
"""What a task is made of, in this order: whoever picks has reached."""
HAND = ("hand", "gripper", "arm", "fingers", "claw")
JOINS = ("and", "then", "but", "before", "after", "while", "or")
POLITE = ("please", "now", "then", "also", "just", "robot", "first", "next", "once", "again", "thanks", "thank", "ok")
HARMLESS = ("be", "do", "stop", "stay", "come", "to", "so")  # "and stop above it", "and be careful"
OPENERS = ("it", "them", "this", "that", "the", "a", "an", "its", "up", "down", "away", "around", "over", "off")
"""What follows a verb."""
NOT_THERE = ("out", "from", "off", "beside", "near", "behind", "under", "below", "between", "next")
"""Before a place: somewhere else than on it."""
EXAMPLE = "pick up the red cube"
NEGATIONS = (
    "not", "dont", "doesnt", "cannot", "never", "no", "nor", "neither", "nothing", "without", "except", "avoid",
    "refuse", "refrain",
)  # fmt: skip
NOUNS_OF = {shape: NOUNS[shape] for shape in (*SHAPES, *DESTINATIONS)}
DIRECTIONS = tuple(d for n in TASKS for d in tasks.task(n).scene.directions)
THINGS = tuple(n for names in NOUNS_OF.values() for n in names)
OBJECTS = tuple(n for s in SHAPES for n in NOUNS[s])
PLACES = tuple(n for s in DESTINATIONS for n in NOUNS[s])
OWN = {
    n: shape
    for task in EXTRA
    for shape in tasks.task(task).scene.shapes
    if shape not in (*SHAPES, *DESTINATIONS)
    for n in NOUNS[shape]
}
"""Words for things that only extra tasks ask for, by which those are told: "slide" alone means to push."""
