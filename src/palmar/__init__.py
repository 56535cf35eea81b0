"""palmar: the whole life of a vision-language-action robot policy, from demonstrations to a safe deployment."""

from palmar.embodiments import Embodiment
from palmar.policy import Policy, load_policy
from palmar.types import ActionChunk, Episode, Observation, Step, Verdict

__version__ = "0.1.0"
__all__ = ["ActionChunk", "Embodiment", "Episode", "Observation", "Policy", "Step", "Verdict", "load_policy"]
