"""What a simulated head and a patient of the exam take on one core: seconds and memory.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/simulate.py

Seconds are those of the processor, so that other work on the machine counts little. Aims: a head of
512 x 512 x 160 at 1 mm in less than 60 s and 4 GB.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from iac_cli.evaluate.exam import PROCEDURAL, read_exam
from iac_cli.simulate.cohort import patient_settings
from iac_cli.simulate.head import SimulatedHead, simulate_patient
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.study_out import write_patient

STAGES = ("painting the skull base", "painting the head", "scanning")


def timed(settings: tuple[HeadSettings, ...]) -> dict[str, float]:
    """Processor seconds of each stage of one patient."""
    begun: dict[str, float] = {}
    start = time.process_time()

    def on_step(stage: str, _done: float) -> None:
        begun.setdefault(stage, time.process_time())

    heads: tuple[SimulatedHead, ...] = simulate_patient(settings, on_step)
    scanned = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_patient(Path(folder) / "patient", heads)
    ends = [begun[stage] for stage in STAGES[1:]] + [scanned]
    seconds = {"drawing": begun[STAGES[0]] - start} | {
        stage: end - begun[stage] for stage, end in zip(STAGES, ends, strict=True)
    }
    seconds |= {"writing": time.process_time() - scanned, "all": time.process_time() - start}
    return {name: round(value, 1) for name, value in seconds.items()}


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    thin = HeadSettings(seed=3, thickness_mm=1.0, n_slices=160)
    print("512 x 512 x 160 at 1 mm:", json.dumps(timed((thin,))), f"{peak_mb()} MB", flush=True)
    exam = read_exam()
    number = next(n for n in range(1, 201) if exam.anatomy_of(n) == PROCEDURAL)
    seconds = timed(patient_settings(exam.cohort, number))
    print("a patient of the exam:", json.dumps(seconds), f"{peak_mb()} MB")


if __name__ == "__main__":
    sys.exit(main())
