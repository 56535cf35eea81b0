"""The planner that needs no language model: an instruction's clauses → goals → the skills that are still to be done.

It plans what it can read word for word, asks where a word fits several things, and refuses the rest; it never guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from palmar.agent.plans import AGAIN, Decision, Plan, PlanRequest, Question, Refusal, check_plan
from palmar.agent.rules.answers import chosen
from palmar.agent.rules.clauses import Clause, clauses_of, words_of
from palmar.agent.rules.commands import base_form
from palmar.agent.rules.phrases import (
    ends_with_a_way,
    goes_back,
    on_the_table,
    only_stands_there,
    says_held,
    way_before_place,
    where_it_lies,
)
from palmar.agent.rules.placing import by_colour, cleared, put, spread
from palmar.agent.rules.references import (
    Mentions,
    meant,
    mentioned,
    not_understood,
    nouns_of,
    without_excluded,
    words_in,
)
from palmar.agent.rules.refusals import refused
from palmar.agent.rules.vocabulary import (
    CLEARING,
    FROM,
    HAND,
    LETTING_GO,
    LOOKING,
    MOVING,
    NUMBERS,
    OPENING,
    ORDER,
    OTHERS,
    ROOM,
    SORTING,
    TASK_VERBS,
    VERBS,
    WAYS,
    WITH_THE_HAND,
)
from palmar.agent.seen import SceneDescription
from palmar.agent.skills import Skill, SkillResult
from palmar.sim.things import DESTINATIONS, NOUNS
from palmar.sim.vocabulary import DIRECTIONS


@dataclass(slots=True)
class _Reading:
    """What is known while an instruction is read. names: those that were named last, for "it"; earlier: all so far. way: of the
    last push, for "the same line". held: what the gripper has after what was read so far."""

    request: PlanRequest
    names: list[str] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    way: str = ""
    held: str = ""

    def answer(self, question: str) -> str | None:
        return self.asked.get(question)


class RulePlanner:
    """`Planner` by rules. Words: those of the tasks (`sim.vocabulary`), English of the scene's names."""

    name = "rules"

    def decide(self, request: PlanRequest) -> Decision:
        goals = self.goals(request)
        if not isinstance(goals, list):
            return goals
        left = remaining(goals, request)
        failed = [s for s in left if sum(r.skill == s and not r.done for r in request.tried) >= AGAIN]
        if failed:
            last = next(r for r in reversed(request.tried) if r.skill == failed[0])
            return Refusal(f"{failed[0]} has failed {AGAIN} times, the last time: {last}")
        steps = between(left, request.scene)
        stuck = bool(request.tried) and not request.tried[-1].done and request.tried[-1].seconds > 0
        if stuck and steps and steps[0].name != "home":
            steps = [Skill("home"), *steps]  # where it got stuck it would get stuck again
        plan = Plan(tuple(steps), f"{len(left)} of {len(goals)} steps are to be done")
        fault = check_plan(plan, request.scene, request.tried)
        return plan if fault is None else Refusal(str(fault))

    def goals(self, request: PlanRequest) -> list[Skill] | Question | Refusal:
        """What the instruction asks for, a skill for each, whatever is done already."""
        reading = _Reading(request, asked=dict(request.answers))
        words = words_of(request.instruction)
        nouns = nouns_of(request.scene)
        if (why := refused(request.instruction, words, nouns)) is not None:
            return Refusal(why)
        kept = without_excluded(words, request.scene)
        if kept is None:
            return Refusal("'instead of' is not followed by one thing; expected each thing by its name")
        words, excluded = kept
        places = [n for n, things in nouns.items() if any(t.fixed for t in things)]
        places += [n for shape in DESTINATIONS for n in NOUNS[shape]] + ["places", "place"]
        clauses = clauses_of(words, nouns, places)
        if not clauses:
            return Refusal(f"'{request.instruction.strip()[:60]}' asks for nothing")
        ranked: list[tuple[float, Skill]] = []
        unread = list(clauses)
        while unread:
            clause = unread.pop(0)
            said = self._goals_of(clause, reading)
            if isinstance(said, Question) and not reading.names and any(c.rank < clause.rank for c in unread):
                unread.append(clause)  # "the other one, after you have put the cube away"
                continue
            if not isinstance(said, list):
                return said
            if wrong := next((g for g in said if {g.object, g.destination} & excluded), None):
                return Refusal(f"'instead of' leaves out what {wrong} needs; expected each thing by its name")
            ranked += [(clause.rank, goal) for goal in said]
            reading.held = said[-1].object if said and said[-1].name == "grasp" else "" if said else reading.held
        if not ranked:
            return Refusal(f"'{request.instruction.strip()[:60]}' asks for nothing that is done here")
        return _merged([goal for _, goal in sorted(ranked, key=lambda x: x[0])])

    def _goals_of(self, clause: Clause, reading: _Reading) -> list[Skill] | Question | Refusal:
        scene, words = reading.request.scene, [w for w in clause.words if w != ","]
        text, verb = clause.text, clause.verb
        if verb in LOOKING and {"for", "to", "that"} & set(words):
            return Refusal(f"'{text}': nothing here can {verb} for things; the scene is told")
        if clause.when:
            return Refusal(f"'{text}' tells when, and not where a thing goes; expected what to do first")
        if clause.hanging:
            return Refusal(f"'{text}' tells when, and its sentence has no command; expected what to do then")
        if clause.misplaced:
            return Refusal(
                f"'{clause.misplaced}' in '{text}' contradicts the order of the parts; expected them in order"
            )
        if (skill := _without_a_thing(verb, words)) is not None:
            return self._hand_or_look(skill, clause, reading)
        if _goes_home(clause, reading):
            return [Skill("home")]
        if (strange := not_understood(words, scene)) is not None:
            if strange == "home":
                return Refusal(f"'{text}': the arm goes home, and nothing else; expected 'go home' for it")
            guess = meant(strange, {*TASK_VERBS, *WAYS, *words_in(scene)})
            return Refusal(f"'{text}': '{strange}' is not understood{guess}")
        found = mentioned(words, scene, reading.names, reading.answer, reading.earlier)
        if not isinstance(found, Mentions):
            return found
        in_order = sorted(found.objects, key=lambda t: found.orders.get(t.name, ORDER["third"] + 1))
        late = len(found.objects) == 1 and "," in clause.words and clause.rank > 0 and 1 in found.orders.values()
        if late:
            return Refusal(f"'first' in '{text}' contradicts the order of the parts; expected them in order")
        if in_order != found.objects:
            if found.places or len([w for w in words if w in WAYS]) > 1:
                return Refusal(f"'{text}' names things in another order than it asks for; expected them in order")
            found.objects = in_order
        if verb in CLEARING and not found.own_colour and not found.places:
            return cleared(scene)
        if verb in SORTING or (found.own_colour and not found.objects):
            return by_colour(found.objects or scene.free, scene)
        in_hand = {t.name for t in found.objects} <= {reading.held, scene.holding}
        if verb == "keep" and (found.places or {"table", *WAYS} & set(words) or not (says_held(words) or in_hand)):
            return Refusal(f"'{text}': 'keep' does not say where; expected what to do")
        if found.objects:
            reading.names = [t.name for t in found.objects]
        reading.earlier += [t.name for t in (*found.objects, *found.places)]
        if verb in OPENING and found.places and found.places[0].name.split()[-1] in ("drawer", "door"):
            return [Skill("open", object=found.places[0].name)]
        if verb in OTHERS and verb not in TASK_VERBS:
            return Refusal(f"'{text}': nothing here can {verb}; it can reach, pick up, put and push")
        beside = next((w for w in ("beside", "between", "under", "below", "underneath") if w in words), "")
        if beside or any(a == "next" and b == "to" for a, b in pairwise(words)):
            return Refusal(f"'{text}': '{beside or 'next to'}' is no place that things are put; expected on or in one")
        if found.loose and not found.over:
            return Refusal(f"'{text}': '{found.loose}' is no place that things are put; expected on or in one")
        if found.beside is not None:
            return Refusal(
                f"'{text}': '{found.beside}' another thing is not read; expected each thing and where it goes"
            )
        if (found.objects or found.places) and (wrong := next((w for w in FROM if w in words), None)):
            return Refusal(f"'{text}': '{wrong}' is not read; expected on or in a place, or over a line")
        if wrong := next((w for w in ROOM if w in words and found.places and words.index(w) < len(words) - 1), None):
            return Refusal(f"'{text}': '{wrong}' is no place that things are put; expected on or in one")
        if goes_back(words, bool(found.places) or verb in VERBS["reach"]):
            return Refusal(f"'{text}': things are pushed to the left, to the right and forward, not back")
        reaching = verb in (*VERBS["reach"], *MOVING, "") and verb != "keep"
        if found.over and found.objects and (found.places or not reaching):
            return Refusal(f"'{text}': '{found.over}' another thing is not read; expected each thing and where it goes")
        if verb in VERBS["place"] and not found.places and not found.own_colour and on_the_table(words):
            return Refusal(f"'{text}': things are put on a plate or tray, not on the table")
        return self._of_task(clause, found, reading)

    def _hand_or_look(self, skill: Skill, clause: Clause, reading: _Reading) -> list[Skill] | Refusal:
        """A skill that needs no thing, where the clause says no more than it."""
        scene, words = reading.request.scene, [w for w in clause.words if w != ","]
        names = {*nouns_of(scene), *(w for t in scene.things for w in t.name.split())}
        named = [w for w in words if w in names or w.rstrip("s") in names]
        if skill.name in ("open_gripper", "close_gripper") and named and (set(words) & {*HAND} - {"fingers"}):
            return Refusal(f"'{clause.text}': '{named[0]}' has no part in it; expected the gripper alone")
        more = next(
            (w for w in words if w not in (*named, *HAND, *WITH_THE_HAND) and base_form(w) != clause.verb), None
        )
        if more is not None:
            return Refusal(f"'{clause.text}': '{more}' is not read here; expected the gripper or the table alone")
        if skill.name == "open_gripper" and named and scene.holding and not set(scene.holding.split()) & set(named):
            return Refusal(f"'{clause.text}': the gripper holds the {scene.holding}")
        return [skill]

    def _of_task(self, clause: Clause, found: Mentions, reading: _Reading) -> list[Skill] | Question | Refusal:
        words, verb, text = clause.words, clause.verb, clause.text
        ways = [WAYS[w] for i, w in enumerate(words) if w in WAYS and not only_stands_there(words, i)]
        placed = bool(found.places) or found.own_colour
        crossing = "line" in words or (bool(ways) and (not verb or verb in MOVING))
        aside = "aside" in words or "side" in words or list(words[-4:]) == ["out", "of", "the", "way"]
        pushes = not placed and (verb in VERBS["push"] or crossing or (aside and verb in MOVING))
        if not found.objects:
            if found.places and (pushes or verb in VERBS["push"] or verb in (*VERBS["pick"], *MOVING)):
                return Refusal(f"'{text}': the {found.places[0].name} stands fast")
            if found.places and verb in VERBS["reach"]:
                return Refusal(
                    f"'{text}': the gripper goes over things that can be taken, not over the {found.places[0].name}"
                )
            if verb and reading.names and placed and verb in VERBS["place"] and verb not in VERBS["reach"]:
                known = [t for t in reading.request.scene.free if t.name in reading.names[-1:]]
                return put(replace(found, objects=known), text, reading.request.scene)
            if verb == "wait":
                return Refusal(f"'{text}': nothing here waits; it can reach, pick up, put and push")
            if verb and (pushes or verb in (*VERBS["place"], *VERBS["pick"], *VERBS["reach"])):
                return self._asked_for_object(clause, reading)
            if not verb and ways:
                return Refusal(f"'{text}' does not say what is pushed; expected one way for each thing, and its name")
            if not verb and placed and reading.names:
                return Refusal(f"'{text}' is a second place for one thing; expected one place for each thing")
            return Refusal(f"'{text}': nothing here can do that; it can reach, pick up, put and push")
        if found.beneath is not None and verb not in VERBS["reach"]:
            return Refusal(f"'{text}': nothing is put on the {found.beneath.name}; expected a plate or tray")
        if verb in VERBS["push"] and placed:
            return Refusal(f"'{text}': things are pushed over a line, and put on or in places")
        if placed and verb in MOVING and (way := way_before_place(words, found)):
            return Refusal(f"'{text}' says {way} and a place; expected one of them")
        if (
            placed
            and verb in VERBS["pick"]
            and verb not in {*VERBS["place"], *MOVING} - {"take"}
            and where_it_lies(words)
        ):
            if all(t.on == p.name for t in found.objects for p in found.places):
                return self._without_place(clause, replace(found, places=[]), reading)
            return Refusal(
                f"'{text}' may mean to pick up from the {found.places[0].name} or to put there; expected 'put' or no place"
            )
        if pushes:
            if len(set(ways)) > 1 and len(ways) != len(found.objects):
                return Refusal(f"'{text}' says {' and '.join(ways)}; expected one way")
            return self._pushed(found, ways or ([reading.way] if reading.way and "same" in words else []), reading)
        if placed:
            return put(found, text, reading.request.scene)
        if not verb and {"over", "above"} & set(words):
            return [Skill("move_to", object=t.name) for t in found.objects]
        if not verb:
            if ":" in clause.words or len(words) <= 8:
                return []  # "with the red cube:" says what "it" is
            return Refusal(f"'{text}': nothing here can do that; it can reach, pick up, put and push")
        return self._without_place(clause, found, reading)

    def _without_place(self, clause: Clause, found: Mentions, reading: _Reading) -> list[Skill] | Question | Refusal:
        """A command with things alone."""
        words, verb, text = clause.words, clause.verb, clause.text
        away = "away" in words or verb in ("stow", "stash", "store", "tuck")
        over = bool({"over", "above", "to", "at", "towards", "near"} & set(words))
        if verb in VERBS["place"] and verb not in VERBS["pick"] and not (verb in VERBS["reach"] and over):
            if verb == "drop" and reading.request.scene.holding:
                return [Skill("open_gripper")]
            if way := next(
                (w for i, w in enumerate(words) if w in DIRECTIONS and not only_stands_there(words, i)), None
            ):
                return Refusal(f"'{text}': things are put on a plate or tray, and pushed {way}")
            return self._put_somewhere(found, reading)
        if verb in ("move", "bring", "take") and len(found.objects) > 1 and not {"gripper", "hand", "arm"} & set(words):
            return Refusal(f"'{text}': things are put on places and pushed over lines, not brought to other things")
        if verb in ("get", "go") and {"above", "over"} & set(words):
            return [Skill("move_to", object=t.name) for t in found.objects]
        if (verb in MOVING and verb != "take" and not over) or away:
            return self._put_somewhere(found, reading)
        if verb in VERBS["reach"] and verb not in VERBS["pick"]:
            return [Skill("move_to", object=t.name) for t in found.objects]
        if way := ends_with_a_way(words):
            return Refusal(f"'{text}': things are picked up, and pushed {way}; expected one of them")
        if len(found.objects) > 1:
            return Refusal(f"'{text}' picks up {len(found.objects)} things; the gripper holds one")
        return [Skill("grasp", object=t.name) for t in found.objects]

    def _asked_for_object(self, clause: Clause, reading: _Reading) -> list[Skill] | Question | Refusal:
        if number := next((w for w in clause.words if w in NUMBERS and w != "both"), None):
            return Refusal(f"'{clause.text}': '{number}' of what is not said; expected each thing by its name")
        names = tuple(t.name for t in reading.request.scene.free)
        question = f"What is meant in '{clause.text}': {', '.join(names)}?"
        said = reading.answer(question)
        if said is None:
            return Question(question, names) if names else Refusal("there is nothing here that can be taken or pushed")
        meant = chosen(said, names)
        if meant is None:
            return Question(question, names)
        return self._goals_of(Clause(clause.verb, (*clause.words, "the", *meant.split())), reading)

    def _pushed(self, found: Mentions, ways: list[str], reading: _Reading) -> list[Skill] | Question | Refusal:
        reading.way = ways[-1] if ways else ""
        if not ways:
            question = f"Which way is the {found.objects[0].name} to be pushed: {', '.join(DIRECTIONS)}?"
            said = reading.answer(question)
            way = None if said is None else chosen(said, DIRECTIONS)
            if way is None:
                return Question(question, DIRECTIONS)
            ways = [way]
        ways = ways if len(ways) == len(found.objects) else ways[:1] * len(found.objects)
        return [Skill("push", object=t.name, direction=way) for t, way in zip(found.objects, ways, strict=True)]

    def _put_somewhere(self, found: Mentions, reading: _Reading) -> list[Skill] | Question | Refusal:
        """Things without a place: on the one that is left, or each on one of its own; else it is asked."""
        scene = reading.request.scene
        places = tuple(p.name for p in scene.fixed)
        if not places:
            return Refusal(f"there is no plate or tray to put the {found.objects[0].name} on")
        if len(found.objects) > 1 and len(found.objects) == len(places):
            return spread(found.objects, scene.fixed)
        if len(found.objects) > len(places):
            return Refusal(
                f"{len(found.objects)} things are to be put on {len(places)} places; expected a place for each"
            )
        out: list[Skill] = []
        for thing in found.objects:
            question = f"Where is the {thing.name} to be put: {', '.join(places)}?"
            said = places[0] if len(places) == 1 else reading.answer(question)
            meant = None if said is None else chosen(said, places)
            if meant is None:
                return Question(question, places)
            out.append(Skill("place_on", object=thing.name, destination=meant))
        return out


