"""What the judges of pixels see on real heads: `python benchmarks/pixels.py [DATA]`.

DATA is the folder of real heads (default: IAC_TEST_DATA, else ../shared/data). For the order of
slices: how many are called misplaced or told as standing out in the sound stack, when two
neighbours are exchanged (share of all exchanges that is seen), when file names were sorted as text,
when the head sways by one pixel from slice to slice. For HU: the largest step of soft tissue from
slice to slice, and how many steps are told when four slices in the middle are shifted. For noise:
what is measured, without and with white noise of 15 to 45 HU added.
"""

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.blank import look_at
from iac_cli.dicom.hu_steps import hu_steps
from iac_cli.dicom.read import read_series
from iac_cli.dicom.sequence import misplaced, standing_out, ways_between
from iac_cli.locate.noise import noise_hu

STACKS = (
    ("head_ge_tilted", 1),
    ("head_pet_ct", 1),
    ("head_healthy/head.nii.gz", 1),
    ("head_healthy/head.nii.gz", 4),
    ("head_cadaver/head.nii.gz", 1),
    ("head_cadaver/head.nii.gz", 3),
)
"""Heads, and every how many of their slices."""
SHIFTS_HU = (20.0, -20.0, 40.0, -40.0, 100.0, -100.0, -300.0, 1000.0, -1000.0)
ADDED_HU = (0.0, 15.0, 25.0, 35.0, 45.0)

Hu = NDArray[np.float32]


def pictures(hu: Hu) -> list[Hu]:
    return [look_at(one, b"").picture for one in hu]


def share_of_exchanges_seen(small: list[Hu]) -> float:
    seen = []
    for k in range(1, len(small) - 2):
        order = list(range(len(small)))
        order[k], order[k + 1] = order[k + 1], order[k]
        seen.append(bool(misplaced(ways_between([small[i] for i in order]))))
    return float(np.mean(seen))


def order_row(name: str, every: int, hu: Hu) -> str:
    small = pictures(hu)
    as_text = sorted(range(len(small)), key=lambda k: str(k + 1))
    swaying = pictures(np.stack([np.roll(one, (-1) ** k, axis=1) for k, one in enumerate(hu)]))
    counts = (
        len(misplaced(ways_between(small))),
        len(standing_out(ways_between(small))),
        len(misplaced(ways_between([small[k] for k in as_text]))),
        len(misplaced(ways_between(swaying))),
    )
    sound, odd, sorted_as_text, sway = map(str, counts)
    seen = f"{share_of_exchanges_seen(small):.0%}"
    cells = (name, str(every), str(len(hu)), sound, odd, seen, sorted_as_text, sway)
    return "| " + " | ".join(cells) + " |"


def step_row(name: str, every: int, hu: Hu) -> str:
    largest = max(map(abs, hu_steps(pictures(hu), 0.0).values()), default=0.0)
    told = []
    for shift in SHIFTS_HU:
        shifted, middle = hu.copy(), len(hu) // 2
        shifted[middle : middle + 4] += shift
        told.append(str(len(hu_steps(pictures(shifted)))))
    return "| " + " | ".join([name, str(every), f"{largest:.1f}", *told]) + " |"


def noise_row(name: str, hu: Hu) -> str:
    random = np.random.default_rng(0)
    found = [noise_hu(hu + random.normal(0.0, sd, hu.shape).astype(np.float32)) for sd in ADDED_HU]
    return "| " + " | ".join([name, *(f"{one or np.nan:.1f}" for one in found)]) + " |"


def main() -> None:
    default = os.environ.get("IAC_TEST_DATA", "../shared/data")
    data = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    stacks = [(name, every, read_series(data / name).volume.hu) for name, every in STACKS]
    print("| head | every | slices | misplaced | stand out | exchanges seen | as text | sway |")
    print("|---|---|---|---|---|---|---|---|")
    for name, every, hu in stacks:
        print(order_row(name, every, hu[::every]))
    shifts = " | ".join(f"{shift:+g} HU" for shift in SHIFTS_HU)
    print(f"\n| head | every | largest step | {shifts} |")
    print("|---" * (len(SHIFTS_HU) + 3) + "|")
    for name, every, hu in stacks:
        print(step_row(name, every, hu[::every]))
    print("\n| head | " + " | ".join(f"+{sd:g} HU" for sd in ADDED_HU) + " |")
    print("|---" * (len(ADDED_HU) + 1) + "|")
    for name, every, hu in stacks:
        if every == 1:
            print(noise_row(name, hu))


if __name__ == "__main__":
    main()
