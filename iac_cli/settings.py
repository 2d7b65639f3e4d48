"""All knobs of the main job, frozen, each with its unit and its reason.

Order of sources: defaults, then a TOML file, then `IAC_SEG_*` variables, then flags. Merged once
by the command line and passed on; this is the only module that reads TOML settings or the
environment.
"""

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word
from iac_cli.toml_file import read_toml

ENVIRONMENT_PREFIX = "IAC_SEG_"


class Backend(StrEnum):
    """Which runtime runs the networks."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"
    OPENVINO = "openvino"


class IdFrom(StrEnum):
    """What a case id is made from."""

    HASH = "hash"
    FOLDER = "folder"
    STUDY_UID = "study-uid"
    PATIENT_ID = "patient-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Where and how the networks run."""

    device: str = "auto"
    """`auto`, `cpu` or `cuda[:N]`."""
    backend: Backend = Backend.AUTO
    require_gpu: bool = False
    """Fail with exit code 5 rather than run on the CPU."""
    threads: int = 0
    """CPU threads; 0 takes what the process may use (affinity and cgroup)."""
    cpu_batch: int = 4
    """Most windows side by side on a CPU in ONNX Runtime, each on its share of the threads."""
    gpu_batch: int = 16
    """Windows at once on a GPU; halved once when its memory does not suffice."""
    gpu_memory_gb: float = 0.0
    """Upper limit of the runtime's GPU memory; 0 sets none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateSettings:
    """From the 4 mm head to centre lines."""

    present_at_least: float = 0.5
    """Probability from which a key point counts as inside the scan."""
    edge_margin_mm: float = 6.0
    """Distance from the outermost slice's centre within which a key point may as well lie outside
    the scan: of five heads cut slice by slice, points up to 4 mm outside were found up to 5.8 mm
    inside. Thicker slices have more: half their extent and `edge_cell_mm`."""
    edge_cell_mm: float = 4.0
    """One cell of the locator's grid."""
    line_step_mm: float = 1.0
    """Distance between the points of a centre line."""
    longest_head_mm: float = 400.0
    """Length along the slice normal, from the top, that is searched for a head."""
    half_width_mm: float = 112.0
    """In-plane distance from the middle of bone beyond which there are tables and arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """Where windows are cut along the centre lines."""

    margin_voxels: tuple[int, int, int] = (1, 4, 4)
    """Border of a window (plane, row, column) whose answer is not relied upon alone."""
    candidate_hu: float = 110.0
    """Lowest scored threshold: a voxel below it can never count, at whatever probability."""
    second_look_from: float = 0.05
    """Probability from which a voxel is looked at again, mirrored; 1 and above: never."""
    second_margin_voxels: tuple[int, int, int] = (5, 16, 16)
    """The border in the second look: what is looked at again lies near a window's middle."""
    cover_all: bool = False
    """Cover everything within reach, not only voxels that can count; slower, for comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """When a case is not measurable, and what is flagged. Sources stand in docs/method.md."""

    bone_hu: float = 150.0
    """Mean HU of a 4 mm cell that counts as skull."""
    cavity_cm2: float = 40.0
    """Area that a ring of bone must enclose in a section to be a cranial cavity."""
    cavity_bone_share: float = 0.45
    """Share of the cavity's border that must be bone."""
    cavity_cm3: float = 100.0
    """Volume that must be enclosed for a head."""
    fat_share: float = 0.15
    """Share of fat in the cavity above which it is no cranial one."""
    brain_hu: tuple[float, float] = (5.0, 80.0)
    """Median HU of what a living (or a dead, fixed) skull encloses."""
    usual_brain_hu: tuple[float, float] = (18.0, 48.0)
    """Outside it the median is told: four real heads gave 24 to 40 (benchmarks/hu_levels.py)."""
    air_hu: tuple[float, float] = (-1100.0, -900.0)
    """Commonest HU of measured air: -1000 when the scale is right; six heads gave -1000 to -992."""
    bone_reaches_hu: float = 1000.0
    """Highest HU that a head's bone surely exceeds: in five heads a tenth of a percent of what is
    no air lay above 1380, however thick the slices."""
    network_sees_hu: float = 1500.0
    """The networks' widest HU window ends here: a ceiling above changes no mask."""
    noise_hu: float = 20.0
    """Standard deviation in the brain above which noise is told: the most in training windows."""
    lumen_hu: float = 90.0
    """HU along the arteries above which contrast is suspected: plain blood has 30-60, at most
    about 75; three plain heads gave 27-40 by this measure, with 120 HU added to the lumen 120-146.
    """
    lumen_reach_mm: float = 4.0
    """Distance around a located line that surely holds its lumen."""
    lumen_percentile: float = 90.0
    """Percentile of HU within that distance that stands for the lumen."""
    metal_hu: float = 3000.0
    """HU that no bone or calcification reaches; 12-bit scanners saturate at 3071."""
    metal_near_mm: float = 10.0
    """Distance to a centre line within which metal spoils the reading."""
    metal_mm3: float = 3.0
    """Volume of metal near the arteries from which a case is not measurable."""
    too_thick_mm: float = 7.5
    """Slice increment in the arteries' region above which small lesions vanish."""
    thick_mm: float = 3.0
    """Slice thickness or increment above which volumes depend on the slice (a flag)."""
    region_margin_mm: float = 3.0
    """Margin around the centre lines that counts as the arteries' region."""
    usual_kvp: float = 120.0
    kvp_tolerance: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSettings:
    """How a case is named."""

    id_from: IdFrom = IdFrom.HASH
    salt: str = "iac-seg"
    """Mixed into the hash; a site's own secret keeps others from guessing who it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that `segment` needs to know besides its input and output."""

    run: RunSettings = field(default_factory=RunSettings)
    locate: LocateSettings = field(default_factory=LocateSettings)
    windows: WindowSettings = field(default_factory=WindowSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)
    case: CaseSettings = field(default_factory=CaseSettings)


