"""One file's pixels as HU.

Native little-endian pixels are read straight from their offset; everything else goes through
pydicom's decoders. pydicom's and the decoders' exceptions are translated here and nowhere else.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.bits import true_values
from iac_cli.dicom.header import NATIVE_LITTLE, Coding, SliceHeader
from iac_cli.dicom.jpeg import check_jpeg
from iac_cli.dicom.parse import FOREIGN
from iac_cli.dicom.scale import BELOW_AIR_HU, below_air_share
from iac_cli.dicom.scan import Store
from iac_cli.errors import Finding, IacError, Severity, Word

AIR_HU = -1024.0
"""What padding and everything below it becomes."""

NEAR_AIR_HU = -900.0
"""A padding value between this and `PADDING_ABOVE_HU` is a value of tissue: it is not applied."""

PADDING_ABOVE_HU = 4000.0
"""A padding value whose HU lies above this is no tissue either, and becomes air."""

LARGEST_SIDE = 8192
"""A matrix beyond this is not a CT slice."""

RETIRED = {
    "1.2.840.10008.1.2.4.52": "JPEG Extended (Process 3 and 5)",
    "1.2.840.10008.1.2.4.53": "JPEG Spectral Selection (Process 6 and 8)",
    "1.2.840.10008.1.2.4.54": "JPEG Spectral Selection (Process 7 and 9)",
    "1.2.840.10008.1.2.4.55": "JPEG Full Progression (Process 10 and 12)",
    "1.2.840.10008.1.2.4.56": "JPEG Full Progression (Process 11 and 13)",
}
"""Transfer syntaxes that the standard withdrew and no maintained decoder reads."""

LOSSY = frozenset(
    "1.2.840.10008.1.2.4." + tail for tail in ("50", "51", "81", "91", "93", "112", "203")
)
"""Transfer syntaxes whose pixels may differ from what was measured."""

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG = frozenset("1.2.840.10008.1.2.4." + tail for tail in ("50", "51", "57", "70"))
JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})

PLUGINS = (
    dict.fromkeys(JPEG, "gdcm")
    | dict.fromkeys(JPEG_LS, "pyjpegls")
    | dict.fromkeys(JPEG_2000, "pylibjpeg")
)
"""pydicom's plug-in for each transfer syntax: one, so that no result depends on a second try."""


class SliceError(Exception):
    """One slice that cannot be used; `word` and `what` say why."""

    def __init__(self, word: Word, what: str) -> None:
        super().__init__(what)
        self.word = word
        self.what = what


@dataclass(frozen=True, slots=True)
class Seen:
    """What was noticed while one slice was read."""

    padded: bool = False
    sign_corrected: bool = False
    width_corrected: bool = False
    bits_removed: bool = False
    padding_ignored: bool = False
    low_hu: float = 0.0
    high_hu: float = 0.0
    """Lowest and highest value of the slice."""
    below_air: float = 0.0
    """Share of its pixels, padding apart, that lie below all air before they are set to air."""


def is_lossy(coding: Coding) -> bool:
    """True when the pixels went through lossy compression at any time."""
    return coding.lossy or coding.transfer_syntax in LOSSY


def check_coding(header: SliceHeader) -> None:
    """Refuse what can be seen in the header alone. Raises: SliceError."""
    coding, name = header.coding, header.label
    if coding.transfer_syntax in RETIRED:
        raise _retired(header)
    if not (0 < coding.rows <= LARGEST_SIDE and 0 < coding.columns <= LARGEST_SIDE):
        what = f"{name} has a matrix of {coding.rows} x {coding.columns}"
        raise SliceError(Word.PIXELS_UNDECODABLE, what)
    if coding.samples != 1 or coding.photometric not in (None, "MONOCHROME2"):
        what = f"{name} has {coding.samples} samples a pixel, {coding.photometric}"
        raise SliceError(Word.NOT_HOUNSFIELD, what)
    if coding.bits_allocated not in (8, 16, 32):
        what = f"{name} has {coding.bits_allocated} bits a pixel"
        raise SliceError(Word.PIXELS_UNDECODABLE, what)
    bits = coding.bits_stored
    if not 1 <= bits <= coding.bits_allocated or coding.high_bit != bits - 1:
        what = f"{name} stores {bits} of {coding.bits_allocated} bits below bit {coding.high_bit}"
        raise SliceError(Word.PIXELS_UNDECODABLE, what)
    if coding.slope is None or coding.intercept is None or coding.slope == 0:
        raise SliceError(Word.NOT_HOUNSFIELD, f"{name} has no usable rescale slope and intercept")
    if header.n_frames > 1 and header.frame is None:
        what = f"{name} holds {header.n_frames} frames and is no Enhanced CT"
        raise SliceError(Word.MULTIFRAME_UNSUPPORTED, what)
    wanted = coding.rows * coding.columns * coding.bits_allocated // 8 * header.n_frames
    if coding.offset is not None and coding.length is not None and coding.length < wanted:
        what = f"{name} announces {coding.length} of {wanted} bytes of pixels"
        raise SliceError(Word.PIXELS_TRUNCATED, what)
    if coding.rescale_type not in (None, "HU", "HU_MOD"):
        what = f"{name} is in units of {coding.rescale_type}, not HU"
        raise SliceError(Word.NOT_HOUNSFIELD, what)


