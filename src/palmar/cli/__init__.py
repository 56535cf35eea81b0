"""The command line. `palmar` alone says what to do next."""

try:
    from palmar.cli.main import main
except KeyboardInterrupt:  # Ctrl-C while the commands are still read: there is nothing to say, and no traceback
    raise SystemExit(130) from None

__all__ = ["main"]
