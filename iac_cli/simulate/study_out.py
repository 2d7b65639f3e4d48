"""A simulated scan and its truth in one folder that appears whole.

`OUT/study/` holds the DICOM files, `OUT/truth/` what is known about them.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from iac_cli.errors import IacError, Word
from iac_cli.report.files import told_as_output
from iac_cli.simulate.dicom_out import Compression, Progress, write_study
from iac_cli.simulate.head import SimulatedHead
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.truth_out import write_truth


def check_folder(out: Path) -> None:
    """Refuse an output that exists or cannot be made.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    with told_as_output(out):
        if out.is_dir():
            if any(out.iterdir()):
                raise IacError(
                    Word.OUTPUT_EXISTS,
                    f"{out.name} exists and is not empty",
                    way_out="choose another folder, or remove that one",
                )
        elif out.exists():
            raise IacError(
                Word.OUTPUT_NOT_WRITABLE,
                f"{out.name} is a file, not a folder",
                way_out="choose another folder",
            )
        with _staged(out):
            pass


def write_head(
    out: Path,
    head: SimulatedHead,
    *,
    compression: Compression = Compression.NONE,
    on_step: Progress | None = None,
) -> None:
    """Write `out/study` and `out/truth`: both whole, or nothing.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    check_folder(out)
    with told_as_output(out), _staged(out) as stage:
        write_study(stage / "study", head, compression, on_step)
        write_truth(stage / "truth", head)
        if out.is_dir():
            out.rmdir()
        stage.replace(out)


def write_patient(
    out: Path, heads: Sequence[SimulatedHead], *, compression: Compression = Compression.NONE
) -> None:
    """Write `out/study/NAME` and `out/truth/NAME` for every reconstruction: one study, whole.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    check_folder(out)
    with told_as_output(out), _staged(out) as stage:
        (stage / "study").mkdir()
        (stage / "truth").mkdir()
        for number, head in enumerate(heads):
            name = series_name(head.settings)
            write_study(stage / "study" / name, head, compression, series_number=2 + number)
            write_truth(stage / "truth" / name, head, image=f"../../study/{name}")
        if out.is_dir():
            out.rmdir()
        stage.replace(out)


def series_name(settings: HeadSettings) -> str:
    """Folder of one reconstruction, such as `5mm-soft`."""
    step = "" if settings.step_mm == settings.thickness_mm else f"-every-{settings.step_mm:g}mm"
    return f"{settings.thickness_mm:g}mm{step}-{settings.kernel.value}"


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` that is gone afterwards unless it was renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    stage.chmod(0o755)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
