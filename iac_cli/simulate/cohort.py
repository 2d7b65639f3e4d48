"""A cohort of simulated patients: burdens as published, each patient at several reconstructions.

    OUT/cohort.json              what was asked for
    OUT/cohort.csv               a row for every series: patient_id, image, label, truth
    OUT/P0001/study/NAME/        one DICOM series a reconstruction, one study a patient
    OUT/P0001/truth/NAME/        its truth

A patient's folder appears whole. What a killed run left undone is done by the next; the bytes are
the same whatever the number of workers and of interruptions.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from iac_cli.errors import IacError, Word
from iac_cli.report.files import probe_output, told_as_output, write_text
from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.findings.rates import USUAL, Rates
from iac_cli.simulate.head import simulate_patient
from iac_cli.simulate.head_settings import HeadSettings, check_settings
from iac_cli.simulate.scanner import Kernel
from iac_cli.simulate.study_out import series_name, write_patient

CAROTID_SHARE, CAROTID_MEDIAN_MM3 = 0.822, 44.0
"""Bos et al. 2012 (Stroke 43:1878): prevalence and median volume in the intracranial carotids."""

CAROTID_SPREAD = 1.5
"""Standard deviation of the logarithm: published quartiles are not to be had; a choice of ours."""

POSTERIOR_SHARE, POSTERIOR_MEDIAN_MM3, POSTERIOR_SPREAD = 0.21, 7.3, 1.88
"""van der Toorn et al. 2019 (Atherosclerosis): prevalence; median, IQR 2.0-25.6 mm3, if any."""

TOGETHER = 0.36
"""Correlation of both, there."""

MOST_MM3 = 500.0
SEED_STEP = 100_003
"""Patients of one cohort have seeds this far from those of another."""

MakeAnatomy = Callable[[int], Anatomy | None]
"""The head of a patient by seed; None: the procedural one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortSettings:
    """What `iac-seg simulate cohort` takes."""

    patients: int
    seed: int = 1
    reconstructions_mm: tuple[float, ...] = (5.0,)
    kernels: tuple[Kernel, ...] = (Kernel.SOFT,)
    rows: int = 512
    columns: int = 512
    noise_hu: tuple[float, float] = (2.5, 5.0)
    """Of a 5 mm slice with the soft kernel, one value a patient."""
    largest_tilt_deg: float = 20.0
    """Half of the patients are scanned with a tilt, up to this."""
    rates: Rates = USUAL
    """How often variants of arteries, mimics and artefacts are drawn."""


def check_cohort(settings: CohortSettings) -> None:
    """Refuse what cannot be made. Raises: IacError: bad_setting."""
    if not 1 <= settings.patients <= 99_999 or not settings.reconstructions_mm:
        raise IacError(
            Word.BAD_SETTING,
            f"a cohort has 1 to 99999 patients and a reconstruction, got {settings.patients}",
            way_out="see 'iac-seg simulate cohort --help'",
        )
    if len(set(settings.reconstructions_mm)) < len(settings.reconstructions_mm):
        raise IacError(
            Word.BAD_SETTING, "a reconstruction is named twice", way_out="name each thickness once"
        )
    for one in patient_settings(settings, 1):
        check_settings(one)


def patient_settings(settings: CohortSettings, number: int) -> tuple[HeadSettings, ...]:
    """The reconstructions of one patient (from 1); nothing depends on the other patients."""
    rng = np.random.default_rng([settings.seed, number, 11])
    carotid, posterior = burdens(rng)
    tilted = rng.random() < 0.5
    tilt_deg = round(float(rng.uniform(0.0, settings.largest_tilt_deg)), 1) if tilted else 0.0
    noise_hu = round(float(rng.uniform(*settings.noise_hu)), 2)
    return tuple(
        HeadSettings(
            seed=settings.seed * SEED_STEP + number,
            thickness_mm=thickness_mm,
            kernel=kernel,
            tilt_deg=tilt_deg,
            burden_mm3=carotid,
            vertebrobasilar_mm3=posterior,
            rows=settings.rows,
            columns=settings.columns,
            noise_hu=noise_hu,
            rates=settings.rates,
        )
        for thickness_mm in settings.reconstructions_mm
        for kernel in settings.kernels
    )


