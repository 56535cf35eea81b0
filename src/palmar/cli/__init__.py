"""The command line. `palmar` alone says what to do next."""

from palmar.cli.main import main

__all__ = ["main"]
