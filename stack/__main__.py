"""`python -m stack` is the command `millrace`."""

import sys

from stack.cli import main

sys.exit(main())
