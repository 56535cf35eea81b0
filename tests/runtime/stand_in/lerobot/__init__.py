"""A stand-in for lerobot's published interface: configurations in registries, robots, teleoperators and cameras, and their errors.

What its simulated devices do is set in `lerobot.simulated`.
"""
