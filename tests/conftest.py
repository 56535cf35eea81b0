"""Every test begins with the same environment, whatever the shell or the machine that runs the tests has set."""

import os
import sys

import pytest
from hypothesis import settings

FOREIGN = (
    "CLICOLOR_FORCE", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE",  # colours in text that a test reads
    "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE",  # a group of processes (torchrun) around pytest
    "OPENPI_API_KEY",
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS",
    "OPENAI_API_KEY", "OPENAI_BASE_URL",
)  # fmt: skip
"""Variables of the environment that change what palmar or its libraries do, and that a test sets itself if it needs them.
Not COLUMNS: no message may depend on the width of a terminal, so `.ci/run` sets another one each time."""

for name in FOREIGN:  # before any module is imported: fixtures of a module and child processes see the same
    os.environ.pop(name, None)

# An image that sets it would have every process of a test compile torch and transformers anew, 5 s of a core each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("palmar", deadline=None)  # how fast a machine is decides no test
settings.load_profile("palmar")


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 200 columns, for what is laid out to the width on purpose: tables, panels, and help texts."""
    monkeypatch.setenv("COLUMNS", "200")
