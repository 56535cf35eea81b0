"""Where the worlds of episodes come from: anything that draws one from a random number generator.

`Randomization` draws from ranges, a `transfer.posterior.Posterior` from what was identified. Collecting, training and evaluating
take either.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from palmar.sim.params import WorldParams


@runtime_checkable
class Worlds(Protocol):
    """A frozen dataclass whose fields JSON can hold, so that a configuration with one can be kept and compared."""

    def sample(self, rng: np.random.Generator) -> WorldParams:
        """One world. The same for a generator in the same state."""
        ...
