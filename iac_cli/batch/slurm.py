"""A Slurm array job of a batch in parts: each task does one part and goes on where it stopped."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iac_cli.errors import IacError, Word

WARNED_S = 120
"""Seconds before its time is over that a task is asked to stop: the running cases end in them."""

OWN = ("-o", "--out", "--num-parts", "--part-id", "--resume", "--overwrite", "--dry-run", "--key")
"""Options of `batch-score` that the script gives itself, or that no part may be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    """What a task asks Slurm for; None leaves it to the site."""

    time: str | None = None
    mem: str | None = None
    cpus: int | None = None
    gpus: int | None = None
    partition: str | None = None

    def lines(self) -> list[str]:
        """Its `#SBATCH` lines."""
        asked = {
            "time": self.time,
            "mem": self.mem,
            "cpus-per-task": self.cpus,
            "gres": None if not self.gpus else f"gpu:{self.gpus}",
            "partition": self.partition,
        }
        return [f"#SBATCH --{name}={value}" for name, value in asked.items() if value is not None]


def array_script(
    program: str, out: Path, n_parts: int, arguments: Sequence[str], asked: Slurm
) -> str:
    """The text of a job script; `arguments` are `batch-score`'s own: studies, manifest, options.

    Raises: IacError: bad_setting, conflicting_options.
    """
    _check(arguments, out, asked)
    given = [*arguments, "--require-gpu"] if asked.gpus else list(arguments)
    batch = shlex.join([program, "batch-score", *given, "-o", str(out), "--resume"])
    merge = shlex.join([program, "merge", str(out)])
    sbatch = "".join(f"{line}\n" for line in asked.lines())
    return f"""\
#!/usr/bin/env bash
#SBATCH --job-name=iac-seg
#SBATCH --array=1-{n_parts}
#SBATCH --output=iac-seg-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@{WARNED_S}
{sbatch}set -euo pipefail

# The program takes the shell's place, so that Slurm's TERM reaches it: it finishes the running
# cases and ends with 143. A task that is queued or submitted again goes on from there.
exec {batch} \\
  --num-parts {n_parts} --part-id "$SLURM_ARRAY_TASK_ID"

# Submit this, and put the parts together when all have ended, however they did:
#
#   job=$(sbatch --parsable job.sh)
#   sbatch --dependency=afterany:"$job" --wrap={shlex.quote(merge)}
#
# What has not ended goes on with the same lines; sbatch --array=3,7 job.sh takes two parts alone.
"""


def _check(arguments: Sequence[str], out: Path, asked: Slurm) -> None:
    values = [value for value in (asked.time, asked.mem, asked.partition) if value is not None]
    if not all(re.fullmatch(r"[\w.,:+-]+", value, re.ASCII) for value in values):
        raise IacError(
            Word.BAD_SETTING,
            "--time, --mem and --partition hold letters, digits and . , : + - alone",
            way_out="write them as sbatch takes them, such as --time 24:00:00 --mem 16G",
        )
    if not all(text.isprintable() for text in (*arguments, str(out))):
        raise IacError(
            Word.BAD_SETTING,
            "a path or an option holds a control character or a line break",
            way_out="rename it",
        )
    own = [one for one in arguments if one.partition("=")[0] in OWN or one.startswith("-o")]
    if own:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            f"{own[0]!r} is given by the script itself, or is not for parts",
            way_out="leave it out",
        )