def retired_slice(headers: Sequence[SliceHeader]) -> SliceError | None:
    """The refusal of the first slice in a retired transfer syntax that has no other copy."""
    kept = {h.place.position for h in headers if h.coding.transfer_syntax not in RETIRED}
    for header in headers:
        if header.coding.transfer_syntax in RETIRED and header.place.position not in kept:
            return _retired(header)
    return None


def _retired(header: SliceHeader) -> SliceError:
    kind = RETIRED[header.coding.transfer_syntax]
    what = f"{header.label} is compressed with the retired {kind}"
    return SliceError(Word.TRANSFER_SYNTAX_RETIRED, what)


@dataclass(slots=True)
class PixelSource:
    """Opens files; a multi-frame object that must be decoded is parsed once for all frames."""

    store: Store
    held: tuple[object, Any] | None = None
    """The key of a file, and its pydicom data set."""

    def dataset(self, header: SliceHeader) -> Any:
        """The parsed file of a header. Raises: OSError, and what pydicom raises."""
        import pydicom

        if self.held is not None and self.held[0] == header.key:
            return self.held[1]
        with self.store.open(header.key) as stream:
            raw = stream.read()
        dataset = pydicom.dcmread(BytesIO(raw), force=True)
        _check_length(dataset, header)
        self.held = (header.key, dataset) if header.frame is not None else None
        return dataset


def read_hu(header: SliceHeader, source: PixelSource, out: NDArray[np.float32]) -> Seen:
    """Fill `out` (row, column) with one slice in HU. Raises: SliceError."""
    check_coding(header)
    coding = header.coding
    native = coding.transfer_syntax in NATIVE_LITTLE and coding.offset is not None
    corrected = False
    try:
        if native:
            with source.store.open(header.key) as stream:
                stored = _read_native(header, stream)
        else:
            stored, corrected = _decode(header, source)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SliceError(Word.FILE_UNREADABLE, f"{header.label}: {reason}") from error
    if stored.shape != out.shape:
        what = f"{header.label} decodes to {stored.shape}, its header says {out.shape}"
        raise SliceError(Word.PIXELS_UNDECODABLE, what)
    seen = to_hu(stored, header.coding, out)
    return replace(seen, sign_corrected=True) if corrected else seen


def to_hu(stored: NDArray[Any], coding: Coding, out: NDArray[np.float32]) -> Seen:
    """Stored values (row, column) -> HU in `out`; padding and all below air becomes air."""
    values = true_values(stored, coding)
    stored = values.stored
    slope, intercept = np.float64(coding.slope or 0.0), np.float64(coding.intercept or 0.0)
    if slope == 1.0 and intercept == int(intercept) and abs(intercept) < 2**20:
        np.add(stored, np.float32(intercept), out=out, casting="unsafe")
    else:
        out[...] = stored * slope + intercept
    low = float(out.min())
    below = below_air_share(out) if low < BELOW_AIR_HU else 0.0
    padded, ignored = low < AIR_HU, False
    if coding.padding is not None:
        padding_hu = coding.padding * slope + intercept
        ignored = bool(NEAR_AIR_HU < padding_hu <= PADDING_ABOVE_HU)
        if padding_hu < AIR_HU or padding_hu > PADDING_ABOVE_HU:
            padded |= _clear_padding(stored, coding, out)
    if padded:
        np.maximum(out, np.float32(AIR_HU), out=out)
        low = max(low, AIR_HU)
    return Seen(
        padded=padded,
        sign_corrected=values.sign_corrected,
        width_corrected=values.width_corrected,
        bits_removed=values.bits_removed,
        padding_ignored=ignored,
        low_hu=low,
        high_hu=float(out.max()),
        below_air=below,
    )


