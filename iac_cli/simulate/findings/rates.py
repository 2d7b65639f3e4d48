"""How often each variant, mimic and artefact is drawn. A rate is a probability in [0, 1].

Findings with a left and a right (`per side`) are drawn once for each. The rates of harmless
calcifications are about those of adults; those of disease and metal are choices of ours.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word
from iac_cli.toml_file import read_toml

WAY_OUT = "give usual, none, or a TOML file with lines such as 'coil = 0.5'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a person may have. All that is drawn is told in the truth; none of it is labelled."""

    # variants of the arteries, of the procedural head alone
    hypoplastic_v4: float = 0.12
    hypoplastic_a1: float = 0.10
    fetal_pca: float = 0.18
    """Thin P1 of one side, as where the posterior cerebral artery comes from the carotid."""
    ectatic_basilar: float = 0.06
    ectatic_ica: float = 0.06
    tortuous: float = 0.15

    # calcified, but no artery
    pineal: float = 0.75
    habenula: float = 0.20
    choroid_plexus: float = 0.75
    """Per side."""
    basal_ganglia: float = 0.12
    """Per side."""
    falx: float = 0.25
    tentorium: float = 0.15
    petroclinoid: float = 0.35
    """Per side."""
    interclinoid: float = 0.08
    """Per side: a bar from the anterior to the posterior clinoid."""

    # bone
    dense_clinoid: float = 0.20
    """Per side."""
    spur: float = 0.25
    """Per side: bone that grows towards the siphon."""
    hyperostosis: float = 0.06
    craniotomy: float = 0.02

    # blood
    hyperdense_vessel: float = 0.03
    intracerebral: float = 0.02
    intraventricular: float = 0.01
    subarachnoid: float = 0.02
    subdural: float = 0.02
    epidural: float = 0.005

    # metal
    coil: float = 0.01
    clip: float = 0.01
    dental: float = 0.10

    # scan
    motion: float = 0.05
    """During some slices, which are blurred by it."""
    slice_jump: float = 0.0
    """Between two slices: what lies above is seen elsewhere."""
    slice_drift: float = 0.0
    """A little from slice to slice."""
    holder: float = 0.9
    """A head holder or bed, where there is air."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be a number from 0 to 1")
            object.__setattr__(self, field.name, float(value))

    @property
    def facts(self) -> dict[str, float]:
        """For the truth. What came later is told only where it can be drawn: scans that were made
        without it keep their identity."""
        told = asdict(self)
        return {name: rate for name, rate in told.items() if rate or name not in LATER}


LATER = ("slice_jump", "slice_drift")
USUAL = Rates()
NONE = Rates(**{field.name: 0.0 for field in fields(Rates)})
NAMED = {"usual": USUAL, "none": NONE}


def rates_of(table: Mapping[str, Any]) -> Rates:
    """The usual rates with some replaced. Raises: IacError: bad_setting."""
    known = [field.name for field in fields(Rates)]
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise IacError(
            Word.BAD_SETTING,
            f"there is no rate of the name {unknown[0]!r}",
            way_out=f"rates are {', '.join(known)}",
        )
    try:
        return Rates(**table)
    except ValueError as error:
        raise IacError(Word.BAD_SETTING, f"the rate {error}", way_out=WAY_OUT) from error


def read_rates(name: str) -> Rates:
    """`usual`, `none`, or a TOML file of rates. Raises: IacError: bad_setting, input_not_found."""
    if name in NAMED:
        return NAMED[name]
    return rates_of(read_toml(Path(name), "the file of rates", way_out=WAY_OUT))
