"""What Gymnasium finds of palmar when it is imported (an entry point): names alone, nothing of the simulator is loaded."""


def register() -> None:
    """`palmar/Table-v0`."""
    from gymnasium.envs.registration import namespace
    from gymnasium.envs.registration import register as add

    with namespace("palmar"):
        add(id="Table-v0", entry_point="palmar.sim.environment:TableEnv")