def slice_digest(hu: NDArray[np.float32]) -> bytes:
    """SHA-256 of one slice's HU: as 16-bit integers where all are whole, else as float32."""
    with np.errstate(invalid="ignore"):  # values beyond 16 bits are no HU and refused later
        whole = hu.astype(np.int16)
    if np.array_equal(whole, hu):
        return sha256(np.ascontiguousarray(whole, dtype="<i2").data).digest()
    return sha256(np.ascontiguousarray(hu, dtype="<f4").data).digest()


def _clear_padding(stored: NDArray[Any], coding: Coding, out: NDArray[np.float32]) -> bool:
    """Set the tagged padding value, or range of values, to air."""
    first = coding.padding or 0
    last = coding.padding_limit if coding.padding_limit is not None else first
    low, high = min(first, last), max(first, last)
    hit = stored == low if low == high else (stored >= low) & (stored <= high)
    out[hit] = AIR_HU
    return bool(hit.any())


def _read_native(header: SliceHeader, stream: BinaryIO) -> NDArray[Any]:
    coding = header.coding
    kind = f"<{'i' if coding.signed else 'u'}{coding.bits_allocated // 8}"
    frame = np.empty((coding.rows, coding.columns), dtype=kind)
    wanted = frame.nbytes
    stream.seek((coding.offset or 0) + (header.frame or 0) * wanted)
    got = stream.readinto(frame.reshape(-1).view(np.uint8))  # type: ignore[attr-defined]
    if got != wanted:
        raise SliceError(
            Word.PIXELS_TRUNCATED, f"{header.label} holds {got} of {wanted} bytes of pixels"
        )
    return frame