def _without_a_thing(verb: str, words: Sequence[str]) -> Skill | None:
    """Opening and closing the gripper, and looking: what is done without a thing."""
    hand = bool({*HAND} & set(words))
    if verb in LETTING_GO or (verb == "let" and "go" in words) or (verb in OPENING and hand):
        return Skill("open_gripper")
    if verb == "close" and hand:
        return Skill("close_gripper")
    return Skill("look") if verb in LOOKING else None


def _goes_home(clause: Clause, reading: _Reading) -> bool:
    """Whether a clause asks for the arm to go home, and for nothing else: "go home", "return to your home position"."""
    words = [w for w in clause.words if w not in (*WITH_THE_HAND, *HAND, ",", "arm", "home", "back", "to", "position")]
    rest = [w for w in words if base_form(w) != clause.verb and w not in ("come", "comes")]
    return "home" in clause.words and not rest and (bool(clause.verb) or not reading.names)


def _merged(goals: Sequence[Skill]) -> list[Skill]:
    """Who takes a thing and then puts it, only puts it: that takes it too."""
    out: list[Skill] = []
    for goal in goals:
        if goal.name == "place_on" and out and out[-1] == Skill("grasp", object=goal.object):
            out.pop()
        of_it = [g for g in out if g.object == goal.object] if goal.name == "place_on" else out
        if of_it[-1:] != [goal]:
            out.append(goal)
    return out


