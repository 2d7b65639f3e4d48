"""Mutated inputs through the command line: `python -m tests.fuzz --cases 10000`."""
