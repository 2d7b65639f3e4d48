"""The paper's claims, tested: networks trained for the same time, calibrated, judged on one exam.

    python benchmarks/claims.py run OUT --skulls CACHE/skulls --development TABLE --exam EXAM
        [--minutes 20] [--within-minutes 150] [--only NAME,...]
    python benchmarks/claims.py tell OUT -o docs/figures/claims.json

`run` calls the commands `iac-seg train pretrain`, `finetune`, `calibrate`, `export` and `evaluate`
for every network; what is done is not done again, and what was cut off goes on. `tell` compares
what is done, in pairs, by patients, writes the figures and prints them as tables.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import number, rounded

IAC_SEG = (
    sys.executable,
    "-c",
    "from iac_cli.cli.start import main; raise SystemExit(main())",
)

MAE = "mae"
INTERPOLATED = ("--decoder", "interpolated")

NETWORKS: dict[str, tuple[str, ...]] = {
    "nnunet": ("--baseline", "nnunet"),
    "interpolated_mae": INTERPOLATED,
    "interpolated": INTERPOLATED,
    "hybrid_mae": ("--decoder", "hybrid"),
    "hybrid": ("--decoder", "hybrid"),
    "unet": ("--baseline", "unet"),
    "patch_4_4_4": (*INTERPOLATED, "--patch", "4,4,4"),
    "patch_8_8_8": (*INTERPOLATED, "--patch", "8,8,8"),
    "patch_8_16_16": (*INTERPOLATED, "--patch", "8,16,16"),
    "transposed": ("--decoder", "transposed"),
    "progressive": ("--decoder", "progressive"),
    "linear": ("--decoder", "linear"),
    "unetr": ("--decoder", "unetr"),
}
"""Options of `train finetune`, in the order in which they are trained. Those that end in `_mae`
start from the pre-trained encoder; `interpolated` has patches of 4 x 8 x 8."""

UNCALIBRATED = ("nnunet", "interpolated_mae")
"""Judged as they come out of training as well, at a probability of 0.5."""

PAIRS = (
    ("nnunet", "interpolated_mae"),
    ("nnunet", "hybrid_mae"),
    ("interpolated", "interpolated_mae"),
    ("hybrid", "hybrid_mae"),
    ("patch_8_8_8", "interpolated"),
    ("interpolated", "patch_4_4_4"),
    ("transposed", "interpolated"),
    ("nnunet_uncalibrated", "nnunet"),
    ("interpolated_mae_uncalibrated", "interpolated_mae"),
    ("nnunet_uncalibrated", "interpolated_mae"),
)
"""What is compared: the second less the first."""

COLUMNS = {
    "dice_mean": "Dice",
    "lesion_sensitivity": "lesions found",
    "lesion_ppv": "lesions right",
    "icc_log_drawn": "ICC, log",
    "risk_accuracy_drawn": "risk accuracy",
}
COMPARED = {"dice": "Dice", "risk_group_wrong": "share in a wrong risk group"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every network shares."""

    out: Path
    skulls: Path
    development: Path
    exam: Path
    minutes: float
    within_minutes: float
    only: tuple[str, ...]


def call(*words: object) -> None:
    """One command of the tool. It says itself what is wrong."""
    subprocess.run([*IAC_SEG, *map(str, words)], check=True)


def trained(name: str, settings: Settings) -> Path:
    """The run's folder, trained to its end."""
    run = settings.out / "runs" / name
    if not (run / "network.safetensors").is_file():
        start = ("--init", pretrained(settings)) if name.endswith("_mae") else ()
        skulls = ("--skulls", settings.skulls, "--minutes", settings.minutes)
        call("train", "finetune", *skulls, *NETWORKS[name], *start, "-o", run)
    return run


def pretrained(settings: Settings) -> Path:
    """The encoder that saw windows without their labels."""
    run = settings.out / "runs" / MAE
    if not (run / "network.safetensors").is_file():
        skulls = ("--skulls", settings.skulls, "--minutes", settings.minutes)
        call("train", "pretrain", *skulls, "-o", run)
    return run


def judged(name: str, settings: Settings) -> None:
    """Train, calibrate, export and judge one network."""
    run = trained(name, settings)
    if name in UNCALIBRATED:
        evaluated(f"{name}_uncalibrated", run, settings, "--uncalibrated")
    if not (run / "calibration.json").is_file():
        call("train", "calibrate", run, "--data", settings.development)
    evaluated(name, run, settings)