def remaining(goals: Sequence[Skill], request: PlanRequest) -> list[Skill]:
    """The goals that are still to be done, in order: those not done since the person spoke, and those undone since."""
    done = [r.skill for i, r in enumerate(request.tried) if r.done and not _comes_back(request.tried, i)]
    out: list[Skill] = []
    for i, goal in enumerate(goals):
        later = goals[i + 1 :]
        if goal.name == "grasp":  # what is held is let go for the next thing that is done with the gripper
            last_of_it = all(g.name in ("look", "ask", "home") for g in later)
        else:
            last_of_it = all(g.object != goal.object for g in later)
        if goal in done:
            done.remove(goal)
            if not (last_of_it and undone(goal, request.scene)):
                continue
        elif last_of_it and not out and fulfilled(goal, request.scene):
            continue
        out.append(goal)
    return out


def _comes_back(tried: Sequence[SkillResult], i: int) -> bool:
    """Whether the arm went home at this step because another had failed, and not because it was asked for."""
    if tried[i].skill.name != "home":
        return False
    before = next((r for r in reversed(tried[:i]) if r.skill.name != "home"), None)
    return before is not None and not before.done


def fulfilled(goal: Skill, scene: SceneDescription) -> bool:
    """Whether the scene is already as the goal would leave it."""
    thing = scene.find(goal.object)
    if thing is None or scene.holding == goal.object:
        return goal.name == "grasp" and scene.holding == goal.object != ""
    if goal.name == "place_on":
        return thing.on == goal.destination
    return goal.name == "push" and goal.direction in thing.beyond


def undone(goal: Skill, scene: SceneDescription) -> bool:
    """Whether what was done is no more so. Only what lasts can be told, where it is perceived."""
    return scene.placements and goal.name in ("place_on", "push", "grasp") and not fulfilled(goal, scene)


def between(goals: Sequence[Skill], scene: SceneDescription) -> list[Skill]:
    """The goals, and letting go before each that needs an empty gripper."""
    out: list[Skill] = []
    holding = scene.holding
    for goal in goals:
        if holding and goal.object and (goal.object != holding or goal.name in ("push", "move_to")):
            out.append(Skill("open_gripper"))
        out.append(goal)
        holding = goal.object if goal.name == "grasp" else "" if goal.name in ("place_on", "open_gripper") else holding
        if out[-1].name in ("push", "move_to"):
            holding = ""
    return out
