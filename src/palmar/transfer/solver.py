"""The least-squares solver of `mujoco.sysid`, loaded late, with the settings that every fit here uses."""

from __future__ import annotations

from io import StringIO
from typing import Any

from palmar.description.gl import import_mujoco
from palmar.errors import MissingPackage

SOLVER: dict[str, Any] = {
    "optimizer": "mujoco",
    "max_iters": 6,
    "xtol": 1e-3,
    "mu_factor": 10.0,
    "mu_max": 1e5,
    "output": StringIO(),
}


def load_sysid() -> Any:
    """The module `mujoco.sysid`. Raises `MissingPackage`: without its extra the module is there but empty."""
    import_mujoco()  # first: who imports mujoco first decides what it renders with
    try:
        from mujoco import sysid

        sysid.optimize  # noqa: B018
    except (ImportError, AttributeError):
        raise MissingPackage(
            "'mujoco.sysid' is not installed; this needs it. Next: pip install 'palmar[sysid]'"
        ) from None
    return sysid


def t95(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t with `freedom` degrees of freedom (at least 1)."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), 0.975))
