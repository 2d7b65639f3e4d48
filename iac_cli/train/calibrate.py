"""Calibrate a trained segmenter and choose its operating thresholds, on simulated data alone.

    iac-seg train calibrate RUN --data DEVELOPMENT -o calibration.json
    iac-seg train calibrate RUN --skulls FOLDER -o calibration.json

DEVELOPMENT is a cohort (`iac-seg simulate cohort`) or a table of labelled scans: whole heads with
the burden of people, arteries located as at inference. Patients whom the run trained on, or keeps
for tests or intervals, are left out. Without heads, windows along the arteries serve, from a seed
of their own. They hold far more calcium than heads do, so those that hold any are weighted down
until calcium's share of the candidates is a head's.

The scaling is fitted on the first half of the patients (or windows); which of the three is taken
and its figures come from the second half, which the fits did not see. The thresholds are chosen on
both: they are few, and each patient more makes them surer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from iac_cli.errors import IacError, Word
from iac_cli.infer.calibrate import Platt
from iac_cli.infer.operating import as_card
from iac_cli.measure.reliability import Reliability, curve
from iac_cli.train.candidates import Candidates, calcified_share_of_heads, of_windows
from iac_cli.train.choose_points import choose_points, pooled_dice
from iac_cli.train.scaling import Sample, choose, probability
from iac_cli.train.segmenter import LARGE_WINDOW, load_skulls

OF_WINDOWS = "simulated windows along the arteries, seed of their own"
OF_COHORT = "whole heads of a development set"
PARTS = "scaling judged on the second half, thresholds chosen on all"


def calibrate(
    candidates: Candidates, calcified_share: float | None, source: str = OF_WINDOWS
) -> dict[str, Any]:
    """Fit on one half, choose and report on the other; the card's fields.

    Raises: IacError: bad_setting: too few patients, or no calcium in one half.
    """
    halves = _halves(candidates)
    fit, held = (_sample(part.part(part.bright), calcified_share) for part in halves)
    chosen, losses = choose(fit, held)
    raw, p = probability(Platt(1.0, 0.0), held.logit), probability(chosen, held.logit)
    label, weight = held.label, held.weight
    weights = candidates.weights(calcified_share)
    choices = choose_points(candidates, probability(chosen, candidates.logit), weights)
    before, after = (Reliability.of(values, label, weight) for values in (raw, p))
    return {
        **as_card(tuple(choice.point for choice in choices)),
        "calibration": chosen.to_json_dict(),
        "figures": {
            "data": f"{source}; {PARTS}",
            "n_windows" if source == OF_WINDOWS else "n_patients": len(
                np.unique(candidates.window)
            ),
            "candidates": len(label),
            "calcified_share": float(label.mean()),
            "calcified_share_weighted_to": calcified_share,
            "dice_pooled": pooled_dice(choices),
            "operating_points": [choice.to_json_dict() for choice in choices],
            "negative_log_likelihood": losses,
            "before": before.to_json_dict(),
            "after": after.to_json_dict(),
            "reliability_before": curve(raw, label, weight).to_json_dict(),
            "reliability_after": curve(p, label, weight).to_json_dict(),
        },
    }


def _halves(candidates: Candidates) -> tuple[Candidates, Candidates]:
    units = np.unique(candidates.window)
    middle = units[len(units) // 2] if len(units) else 0
    halves = (
        candidates.part(candidates.window < middle),
        candidates.part(candidates.window >= middle),
    )
    bright = [half.label[half.bright] for half in halves]
    if any(not 0 < label.sum() < len(label) for label in bright):
        raise IacError(
            Word.BAD_SETTING,
            f"{len(units)} patients or windows do not hold calcium and bone in each half",
            way_out="calibrate on more patients; 40 are a beginning",
        )
    return halves


def _sample(part: Candidates, calcified_share: float | None) -> Sample:
    return Sample(part.logit, part.label, part.weights(calcified_share))


def calibrate_on_cohort(
    place: Path,
    cohort: Path,
    locator_folder: Path,
    on_series: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The card's fields from a run, or a folder of exported models, and a development cohort.

    Raises: IacError: the words of reading, locating and of `calibrate`.
    """
    from iac_cli.infer.models import load_locator
    from iac_cli.train.cases import find_cases
    from iac_cli.train.heads import development_cases, of_scans, raw_segmenter

    cases = development_cases(cohort, place)
    drawn = of_scans(raw_segmenter(place), load_locator(locator_folder), cases, on_series)
    fields = calibrate(drawn, None, OF_COHORT)
    everybody, used = ({case.patient for case in some} for some in (find_cases([cohort]), cases))
    fields["figures"]["n_patients_left_out"] = len(everybody - used)
    return fields


def calibrate_on_windows(
    run: Path,
    skulls: Path,
    n_windows: int,
    on_window: Callable[[int, int], None] | None = None,
    *,
    window: tuple[int, int, int] = LARGE_WINDOW,
) -> dict[str, Any]:
    """The card's fields from a run, on fresh simulated windows in cached heads.

    Raises: IacError: empty_set, model_not_found, and the words of `calibrate`.
    """
    drawn = of_windows(run, skulls, n_windows, window=window, on_window=on_window)
    return calibrate(drawn, calcified_share_of_heads(load_skulls(skulls)))


def write_reliability_plot(fields: dict[str, Any], path: Path) -> None:
    """Reliability before and after as a picture. Raises: IacError: the words of writing."""
    from matplotlib.figure import Figure

    from iac_cli.report.files import written_whole

    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for name, mark in (("before", "o--"), ("after", "s-")):
        told = fields["figures"][f"reliability_{name}"]
        error = fields["figures"][name]["ece"]
        axes.plot(told["stated"], told["seen"], mark, label=f"{name}: ECE {error:.4f}")
    axes.set(xlabel="stated probability", ylabel="calcified", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    with written_whole(path) as building:
        figure.savefig(building, format="png", dpi=120, metadata={"Software": None})
