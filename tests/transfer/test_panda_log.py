"""A real Panda: identified from 0.5 … 8 s of its log, its torques of 8 … 12.6 s are predicted (the data lie beside "
"the repository)."""

from pathlib import Path

import numpy as np
import pytest

from palmar.transfer.identify_log import TorqueFitConfig, identify_torques
from palmar.transfer.inertia import consistent
from palmar.transfer.log_files import read_log
from palmar.transfer.serial_arm import serial_arm

ROOT = Path(__file__).resolve().parents[2]
LOGS = [p / "shared" / "data" / "panda_excitation" / "log.parquet" for p in (ROOT.parent, ROOT.parents[1])]
LOG = next((p for p in LOGS if p.is_file()), None)
pytestmark = pytest.mark.skipif(
    LOG is None, reason="no ../shared/data/panda_excitation: a real Panda's log (GPL, not part of this repository)"
)
TARGET = (0.18, 0.32, 0.15, 0.22, 0.10, 0.07, 0.07)  # [N·m]


@pytest.fixture(scope="module")
def arm():
    return serial_arm("arm7", without_tool=True)


@pytest.fixture(scope="module")
def found(arm):
    config = TorqueFitConfig(next_motion=False)
    return identify_torques(read_log(LOG, arm.joints), arm, (0.5, 8.0), (8.0, 12.6), config)


def test_its_torques_are_predicted(found):
    assert (np.array(found.rms_test) <= TARGET).all(), found.rms_test


def test_its_bodies_can_exist(found):
    assert consistent(np.array(list(found.inertia.values()))).all()


def test_what_its_motion_tells_and_does_not(found):
    assert len(found.base) == 43
    assert found.estimates["joint7.coulomb"].identified and not found.estimates["joint1.mass"].identified
    assert not found.estimates["joint7.izz"].identified and any("joint7.izz" in s for s in found.cannot_tell)
    assert all(b.low < b.value < b.high for b in found.base)
