"""Which place each of several things is put on: the one that was named, the one of its colour, or the nearest that is left."""

from __future__ import annotations

from collections.abc import Sequence

from palmar.agent.plans import Refusal
from palmar.agent.rules.references import Mentions
from palmar.agent.seen import SceneDescription, SeenObject
from palmar.agent.skills import Skill


def spread(objects: Sequence[SeenObject], places: Sequence[SeenObject]) -> list[Skill]:
    """Each thing on the nearest place that is left."""
    empty, out = list(places), list[Skill]()
    for thing in objects:
        nearest = min(empty, key=lambda p, t=thing: _apart(p, t))  # type: ignore[misc]
        empty.remove(nearest)
        out.append(Skill("place_on", object=thing.name, destination=nearest.name))
    return out


def put(found: Mentions, text: str, scene: SceneDescription) -> list[Skill] | Refusal:
    if found.own_colour:
        return by_colour(found.objects, scene)
    objects, places = found.objects, found.places
    if len(places) == 1 or len(places) == len(objects):
        places = places * len(objects) if len(places) == 1 else places
    elif not (found.many_places and len(places) >= len(objects)):
        return Refusal(f"'{text}' puts {len(objects)} things on {len(places)} places; expected a place for each")
    if len({p.name for p in places[: len(objects)]}) < len(objects):
        return Refusal(f"'{text}' puts {len(objects)} things on the {places[0].name}; expected one thing on a place")
    return [Skill("place_on", object=o.name, destination=p.name) for o, p in zip(objects, places, strict=False)]


def cleared(scene: SceneDescription) -> list[Skill] | Refusal:
    """Every free thing on a place of its own, each on the nearest that is left."""
    loose = [t for t in scene.free if not t.on]
    empty = [p for p in scene.fixed if not scene.lying_on(p.name)]
    if len(loose) > len(empty):
        return Refusal(
            f"{len(loose)} things lie on the table and {len(empty)} plates or trays are empty; expected a place for each"
        )
    return [Skill("place_on", object=t.name, destination=t.on) for t in scene.free if t.on] + spread(loose, empty)


def by_colour(things: Sequence[SeenObject], scene: SceneDescription) -> list[Skill] | Refusal:
    """Each thing on the place of its colour."""
    out: list[Skill] = []
    for thing in things:
        colour = thing.name.split()[0]
        places = [p for p in scene.fixed if p.name.split()[0] == colour]
        if len(places) != 1:
            return Refusal(f"{len(places)} plates or trays are {colour} like the {thing.name}; expected one")
        out.append(Skill("place_on", object=thing.name, destination=places[0].name))
    return out


def _apart(a: SeenObject, b: SeenObject) -> float:
    if a.position is None or b.position is None:
        return 0.0
    return (a.position[0] - b.position[0]) ** 2 + (a.position[1] - b.position[1]) ** 2
