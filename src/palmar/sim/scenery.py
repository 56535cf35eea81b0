"""Scenes that are laid: compiled once for each kind, and edited after that."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from palmar.embodiments import Embodiment
from palmar.links import Mechanics
from palmar.sim import camera as cameras
from palmar.sim.edits import ModelEdits, kind_of
from palmar.sim.params import WorldParams
from palmar.sim.scenario import Scenario
from palmar.sim.scenes import build, mujoco
from palmar.types import Array

KEPT = 6
"""Compiled kinds of scenes that a world keeps, each with what it has on the graphics side."""


class Laid:
    """A compiled scene with its state and its renderers."""

    def __init__(self, model: Any, quality: bool, edits: ModelEdits | None = None) -> None:
        self.model, self.edits, self._quality = model, edits, quality
        self.data = mujoco.MjData(model)
        self._past: Any = None
        self._renderers: dict[tuple[int, int], cameras.Renderer] = {}

    def renderer(self, height: int, width: int) -> cameras.Renderer:
        size = (height, width)
        if size not in self._renderers:
            self._renderers[size] = cameras.Renderer(self.model, height, width, self._quality)
        return self._renderers[size]

    def at(self, positions: Array) -> Any:
        """Data of the scene with the joints at positions float64[nq], as far as a picture needs it."""
        if self._past is None:
            self._past = mujoco.MjData(self.model)
        self._past.qpos[:] = positions
        mujoco.mj_kinematics(self.model, self._past)
        mujoco.mj_camlight(self.model, self._past)
        return self._past

    def edit(self, params: WorldParams, scenario: Scenario) -> None:
        """Lay another scene of the same kind."""
        assert self.edits is not None
        if self.edits.apply(params, scenario):
            for r in self._renderers.values():
                r.upload()

    def close(self) -> None:
        for r in self._renderers.values():
            r.close()
        self._renderers = {}


class Scenes:
    """The scenes of a robot. The kinds used last stay compiled, `KEPT` of them."""

    def __init__(self, robot: Embodiment, mechanics: Mechanics, quality: bool = False) -> None:
        self._made_of, self._quality = (robot, mechanics), quality
        self._kept: dict[Hashable, Laid] = {}

    def lay(
        self, scenario: Scenario, params: WorldParams, anew: bool = False, dress: Callable[[Any], None] | None = None
    ) -> Laid:
        """A scene under the given parameters. anew: compile it whatever there is, for who changes more of the model. dress: as of
        `scenes.build`; with one it is compiled anew too."""
        kind = None if anew or dress is not None else kind_of(scenario)
        laid = self._kept.pop(kind, None)
        if laid is not None and kind is None:
            laid.close()
            laid = None
        if laid is None and kind is None:
            laid = Laid(build(*self._made_of, scenario, params, self._quality, dress), self._quality)
        else:
            if laid is None:
                edits = ModelEdits(*self._made_of, scenario, self._quality)
                laid = Laid(edits.model, self._quality, edits)
            laid.edit(params, scenario)
        self._kept[kind] = laid
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        return laid

    def close(self) -> None:
        for laid in self._kept.values():
            laid.close()
