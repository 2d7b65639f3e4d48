"""What is asked of one simulated head."""

from dataclasses import dataclass

from iac_cli.errors import IacError, Word
from iac_cli.simulate.field_of_view import USUAL_FOV_MM, check_field_of_view
from iac_cli.simulate.findings.rates import USUAL, Rates
from iac_cli.simulate.scanner import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSettings:
    """What `iac-seg simulate head` takes."""

    seed: int = 0
    thickness_mm: float = 5.0
    increment_mm: float | None = None
    """Distance between slices along their normal; None: the thickness."""
    kernel: Kernel = Kernel.SOFT
    tilt_deg: float = 0.0
    burden_mm3: float = 44.0
    """True volume of all arterial calcification; the default is the published median."""
    vertebrobasilar_mm3: float | None = None
    """True volume in the vertebral and basilar arteries; `burden_mm3` is then that of all others.
    None: a common share of the whole."""
    rows: int = 512
    columns: int = 512
    n_slices: int | None = None
    """None: from below the skull base to above the vertex."""
    pixel_mm: float | None = None
    """None: a field of view of 230 mm."""
    noise_hu: float = 3.5
    """Noise of a 5 mm slice with the soft kernel; 0: none."""
    rates: Rates = USUAL
    """How often variants of arteries, mimics and artefacts are drawn."""

    @property
    def step_mm(self) -> float:
        """Distance between slices along their normal."""
        return self.thickness_mm if self.increment_mm is None else self.increment_mm

    @property
    def pixel(self) -> float:
        """Edge of a pixel, mm."""
        return USUAL_FOV_MM / max(self.columns, 1) if self.pixel_mm is None else self.pixel_mm

    @property
    def fov_mm(self) -> float:
        """Shorter edge of the picture, mm."""
        return self.pixel * min(self.rows, self.columns)


def check_settings(settings: HeadSettings) -> None:
    """Refuse what no scanner can do. Raises: IacError: bad_setting."""
    bounds = (
        ("thickness", settings.thickness_mm, 0.3, 20.0, "mm"),
        ("increment", settings.step_mm, 0.2, 20.0, "mm"),
        ("tilt", settings.tilt_deg, -30.0, 30.0, "degrees"),
        ("burden", settings.burden_mm3, 0.0, 1000.0, "mm3"),
        ("vertebrobasilar burden", settings.vertebrobasilar_mm3 or 0.0, 0.0, 1000.0, "mm3"),
        ("number of rows", settings.rows, 64, 1024, "pixels"),
        ("number of columns", settings.columns, 64, 1024, "pixels"),
        ("pixel size", settings.pixel, 0.1, 4.0, "mm"),
        ("noise", settings.noise_hu, 0.0, 200.0, "HU"),
        ("seed", settings.seed, 0, 2**63 - 1, ""),
    )
    for name, value, low, high, unit in bounds:
        if not low <= value <= high:
            raise IacError(
                Word.BAD_SETTING,
                f"the {name} must lie between {low:g} and {high:g} {unit}, got {value:g}".strip(),
                way_out="see 'iac-seg simulate head --help'",
            )
    check_field_of_view(settings.fov_mm)


def person_of(settings: HeadSettings) -> tuple[object, ...]:
    """What must be equal in all reconstructions of one patient."""
    both = (settings.burden_mm3, settings.vertebrobasilar_mm3)
    return (settings.seed, *both, settings.tilt_deg, settings.rates)