def burdens(rng: np.random.Generator) -> tuple[float, float]:
    """True volumes in the carotid and the vertebrobasilar arteries of one person, mm3."""
    first, second, third, fourth = rng.normal(size=4)
    shared = TOGETHER * first + np.sqrt(1 - TOGETHER**2) * second
    carotid = CAROTID_MEDIAN_MM3 * np.exp(CAROTID_SPREAD * first)
    posterior = POSTERIOR_MEDIAN_MM3 * np.exp(POSTERIOR_SPREAD * shared)
    has_carotid = _share_below(third) < CAROTID_SHARE
    has_posterior = _share_below(fourth) < POSTERIOR_SHARE
    return (
        round(float(min(carotid, MOST_MM3)), 2) if has_carotid else 0.0,
        round(float(min(posterior, MOST_MM3)), 2) if has_posterior else 0.0,
    )


def _share_below(normal: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(normal))


def patient_id(number: int) -> str:
    """Such as `P0001`."""
    return f"P{number:04d}"


def simulate_cohort(
    out: Path,
    settings: CohortSettings,
    make_anatomy: MakeAnatomy,
    *,
    n_workers: int = 1,
    on_patient: Callable[[int, int], None] | None = None,
) -> None:
    """Make a cohort, or what is missing of it.

    Raises: IacError: bad_setting, output_exists (another cohort lies there), output_not_writable,
    disk_full.
    """
    check_cohort(settings)
    _take_folder(out, settings)
    numbers = range(1, settings.patients + 1)
    todo = [number for number in numbers if not (out / patient_id(number)).is_dir()]
    done = settings.patients - len(todo)
    if on_patient:
        on_patient(done, settings.patients)
    for _ in _made(out, settings, make_anatomy, todo, n_workers):
        done += 1
        if on_patient:
            on_patient(done, settings.patients)
    write_text(out / "cohort.csv", _table(out, settings))


def _take_folder(out: Path, settings: CohortSettings) -> None:
    """Begin a cohort, or find the same one begun; what a killed run left half-made is removed."""
    asked = json.dumps(_plain(settings), indent=1) + "\n"
    note = out / "cohort.json"
    with told_as_output(out):
        begun, empty = note.is_file(), not (out.is_dir() and any(out.iterdir()))
    if begun:
        if note.read_text(encoding="utf-8") != asked:
            raise IacError(
                Word.OUTPUT_EXISTS,
                "another cohort lies in the output folder",
                way_out="choose another folder, or pass the same options to finish that one",
            )
    elif not empty:
        raise IacError(
            Word.OUTPUT_EXISTS, "the output folder is not empty", way_out="choose another folder"
        )
    probe_output(out)
    if not begun:
        write_text(note, asked)
    for left in out.glob(".P*"):
        shutil.rmtree(left, ignore_errors=True)


def _plain(settings: CohortSettings) -> dict[str, Any]:
    return {"schema": 1, **asdict(settings), "rates": settings.rates.facts}


def _made(
    out: Path,
    settings: CohortSettings,
    make_anatomy: MakeAnatomy,
    todo: list[int],
    n_workers: int,
) -> Iterator[int]:
    if n_workers == 1:
        for number in todo:
            yield make_patient(out, settings, make_anatomy, number)
        return
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as workers:
        tasks = [workers.submit(make_patient, out, settings, make_anatomy, n) for n in todo]
        try:
            for task in as_completed(tasks):
                yield task.result()
        finally:
            workers.shutdown(cancel_futures=True)


def make_patient(
    out: Path, settings: CohortSettings, make_anatomy: MakeAnatomy, number: int
) -> int:
    """Make one patient's folder; answers the number."""
    asked = patient_settings(settings, number)
    heads = simulate_patient(asked, anatomy=make_anatomy(asked[0].seed))
    write_patient(out / patient_id(number), heads)
    return number


COLUMNS = (
    "patient_id",
    "image",
    "label",
    "seed",
    "thickness_mm",
    "kernel",
    "tilt_deg",
    "noise_hu",
    "anatomy",
    "true_volume_mm3",
    "protocol_volume_mm3",
    "agatston",
    "n_lesions",
)


def _table(out: Path, settings: CohortSettings) -> str:
    """cohort.csv: paths are relative to it."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for number in range(1, settings.patients + 1):
        for one in patient_settings(settings, number):
            name, patient = series_name(one), patient_id(number)
            truth = json.loads((out / patient / "truth" / name / "truth.json").read_text("utf-8"))
            writer.writerow(
                {
                    **asdict(one),
                    **truth,
                    "kernel": one.kernel.value,
                    "patient_id": patient,
                    "image": f"{patient}/study/{name}",
                    "label": f"{patient}/truth/{name}/labels.nii.gz",
                }
            )
    return stream.getvalue()