def _decode(header: SliceHeader, source: PixelSource) -> tuple[NDArray[Any], bool]:
    """Decode one frame, (row, column), and whether its sign contradicts the header.

    Raises: OSError; SliceError for anything that goes wrong in pydicom or in a decoder.
    """
    _check_decoder(header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode_frame(source.dataset(header), header)
    except MemoryError as error:
        raise SliceError(Word.PIXELS_UNDECODABLE, f"{header.label} is absurdly large") from error
    except (*FOREIGN, RuntimeError) as error:
        raise _translated(header, error) from error


def _decode_frame(dataset: Any, header: SliceHeader) -> tuple[NDArray[Any], bool]:
    """Check the compressed stream as far as its decoder does not, then decode it."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import get_j2k_parameters, pixel_array

    coding, index, corrected = header.coding, header.frame or 0, False
    plugin = PLUGINS.get(coding.transfer_syntax, "")
    if coding.transfer_syntax in JPEG or coding.transfer_syntax in JPEG_2000:
        frame = get_frame(dataset.PixelData, index, number_of_frames=header.n_frames)
        if coding.transfer_syntax in JPEG_2000:
            signed = get_j2k_parameters(frame).get("is_signed", coding.signed)
            corrected = bool(signed) != coding.signed
        else:
            check_jpeg(frame, rows=coding.rows, columns=coding.columns)
        if coding.transfer_syntax == JPEG_EXTENDED and coding.bits_stored > 8:
            return _decode_extended(frame, coding), False
    return np.asarray(
        pixel_array(dataset, index=index, raw=True, decoding_plugin=plugin)
    ), corrected


def _check_decoder(header: SliceHeader) -> None:
    """Refuse a transfer syntax that no installed decoder reads. Raises: SliceError."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    syntax = header.coding.transfer_syntax
    try:
        lacking = "; ".join(get_decoder(UID(syntax)).missing_dependencies)
        ready = get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        lacking, ready = "it is no encoding of CT images", False
    if not ready:
        what = (
            f"{header.label} has the transfer syntax {syntax}, which cannot be decoded: {lacking}"
        )
        raise SliceError(Word.DECODER_MISSING, what)


def _decode_extended(frame: bytes, coding: Coding) -> NDArray[np.uint16]:
    """Decode a 12-bit JPEG frame, which pydicom hands to no plug-in, with GDCM."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((coding.columns, coding.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    syntax = gdcm.TransferSyntax.GetTSType(coding.transfer_syntax)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = coding.bits_stored
    # 12 bits allocated make GDCM begin with its 12-bit decoder; with 16 it first tries another one,
    # which complains on stderr
    allocated = 12 if bits <= 12 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, bits, bits - 1, 0))
    content = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(content, dtype="<u2").reshape(coding.rows, coding.columns)


def _check_length(dataset: Any, header: SliceHeader) -> None:
    """Refuse uncompressed pixels that end early, before a decoder pads or complains."""
    coding = header.coding
    if dataset.file_meta.get("TransferSyntaxUID") is None:
        return
    if dataset.file_meta.TransferSyntaxUID.is_compressed and not (
        dataset.file_meta.TransferSyntaxUID.is_deflated
    ):
        return
    wanted = coding.rows * coding.columns * coding.bits_allocated // 8 * header.n_frames
    got = len(dataset.get("PixelData", b"") or b"")
    if got < wanted:
        raise SliceError(
            Word.PIXELS_TRUNCATED, f"{header.label} holds {got} of {wanted} bytes of pixels"
        )


def _translated(header: SliceHeader, error: Exception) -> SliceError:
    what = f"{header.label} cannot be decoded ({type(error).__name__})"
    return SliceError(Word.PIXELS_UNDECODABLE, what)


WAYS_OUT = {
    Word.TRANSFER_SYNTAX_RETIRED: "export the series again, uncompressed or losslessly",
    Word.DECODER_MISSING: "run 'iac-seg doctor': it lists decoders and what is missing",
    Word.NOT_HOUNSFIELD: "export the original CT series with its rescale tags",
    Word.CONFLICTING_SLICES: "remove one of the two acquisitions, or send the series again",
    Word.MULTIFRAME_UNSUPPORTED: "convert it to single-frame CT, or send the classic series",
    Word.BLANK_SLICES: "send the series again; slices were lost or repeated on the way",
    Word.FILE_UNREADABLE: "check the disk or network share, then run again",
}
"""What helps where the pixels of a series cannot be used."""


def failure(error: SliceError) -> IacError:
    """The failure of a whole series whose slices fail like this one."""
    way_out = WAYS_OUT.get(error.word, "send or export the files again")
    return IacError(error.word, error.what, way_out=way_out)


def pixel_findings(seen: list[Seen], headers: list[SliceHeader]) -> list[Finding]:
    """Findings about the pixels of a series."""
    findings = []
    n_padded = sum(s.padded for s in seen)
    if n_padded:
        what = f"values below {AIR_HU:.0f} HU or tagged as padding became air in {n_padded} slices"
        findings.append(Finding(Word.PADDING_MASKED, what, Severity.INFO))
    if any(s.padding_ignored for s in seen):
        what = "the tagged padding value is one of tissue and was not applied"
        findings.append(Finding(Word.PADDING_IGNORED, what))
    n_corrected = sum(s.sign_corrected for s in seen)
    if n_corrected:
        what = f"in {n_corrected} slices the header contradicts the pixels about their sign"
        findings.append(Finding(Word.PIXEL_SIGN_CORRECTED, what))
    findings += _width_findings(seen)
    rescales = {(h.coding.slope, h.coding.intercept) for h in headers}
    if len(rescales) > 1:
        what = f"{len(rescales)} different rescale slopes and intercepts, each applied to its slice"
        findings.append(Finding(Word.RESCALE_VARIES, what))
    n_lossy = sum(is_lossy(h.coding) for h in headers)
    if n_lossy:
        what = f"{n_lossy} slices went through lossy compression; small lesions may have changed"
        findings.append(Finding(Word.LOSSY_COMPRESSION, what))
    return findings


def _width_findings(seen: Sequence[Seen]) -> list[Finding]:
    """What the pixels say about BitsStored."""
    told = (
        (sum(s.width_corrected for s in seen), "more bits than BitsStored says; all were read"),
        (sum(s.bits_removed for s in seen), "foreign bits above BitsStored, which were removed"),
    )
    return [Finding(Word.STORED_BITS_DISAGREE, f"{n} slices hold {what}") for n, what in told if n]
