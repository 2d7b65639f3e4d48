"""Volume and scores of intracranial arterial calcification from clinical CT head scans.

The public API, loaded when it is used: `import iac_cli` imports nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iac_cli.dicom.read import inspect_source, read_series
    from iac_cli.dicom.reading import Reading, ReadSettings
    from iac_cli.errors import Finding, IacError, Word
    from iac_cli.infer.models import Models, load_models
    from iac_cli.infer.segment import segment_calcium
    from iac_cli.locate.locator import locate_arteries
    from iac_cli.measure.lesions import find_lesions
    from iac_cli.measure.risk import risk_of
    from iac_cli.measure.scheme import load_scheme
    from iac_cli.measure.scores import score
    from iac_cli.pipeline import CaseOptions, CaseOutput, score_mask, segment_case
    from iac_cli.report.case import write_case
    from iac_cli.report.result import Result
    from iac_cli.settings import Settings, read_settings

__version__ = "0.1.0"

_HOMES = {
    "CaseOptions": "pipeline",
    "CaseOutput": "pipeline",
    "Finding": "errors",
    "IacError": "errors",
    "Models": "infer.models",
    "ReadSettings": "dicom.reading",
    "Reading": "dicom.reading",
    "Result": "report.result",
    "Settings": "settings",
    "Word": "errors",
    "find_lesions": "measure.lesions",
    "inspect_source": "dicom.read",
    "load_models": "infer.models",
    "load_scheme": "measure.scheme",
    "locate_arteries": "locate.locator",
    "read_series": "dicom.read",
    "read_settings": "settings",
    "risk_of": "measure.risk",
    "score": "measure.scores",
    "score_mask": "pipeline",
    "segment_calcium": "infer.segment",
    "segment_case": "pipeline",
    "write_case": "report.case",
}

__all__ = [
    "CaseOptions",
    "CaseOutput",
    "Finding",
    "IacError",
    "Models",
    "ReadSettings",
    "Reading",
    "Result",
    "Settings",
    "Word",
    "__version__",
    "find_lesions",
    "inspect_source",
    "load_models",
    "load_scheme",
    "locate_arteries",
    "read_series",
    "read_settings",
    "risk_of",
    "score",
    "score_mask",
    "segment_calcium",
    "segment_case",
    "write_case",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
