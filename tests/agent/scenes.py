"""Scenes in words, for tests of planners."""

from palmar.agent.seen import SceneDescription, SeenObject

TABLE = SceneDescription((
    SeenObject("red cube", position=(0.45, 0.10, 0.02)),
    SeenObject("green cylinder", position=(0.50, -0.10, 0.03)),
    SeenObject("blue ball", position=(0.42, 0.0, 0.02)),
    SeenObject("blue plate", True, (0.55, 0.10, 0.0)),
    SeenObject("yellow tray", True, (0.40, -0.17, 0.0)),
))  # fmt: skip
TWO_CUBES = SceneDescription((SeenObject("red cube"), SeenObject("yellow cube"), SeenObject("blue plate", True)))
EMPTY = SceneDescription(())
