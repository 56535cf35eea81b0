"""Which browser the tests drive."""

import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def browser_path():
    """Of a Chromium of this machine, or of one that playwright has installed; None where there is neither."""
    if find_spec("playwright") is None:
        return None
    named = [os.environ.get("CHROMIUM", ""), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    own = sorted(Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome"))
    return next((str(p) for p in [*named, *own] if p and Path(p).exists() and _starts(p)), None)


def _starts(path):
    """A package may only say where a browser could be had."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


if __name__ == "__main__":
    sys.exit(browser_path() is None)
