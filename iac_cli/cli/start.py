"""The console script: Ctrl-C and SIGTERM end it quietly from its first moment on.

While the program loads nothing is begun, so that nothing needs to be undone; `exits.py` then takes
over. What comes before, the start of Python itself, is out of reach.
"""

import os
import signal


def main() -> int:
    """Load the program and run it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    from iac_cli.cli.exits import main as run

    return run()