def evaluated(name: str, run: Path, settings: Settings, *how: str) -> None:
    """Export a run as it is now, and evaluate it unless that is done."""
    models, evaluation = settings.out / "models" / name, settings.out / "evaluations" / name
    if not (models / "segmenter.onnx").is_file():
        call("train", "export", run, "-o", models, *how)
    if not (evaluation / "evaluation.json").is_file():
        call("evaluate", "--model", models, "--data", settings.exam, "-o", evaluation)


def run_all(settings: Settings) -> None:
    """All networks that can be begun in time."""
    begun = time.monotonic()
    for name in settings.only or tuple(NETWORKS):
        if (time.monotonic() - begun) / 60.0 < settings.within_minutes:
            judged(name, settings)


def figures_of(evaluation: Path) -> dict[str, dict[str, list[float | None]]]:
    """By group (all, and each thickness) and figure: value, and its interval's ends."""
    document = json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    return {
        group["level"]: {
            one["name"]: [one["value"], one["low"], one["high"]]
            for one in group["figures"]
            if one["name"] in COLUMNS
        }
        for group in document["groups"]
        if group["by"] in ("all", "thickness")
    }


def compared(out: Path) -> Iterator[dict[str, Any]]:
    """Paired differences of the pairs of which both are done."""
    from iac_cli.evaluate.compare import compare, comparison_document, read_evaluation

    for first, second in PAIRS:
        folders = [out / "evaluations" / name for name in (first, second)]
        if all((folder / "evaluation.json").is_file() for folder in folders):
            found = compare(*(read_evaluation(folder) for folder in folders))
            for one in comparison_document(found)["differences"]:
                if one["name"] in COMPARED:
                    yield {"first_network": first, "second_network": second} | one


def trained_with(run: Path) -> dict[str, Any]:
    """What a run's training took: steps and minutes."""
    last = (run / "progress.csv").read_text(encoding="utf-8").splitlines()
    values = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    return {"steps": int(values["step"]) + 1, "minutes": settings["budget"]["minutes"]}


def document_of(out: Path) -> dict[str, Any]:
    """All that is told, as plain values."""
    done = sorted(path.parent for path in (out / "evaluations").glob("*/evaluation.json"))
    return {
        "networks": {folder.name: figures_of(folder) for folder in done},
        "trainings": {
            path.parent.name: trained_with(path.parent)
            for path in sorted((out / "runs").glob("*/network.safetensors"))
        },
        "pairs": list(compared(out)),
    }


def table(document: dict[str, Any], level: str) -> list[str]:
    """A row for each network at one thickness, or at all."""
    lines = [f"| {level} | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, groups in document["networks"].items():
        figures = groups.get(level, {})
        cells = [with_interval(figures.get(column, [None] * 3)) for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def with_interval(value: Sequence[float | None], digits: int = 3) -> str:
    """A value and its interval."""
    middle, low, high = value
    if low is None or high is None:
        return number(middle, digits)
    return f"{number(middle, digits)} ({low:.{digits}f}, {high:.{digits}f})"


def pairs_table(document: dict[str, Any]) -> list[str]:
    """A row for each compared figure."""
    lines = [
        "| second less first | slices | figure | difference | n | p |",
        "|---|---|---|---|---|---|",
    ]
    for one in document["pairs"]:
        gap = with_interval([one["difference"], one["low"], one["high"]])
        names = f"{one['second_network']} less {one['first_network']}"
        p = number(one["wilcoxon_p"], 3)
        lines.append(
            f"| {names} | {one['level']} | {COMPARED[one['name']]} | {gap} | {one['n']} | {p} |"
        )
    return lines


def tell(out: Path, target: Path) -> None:
    """Write the figures and print the tables."""
    document = document_of(out)
    target.write_text(rounded(document) + "\n", encoding="utf-8")
    levels = dict.fromkeys(k for groups in document["networks"].values() for k in groups)
    for level in levels:
        print("\n".join([*table(document, level), ""]))
    print("\n".join(pairs_table(document)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    todo = parser.add_subparsers(dest="todo", required=True)
    running = todo.add_parser("run")
    running.add_argument("out", type=Path)
    running.add_argument("--skulls", type=Path, required=True)
    running.add_argument("--development", type=Path, required=True)
    running.add_argument("--exam", type=Path, required=True)
    running.add_argument("--minutes", type=float, default=20.0)
    running.add_argument("--within-minutes", type=float, default=float("inf"))
    running.add_argument("--only", default="")
    telling = todo.add_parser("tell")
    telling.add_argument("out", type=Path)
    telling.add_argument("-o", "--target", type=Path, required=True)
    chosen = vars(parser.parse_args())
    if chosen.pop("todo") == "tell":
        tell(**chosen)
        return
    only = tuple(name for name in chosen.pop("only").split(",") if name)
    run_all(Settings(**chosen, only=only))


if __name__ == "__main__":
    main()
