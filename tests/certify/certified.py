"""Certificates and cases that stand in for real ones."""

from datetime import UTC, datetime
from pathlib import Path

from palmar.certify.item import Case, CertifyConfig
from palmar.robots import robot as robot_named
from palmar.runtime.adaptation.certificate import ITEMS, Certificate, Fingerprints

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder with files as a checkpoint has them."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("{}")
    return folder


def certificate(
    policy: Path, robot: str = "arm7", data: Path | None = None, without=(), quick: bool = False
) -> Certificate:
    """Of a checkpoint whose items are all met, but those named."""
    items = tuple(
        {"name": n, "met": n not in without, "finding": "x", "evidence": {}, "group": "safety"} for n in ITEMS
    )
    prints = Fingerprints.of(str(policy), robot, data)
    return Certificate("2026-01-05T00:00:00+00:00", str(policy), robot, quick, prints, items)


def case(folder: Path, robot: str = "arm7", **options) -> Case:
    """Of the shipped checkpoint on a shipped robot, with nothing run yet."""
    evidence, scratch = folder / "evidence", folder / "scratch"
    evidence.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    config = CertifyConfig(robot=robot, **options)
    prints = Fingerprints.of(config.policy, config.robot)
    return Case(config, robot_named(robot), prints, evidence, scratch, False, now=lambda: NOW)