def read_settings(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Defaults, then a TOML file, then variables such as IAC_SEG_RUN_THREADS.

    Raises:
        IacError: unknown_setting, bad_setting, input_not_found.

    """
    layers = []
    if path is not None:
        layers.append(read_toml(path, "the settings file", way_out="correct it"))
    layers.append(_from_environment(os.environ if environment is None else environment))
    settings = Settings()
    for layer in layers:
        settings = _merged(settings, layer)
    return settings


def with_flags(settings: Settings, group: str, **flags: Any) -> Settings:
    """The settings with values of one group replaced by the flags that were given (not None)."""
    given = {name: value for name, value in flags.items() if value is not None}
    return replace(settings, **{group: replace(getattr(settings, group), **given)})


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """`IAC_SEG_RUN_THREADS=2` -> {"run": {"threads": 2}}; values are written as in TOML."""
    layer: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        group, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        layer.setdefault(group, {})[key] = _toml_value(text)
    return layer


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merged(settings: Settings, layer: Mapping[str, Any]) -> Settings:
    groups = {}
    for group, values in layer.items():
        _check_known(group, [f.name for f in fields(Settings)])
        if not isinstance(values, Mapping):
            raise _bad(group, "must be a table")
        groups[group] = _with_values(getattr(settings, group), values, group)
    return replace(settings, **groups)


def _with_values(part: Any, values: Mapping[str, Any], group: str) -> Any:
    changes = {}
    for name, value in values.items():
        _check_known(name, [f.name for f in fields(part)], group)
        changes[name] = _typed(value, getattr(part, name), f"{group}.{name}")
    return replace(part, **changes)


def _typed(value: Any, default: Any, name: str) -> Any:
    """The value as the default's type. Integers serve as floats; nothing else is converted."""
    if isinstance(default, StrEnum):
        allowed = [str(member) for member in type(default)]
        if value not in allowed:
            raise _bad(name, f"must be one of {', '.join(allowed)}")
        return type(default)(value)
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) != len(default):
            raise _bad(name, f"must be a list of {len(default)} numbers")
        return tuple(_typed(v, d, name) for v, d in zip(value, default, strict=True))
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise _bad(name, f"must be of type {type(default).__name__}")
    return value


def _check_known(name: str, known: list[str], group: str = "") -> None:
    if name in known:
        return
    where = f"{group}.{name}" if group else name
    nearest = get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise IacError(
        Word.UNKNOWN_SETTING,
        f"no such setting: {where}{hint}",
        way_out=f"known names here: {', '.join(known)}",
    )


def _bad(name: str, what: str) -> IacError:
    return IacError(Word.BAD_SETTING, f"{name} {what}", way_out=f"correct {name}")


def silence_telemetry() -> None:
    """Switch off what onnxruntime and openvino send and store by default; before their import.

    onnxruntime's Linux builds read a variable once, while they load; there is no other switch in
    time. openvino reports its own import; without the module that does so it takes a stub.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def prepare_ray(*, joining: bool) -> None:
    """Switch off what Ray reports of itself; wait a minute, not a quarter of an hour, to join.

    It reads both variables while it is imported.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if joining:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")


@contextmanager
def numeric_threads(n: int) -> Iterator[None]:
    """Processes started in the block use `n` threads for linear algebra, unless the user says so.

    Without it each of several workers takes all cores for a matrix product, and they wait for
    each other. The libraries look at it once, when they are loaded.
    """
    known = "OMP_NUM_THREADS" in os.environ
    os.environ.setdefault("OMP_NUM_THREADS", str(n))
    try:
        yield
    finally:
        if not known:
            os.environ.pop("OMP_NUM_THREADS", None)
