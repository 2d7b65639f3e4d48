"""What can go wrong, as values: failure words, exit codes and findings.

`Word` is for programs and never changes its meaning; the sentence beside it is for people.
Only `cli/exits.py` turns an `IacError` into a process exit code.
"""

import errno
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Exit(IntEnum):
    """Process exit codes. Never reused or renumbered; `docs/errors.md` explains each."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    NO_USABLE_INPUT = 3
    DAMAGED_INPUT = 4
    DEVICE = 5
    NOT_MEASURABLE = 6
    OUTPUT = 7
    BATCH_PARTIAL = 8
    MODEL = 9
    RESOURCES = 10
    INTERRUPTED = 130
    TERMINATED = 143


class Word(StrEnum):
    """A stable word for each foreseen failure or finding."""

    # usage
    BAD_OPTION = "bad_option"
    UNKNOWN_SETTING = "unknown_setting"
    BAD_SETTING = "bad_setting"
    CONFLICTING_OPTIONS = "conflicting_options"
    BAD_CASE_LIST = "bad_case_list"
    CASES_DIFFER = "cases_differ"
    # no usable input
    INPUT_NOT_FOUND = "input_not_found"
    INPUT_FORBIDDEN = "input_forbidden"
    NO_DICOM = "no_dicom"
    NO_CT_SERIES = "no_ct_series"
    SERIES_NOT_FOUND = "series_not_found"
    AMBIGUOUS_SERIES = "ambiguous_series"
    MIXED_PATIENTS = "mixed_patients"
    LOCALIZER_ONLY = "localizer_only"
    DERIVED_ONLY = "derived_only"
    NOT_AXIAL = "not_axial"
    TOO_FEW_SLICES = "too_few_slices"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_GEOMETRY = "mixed_geometry"
    GEOMETRY_MISSING = "geometry_missing"
    MULTIFRAME_UNSUPPORTED = "multiframe_unsupported"
    MASK_MISMATCH = "mask_mismatch"
    LABELS_MISSING = "labels_missing"
    PATIENT_IN_TWO_SPLITS = "patient_in_two_splits"
    EMPTY_SET = "empty_set"
    # damaged input
    FILE_UNREADABLE = "file_unreadable"
    HEADER_TRUNCATED = "header_truncated"
    PIXELS_TRUNCATED = "pixels_truncated"
    PIXELS_UNDECODABLE = "pixels_undecodable"
    DECODER_MISSING = "decoder_missing"
    TRANSFER_SYNTAX_RETIRED = "transfer_syntax_retired"
    NOT_HOUNSFIELD = "not_hounsfield"
    BLANK_SLICES = "blank_slices"
    ARCHIVE_DAMAGED = "archive_damaged"
    # device
    DEVICE_UNAVAILABLE = "device_unavailable"
    DEVICE_INDEX_UNKNOWN = "device_index_unknown"
    PROVIDER_FELL_BACK = "provider_fell_back"
    GPU_LIBRARIES_MISSING = "gpu_libraries_missing"
    RUNTIME_CONFLICT = "runtime_conflict"
    RUNTIME_MISSING = "runtime_missing"
    CLUSTER_UNAVAILABLE = "cluster_unavailable"
    # not measurable
    NOT_A_HEAD = "not_a_head"
    HEAD_NOT_COVERED = "head_not_covered"
    CONTRAST_SUSPECTED = "contrast_suspected"
    TOO_THICK = "too_thick"
    EMPTY_VOLUME = "empty_volume"
    HU_CLIPPED = "hu_clipped"
    HU_SCALE_WRONG = "hu_scale_wrong"
    MISSING_SLICES = "missing_slices"
    CONFLICTING_SLICES = "conflicting_slices"
    SLICES_OUT_OF_ORDER = "slices_out_of_order"
    ARTEFACT_SEVERE = "artefact_severe"
    OUTPUT_NOT_FINITE = "output_not_finite"
    RISK_UNDEFINED = "risk_undefined"
    # output
    OUTPUT_NOT_WRITABLE = "output_not_writable"
    OUTPUT_EXISTS = "output_exists"
    OUTPUT_INSIDE_INPUT = "output_inside_input"
    OUTPUT_LOCKED = "output_locked"
    LEDGER_DAMAGED = "ledger_damaged"
    DISK_FULL = "disk_full"
    # model
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_CARD_INVALID = "model_card_invalid"
    MODEL_CHECKSUM_MISMATCH = "model_checksum_mismatch"
    MODEL_UNREADABLE = "model_unreadable"
    MODEL_TOO_NEW = "model_too_new"
    MODEL_SHAPE_MISMATCH = "model_shape_mismatch"
    LOSS_NOT_FINITE = "loss_not_finite"
    PARITY_LOST = "parity_lost"
    # resources
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    OUT_OF_MEMORY = "out_of_memory"
    VOLUME_TOO_LARGE = "volume_too_large"
    WORKER_KILLED = "worker_killed"
    TIMED_OUT = "timed_out"
    # findings: the case is measured, and the reader should know
    GANTRY_TILT = "gantry_tilt"
    TILT_TAG_DISAGREES = "tilt_tag_disagrees"
    VARIABLE_SPACING = "variable_spacing"
    DUPLICATES_DROPPED = "duplicates_dropped"
    LOCALIZER_DROPPED = "localizer_dropped"
    DAMAGED_SLICES_DROPPED = "damaged_slices_dropped"
    FILES_FORBIDDEN = "files_forbidden"
    GAPS_FOUND = "gaps_found"
    AFFINES_DISAGREE = "affines_disagree"
    OTHER_SERIES_IGNORED = "other_series_ignored"
    NOT_DICOM_IGNORED = "not_dicom_ignored"
    INSTANCE_ORDER_DISAGREES = "instance_order_disagrees"
    THICKNESS_DISAGREES = "thickness_disagrees"
    THICK_SLICES = "thick_slices"
    PADDING_MASKED = "padding_masked"
    PADDING_IGNORED = "padding_ignored"
    RESCALE_VARIES = "rescale_varies"
    LOSSY_COMPRESSION = "lossy_compression"
    PIXEL_SIGN_CORRECTED = "pixel_sign_corrected"
    STORED_BITS_DISAGREE = "stored_bits_disagree"
    HU_CEILING = "hu_ceiling"
    BRAIN_HU_UNUSUAL = "brain_hu_unusual"
    IMAGE_NOISY = "image_noisy"
    SLICE_STANDS_OUT = "slice_stands_out"
    HU_STEP = "hu_step"
    MIXED_SETTINGS = "mixed_settings"
    SECOND_READER_DISAGREES = "second_reader_disagrees"
    SHARP_KERNEL = "sharp_kernel"
    KVP_NOT_120 = "kvp_not_120"
    KVP_UNKNOWN = "kvp_unknown"
    RAN_ON_CPU = "ran_on_cpu"
    LESION_AT_EDGE = "lesion_at_edge"
    LESION_VERY_DENSE = "lesion_very_dense"
    METAL_SUSPECTED = "metal_suspected"
    ARTERY_NOT_COVERED = "artery_not_covered"
    ARTERIES_NOT_LOCATED = "arteries_not_located"
    LESION_FAR_FROM_ARTERIES = "lesion_far_from_arteries"
    NO_SCANNER_TAGS = "no_scanner_tags"
    MASK_VOXELS_LEFT_OUT = "mask_voxels_left_out"
    MASK_OUTSIDE_SCAN = "mask_outside_scan"


def _codes(code: Exit, *words: Word) -> dict[Word, Exit]:
    return dict.fromkeys(words, code)


EXIT_OF: dict[Word, Exit] = (
    _codes(
        Exit.USAGE,
        Word.BAD_OPTION,
        Word.UNKNOWN_SETTING,
        Word.BAD_SETTING,
        Word.CONFLICTING_OPTIONS,
        Word.BAD_CASE_LIST,
        Word.CASES_DIFFER,
    )
    | _codes(
        Exit.NO_USABLE_INPUT,
        Word.INPUT_NOT_FOUND,
        Word.INPUT_FORBIDDEN,
        Word.NO_DICOM,
        Word.NO_CT_SERIES,
        Word.SERIES_NOT_FOUND,
        Word.AMBIGUOUS_SERIES,
        Word.MIXED_PATIENTS,
        Word.LOCALIZER_ONLY,
        Word.DERIVED_ONLY,
        Word.NOT_AXIAL,
        Word.TOO_FEW_SLICES,
        Word.MIXED_ORIENTATION,
        Word.MIXED_GEOMETRY,
        Word.GEOMETRY_MISSING,
        Word.MULTIFRAME_UNSUPPORTED,
        Word.MASK_MISMATCH,
        Word.LABELS_MISSING,
        Word.PATIENT_IN_TWO_SPLITS,
        Word.EMPTY_SET,
    )
    | _codes(
        Exit.DAMAGED_INPUT,
        Word.FILE_UNREADABLE,
        Word.HEADER_TRUNCATED,
        Word.PIXELS_TRUNCATED,
        Word.PIXELS_UNDECODABLE,
        Word.DECODER_MISSING,
        Word.TRANSFER_SYNTAX_RETIRED,
        Word.NOT_HOUNSFIELD,
        Word.BLANK_SLICES,
        Word.ARCHIVE_DAMAGED,
    )
    | _codes(
        Exit.DEVICE,
        Word.DEVICE_UNAVAILABLE,
        Word.DEVICE_INDEX_UNKNOWN,
        Word.PROVIDER_FELL_BACK,
        Word.GPU_LIBRARIES_MISSING,
        Word.RUNTIME_CONFLICT,
        Word.RUNTIME_MISSING,
        Word.CLUSTER_UNAVAILABLE,
    )
    | _codes(
        Exit.NOT_MEASURABLE,
        Word.NOT_A_HEAD,
        Word.HEAD_NOT_COVERED,
        Word.CONTRAST_SUSPECTED,
        Word.TOO_THICK,
        Word.EMPTY_VOLUME,
        Word.HU_CLIPPED,
        Word.HU_SCALE_WRONG,
        Word.MISSING_SLICES,
        Word.CONFLICTING_SLICES,
        Word.SLICES_OUT_OF_ORDER,
        Word.ARTEFACT_SEVERE,
        Word.OUTPUT_NOT_FINITE,
        Word.RISK_UNDEFINED,
    )
    | _codes(
        Exit.OUTPUT,
        Word.OUTPUT_NOT_WRITABLE,
        Word.OUTPUT_EXISTS,
        Word.OUTPUT_INSIDE_INPUT,
        Word.OUTPUT_LOCKED,
        Word.LEDGER_DAMAGED,
        Word.DISK_FULL,
    )
    | _codes(
        Exit.MODEL,
        Word.MODEL_NOT_FOUND,
        Word.MODEL_CARD_INVALID,
        Word.MODEL_CHECKSUM_MISMATCH,
        Word.MODEL_UNREADABLE,
        Word.MODEL_TOO_NEW,
        Word.MODEL_SHAPE_MISMATCH,
        Word.LOSS_NOT_FINITE,
        Word.PARITY_LOST,
    )
    | _codes(
        Exit.RESOURCES,
        Word.GPU_OUT_OF_MEMORY,
        Word.OUT_OF_MEMORY,
        Word.VOLUME_TOO_LARGE,
        Word.WORKER_KILLED,
        Word.TIMED_OUT,
    )
)
"""Exit code of each failure word. A word that is absent here is a finding, which fails no case."""


class Severity(IntEnum):
    """How loudly a finding speaks."""

    INFO = 0
    WARNING = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen about a case that leaves it measured; `what` holds numbers, never identity."""

    word: Word
    what: str
    severity: Severity = Severity.WARNING


