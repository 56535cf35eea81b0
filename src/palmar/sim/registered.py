"""Imported, it makes palmar's worlds known to Gymnasium: names alone, nothing of the simulator is loaded.

    import gymnasium
    import palmar.sim.registered

    env = gymnasium.make("palmar/Table-v0", task="pick")

or in one word: gymnasium.make("palmar.sim.registered:palmar/Table-v0", task="pick").
"""

from gymnasium.envs.registration import register, registry

NAME = "palmar/Table-v0"

if NAME not in registry:
    register(id=NAME, entry_point="palmar.sim.environment:TableEnv")
