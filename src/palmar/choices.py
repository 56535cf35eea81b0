"""Words that options take. Light: the command line reads them before numpy is there."""

from __future__ import annotations

from typing import Literal, get_args

Fit = Literal["stretch", "crop", "pad"]
FITS: tuple[Fit, ...] = get_args(Fit)
FIT: Fit = "stretch"
"""How pictures are made to fit where nothing else is said: in training, in a mapping and when acting alike."""

Split = Literal["seen", "layout", "pair", "wording", "free"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""What is new in an evaluation's scenes: nothing, the table, the pair of colour and object, the sentence, the words of it."""
DRAWN: tuple[Split, ...] = SPLITS[:-1]
"""Those that every task has; "free" is of sentences that somebody wrote, for some tasks."""

Scale = Literal["check", "keep", "new"]
"""Normalisers of a training that goes on from a checkpoint: the checkpoint's, where the data are of their scale; the checkpoint's
in any case; fitted to the data anew."""

GRADES = ("twin", "near", "far", "other")
"""Kinds of realities, stand-ins for the real robot: GRADE:SEED is one (`palmar.sim.reality`)."""
WHERE = {
    "sim": "simulation", "twin": "reality twin", "near": "near reality", "far": "far reality", "other": "other reality",
}  # fmt: skip
"""Kinds of worlds in words."""