class IacError(Exception):
    """A failure that was foreseen. `word` is for programs, the sentences are for people."""

    def __init__(self, word: Word, what: str, *, way_out: str) -> None:
        super().__init__(what)
        self.word = word
        self.what = what
        self.way_out = way_out
        self.names: tuple[str, ...] = ()
        """Paths of the files that the sentence calls by number, from 1, relative to the input. For
        the eyes of the user who asks for them; nothing writes them."""

    @property
    def exit_code(self) -> Exit:
        """The process exit code that this failure stands for."""
        return EXIT_OF[self.word]


FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Operating system errors that mean a full disk, a used-up quota or a file that may not grow."""

FORBIDDEN = (errno.EACCES, errno.EPERM)
"""Operating system errors that mean a lack of permission on a path, or on a folder above it."""

NO_MEMORY = ("can't start new thread", "failed to map segment", "annot allocate memory")
"""Signs of too little memory in errors that have no type of their own for it."""


def forbidden(what: str) -> IacError:
    """The failure of something to be read that this user may not read."""
    return IacError(
        Word.INPUT_FORBIDDEN,
        what,
        way_out="give this user read permission on it, and entry to the folders it lies in",
    )


def errno_of(error: OSError) -> int | None:
    """The system's number of an error, or of the one it was made from: libraries drop it."""
    came_from: BaseException | None = error
    while came_from is not None:
        if isinstance(came_from, OSError) and came_from.errno is not None:
            return came_from.errno
        came_from = came_from.__cause__ or came_from.__context__
    return None


def system_failure(error: Exception) -> IacError | None:
    """What the system refused or ran out of, when that is what an error says; None for a bug."""
    number = errno_of(error) if isinstance(error, OSError) else None
    if number in FORBIDDEN:
        return forbidden("a file or folder that was given may not be read by this user")
    if number in FULL_DISK:
        return IacError(
            Word.DISK_FULL,
            "no space is left on the output disk",
            way_out="free some space and run again",
        )
    short_of_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
    if isinstance(error, RuntimeError | ImportError):
        short_of_memory = any(sign in str(error) for sign in NO_MEMORY)
    if not short_of_memory:
        return None
    return IacError(
        Word.OUT_OF_MEMORY,
        "the machine's memory does not suffice for this case",
        way_out="close other programs, or use a machine with more memory",
    )
