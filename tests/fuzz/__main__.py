"""Fuzz the command line: `python -m tests.fuzz --cases 10000 [--first-seed N] [--jobs N]`.

Prints a table of exit codes for each command and every case with a complaint, with the seed that
repeats it (`--first-seed SEED --cases 1`). Ends with 1 when there was any complaint.
"""

import argparse
import sys

from tests.fuzz.campaign import fuzz


def main() -> int:
    """Parse the command line, fuzz, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    tally = fuzz(options.first_seed, options.cases, options.jobs)
    print(tally.table())
    print("\n".join(tally.bad))
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())
