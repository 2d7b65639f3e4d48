"""The commands by name, and the help that lists them: shown without loading anything else."""

SUMMARY = "Volume and scores of intracranial arterial calcification from plain CT head\nscans."

COMMANDS = {
    "segment": "Segment and score the calcification of one head.",
    "batch-score": "Score every study of an archive; go on where it stopped.",
    "status": "Say how far a batch is.",
    "merge": "Put the parts of a batch together.",
    "slurm-script": "Print a Slurm array script that scores an archive in parts.",
    "inspect": "List every series found and which one would be used.",
    "score": "Score a given or corrected mask on its scan.",
    "locate": "Write where the arteries run, to look at and correct.",
    "export-risk": "Group scored cases by a risk scheme.",
    "summarise": "Show a cohort on one page.",
    "convert": "Write the series in HU as NIfTI, as this tool sees it.",
    "simulate": "Make a simulated DICOM head with known calcification.",
    "evaluate": "How good masks are, on scans with known truth.",
    "train": "Train, calibrate and export networks of your own.",
    "doctor": "Check this installation, with a self-test.",
    "explain": "Say what a code in a result or a message means.",
}
"""Each command and its line in `--help`, in that order; its file is `cmd_NAME.py`."""


def top_help() -> str:
    """What `iac-seg --help` prints. A test keeps it equal to what Typer would print."""
    summary = SUMMARY.replace("\n", "\n  ")
    rows = "\n".join(f"  {name:<12}  {line}" for name, line in COMMANDS.items())
    return f"""\
Usage: iac-seg [OPTIONS] COMMAND [ARGS]...

  {summary}

  Research use only: not a medical device.

Options:
  --version   Print the version and stop.
  -h, --help  Show this message and exit.

Commands:
{rows}"""
