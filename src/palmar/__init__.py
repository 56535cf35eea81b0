"""palmar: the whole life of a vision-language-action robot policy, from demonstrations to a safe deployment."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palmar.embodiments import Embodiment
    from palmar.policy import Policy, load_policy
    from palmar.types import ActionChunk, Episode, Observation, Step, Verdict

__version__ = "0.1.0"
__all__ = ["ActionChunk", "Embodiment", "Episode", "Observation", "Policy", "Step", "Verdict", "load_policy"]

WHERE = {
    "Embodiment": "embodiments", "Policy": "policy", "load_policy": "policy",
    "ActionChunk": "types", "Episode": "types", "Observation": "types", "Step": "types", "Verdict": "types",
}  # fmt: skip
"""{name: the module that it comes from}. Imported when it is first asked for, so that a command's help needs no numpy."""


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module 'palmar' has no attribute '{name}'")
    return getattr(import_module(f"palmar.{WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
