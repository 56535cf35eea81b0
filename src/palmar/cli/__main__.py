"""`python -m palmar.cli`, as torchrun starts it."""

import sys

from palmar.cli.main import main

sys.exit(main())
