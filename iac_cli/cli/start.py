"""The console script: Ctrl-C and SIGTERM end it quietly from its first moment on.

While the program loads nothing is begun, so that nothing needs to be undone; `exits.py` then takes
over. What comes before, the start of Python itself, is out of reach.
"""

import os
import signal


def main() -> int:
    """Load the program and run it."""
    # Products of small matrices need no threads of their own, and those of OpenBLAS spin for a
    # while after each: on two cores that takes a fifth off the network's speed.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    from iac_cli.cli.exits import main as run

    code = run()
    for number in (signal.SIGINT, signal.SIGTERM):  # too late: what is done is done
        signal.signal(number, lambda *_: os._exit(code))
    return code
