"""preview.png: the skull-base slices side by side, lesions outlined, no face.

Each tile shows a prism around the arteries, seen from below: the patient's right is on the left.
Whatever lies in front of the skull base (eyes, nose, cheeks) is cut away twice: the prism ends
shortly before the foremost artery, and a strip behind the foremost bone of each slice is blank.
The bytes depend on the pixels alone: no time, no version, no path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.measure.lesions import Found
from iac_cli.report.picture import (
    LIGHTEST,
    Colour,
    Pixels,
    Text,
    greys,
    outline,
    png_bytes,
    text_width,
    with_text,
)

WINDOW_HU = (-100.0, 400.0)
"""Black and white: brain is dark grey, calcification light, bone white."""

PIXELS_PER_MM = 3.5
MOST_TILES = 16
USUAL_TILES = 12
COLUMNS = 4
GAP = 4
"""Pixels between tiles."""
NUMBER_SIZE = 13
DOT = 2
DOT_EVERY_MM = 1.5

AIR_HU = -1024.0

MARGIN_FRONT_MM = 10.0
"""How far a tile reaches in front of the foremost point of an artery."""
MARGIN_MM = 14.0
"""How far it reaches beyond the arteries, or lesions, elsewhere."""
LEAST_SIDE_MM = 70.0
LARGEST_SIDE_MM = 130.0

FACE_MM = 50.0
"""Behind the foremost bone of a slice so much is blank.

In the real heads at hand the eyes end 33 to 44 mm behind it, and no siphon lies nearer than 62 mm.
"""
FACE_BONE_HU = 300.0
FACE_BONE_MM2 = 20.0
"""The foremost bone begins where so much of it has been met, from the front."""
SKULL_MM2 = 800.0
"""A slice with less bone than this is no slice of a head: there is no face to hide."""

COLOURS: tuple[tuple[str, Colour], ...] = (
    ("ICA", (255, 176, 0)),
    ("M1", (86, 180, 233)),
    ("A1", (0, 205, 150)),
    ("P1", (230, 130, 255)),
    ("V4", (255, 90, 60)),
    ("BA", (240, 228, 66)),
    ("not named", (150, 255, 60)),
)
"""Outline of each artery, told apart by people who see colours differently too."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a tile shows, in mm along the column axis (front to back) and the row axis."""

    front_mm: float
    back_mm: float
    right_mm: float
    left_mm: float
    by_arteries: bool = False
    """Whether located arteries set the front."""

    @property
    def pixels(self) -> tuple[int, int]:
        """(rows, columns) of a tile."""
        return (
            round((self.back_mm - self.front_mm) * PIXELS_PER_MM),
            round((self.left_mm - self.right_mm) * PIXELS_PER_MM),
        )


def preview_png(volume: Volume, found: Found, lines: Sequence[CentreLine] = ()) -> bytes:
    """The mosaic as the bytes of a PNG file."""
    frame = frame_of(volume, found, lines)
    shown = slices_to_show(volume.grid, found, lines)
    rows, columns = frame.pixels
    n_down = -(-len(shown) // COLUMNS)
    width = COLUMNS * (columns + GAP) - GAP
    canvas = np.zeros((n_down * (rows + GAP), width), dtype=np.uint8)
    for place, number in enumerate(shown):
        top, left = place // COLUMNS * (rows + GAP), place % COLUMNS * (columns + GAP)
        canvas[top : top + rows, left : left + columns] = _tile(
            volume, found, lines, _View.of(volume, frame, number)
        )
    picture = np.concatenate([canvas, _legend(width)])
    return png_bytes(picture, [colour for _, colour in COLOURS])


def frame_of(volume: Volume, found: Found, lines: Sequence[CentreLine]) -> Frame:
    """Around arteries and lesions; without either, the volume's middle."""
    grid = volume.grid
    parts = [line.points_mm for line in lines]
    parts += [np.array([lesion.centre_mm]) for lesion in found.lesions]
    middle_of_all = grid.to_world([(np.array(grid.shape) - 1) / 2])
    points = np.concatenate(parts) if parts else middle_of_all
    front = MARGIN_FRONT_MM if lines else MARGIN_MM
    down, across = points @ grid.column_axis, points @ grid.row_axis
    back_mm = float(down.max()) + MARGIN_MM
    front_mm = max(float(down.min()) - front, back_mm - LARGEST_SIDE_MM)
    back_mm = max(back_mm, front_mm + LEAST_SIDE_MM)
    middle = float(across.min() + across.max()) / 2
    half = np.clip(float(np.ptp(across)) / 2 + MARGIN_MM, LEAST_SIDE_MM / 2, LARGEST_SIDE_MM / 2)
    return Frame(front_mm, back_mm, middle - float(half), middle + float(half), bool(lines))


def slices_to_show(grid: Grid, found: Found, lines: Sequence[CentreLine]) -> list[int]:
    """Slices of the tiles, from below upwards: of every lesion if there is room, else even."""
    low, high = _height_range(grid, found, lines)
    inside = list(range(low, high + 1))
    if len(inside) <= MOST_TILES:
        return inside[:-1] if len(inside) % COLUMNS == 1 and not _reach(found, high) else inside
    lesions = _slices_of_lesions(found)
    n_tiles = USUAL_TILES if len(lesions) <= USUAL_TILES // 2 else MOST_TILES
    offsets = grid.offsets_mm
    heights = np.linspace(offsets[low], offsets[high], n_tiles)
    taken = np.zeros(n_tiles, dtype=bool)
    for number in lesions[:n_tiles]:  # each takes the place of the nearest even height
        place = np.where(taken, np.inf, np.abs(heights - offsets[number])).argmin()
        heights[place], taken[place] = offsets[number], True
    return sorted({int(np.abs(offsets - height).argmin()) for height in heights})


def _height_range(grid: Grid, found: Found, lines: Sequence[CentreLine]) -> tuple[int, int]:
    """Lowest and highest slice that the arteries and the lesions reach."""
    numbers = [n for lesion in found.lesions for n in (lesion.first_slice, lesion.last_slice)]
    for line in lines:
        numbers += [int(round(index)) for index in grid.to_index(line.points_mm)[:, 0]]
    if not numbers:
        numbers = [0, grid.shape[0] - 1]
    last = grid.shape[0] - 1
    return min(max(min(numbers), 0), last), min(max(max(numbers), 0), last)


def _reach(found: Found, number: int) -> bool:
    """Whether a lesion touches a slice."""
    return any(lesion.first_slice <= number <= lesion.last_slice for lesion in found.lesions)


def _slices_of_lesions(found: Found) -> list[int]:
    """For each lesion, the largest first, the slice of its largest area, unless it is shown yet."""
    picked: list[int] = []
    areas = _areas(found)
    for lesion in sorted(found.lesions, key=lambda one: (-one.n_voxels, one.number)):
        own = areas[lesion.number]
        if not any(number in own for number in picked):
            picked.append(max(own, key=lambda number: (own[number], -number)))
    return picked


def _areas(found: Found) -> dict[int, dict[int, int]]:
    """For each lesion its number of voxels in each slice that it touches."""
    areas: dict[int, dict[int, int]] = {lesion.number: {} for lesion in found.lesions}
    start = found.box[0].start
    for number, labels in enumerate(found.labels[found.box], start=start):
        for lesion, count in enumerate(np.bincount(labels.ravel())):
            if lesion and count:
                areas[lesion][number] = int(count)
    return areas


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One tile: its slice, and the fractional rows and columns of the slice at its pixels."""

    number: int
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    first_row: int
    """The first row of the slice that may be shown."""

    @classmethod
    def of(cls, volume: Volume, frame: Frame, number: int) -> "_View":
        grid = volume.grid
        n_rows, n_columns = frame.pixels
        origin = grid.positions_mm[number]
        down = frame.front_mm + (np.arange(n_rows) + 0.5) / PIXELS_PER_MM
        across = frame.right_mm + (np.arange(n_columns) + 0.5) / PIXELS_PER_MM
        return cls(
            number,
            (down - origin @ grid.column_axis) / grid.pixel_mm[0],
            (across - origin @ grid.row_axis) / grid.pixel_mm[1],
            first_row_behind_face(volume, frame, number),
        )

    def dots(self, grid: Grid, line: CentreLine) -> list[tuple[int, int]]:
        """(row, column) of the tile where a centre line runs through the slice's extent."""
        if len(line.points_mm) < 2:
            return []
        index = grid.to_index(line.resampled(DOT_EVERY_MM).points_mm)
        near = index[np.abs(index[:, 0] - self.number) <= 0.5]
        rows = np.searchsorted(self.rows, near[:, 1]) - DOT // 2
        columns = np.searchsorted(self.columns, near[:, 2]) - DOT // 2
        inside = (rows >= 0) & (rows < len(self.rows)) & (columns >= 0)
        inside &= columns < len(self.columns)
        return [(int(r), int(c)) for r, c in zip(rows[inside], columns[inside], strict=True)]


def _tile(volume: Volume, found: Found, lines: Sequence[CentreLine], view: _View) -> Pixels:
    """One slice as palette indices: greys, centre lines, outlines, lesion numbers, marks."""
    grid, number = volume.grid, view.number
    tile = greys(_interpolated(volume.hu[number], view.rows, view.columns), WINDOW_HU)
    tile[view.rows < view.first_row] = 0
    labels = _nearest(found.labels[number], view.rows, view.columns)
    for line in lines:
        for row, column in view.dots(grid, line):
            if not labels[row, column]:
                tile[row : row + DOT, column : column + DOT] = _entry(line.artery)
    height, width = tile.shape
    above_mm = grid.offsets_mm[number] - grid.offsets_mm[0]
    texts = [
        Text(6, height - 22, f"slice {number}   {above_mm:.1f} mm", 14),
        Text(6, height // 2 - 11, "R", 18),
        Text(width - 18, height // 2 - 11, "L", 18),
        *_lesion_numbers(labels),
    ]
    tile = with_text(tile, texts)
    for lesion in np.unique(labels[labels > 0]):
        tile[outline(labels == lesion)] = _entry(found.lesions[lesion - 1].artery)
    return tile


def _entry(artery: Artery | None) -> int:
    """The palette entry of an artery, or of what has no name."""
    names = [name for name, _ in COLOURS]
    place = -1 if artery is None else names.index(artery.value.partition("-")[0])
    return LIGHTEST + 1 + place % len(names)


def _lesion_numbers(labels: NDArray[np.int32]) -> list[Text]:
    """The number of each lesion of a tile, beside it where it covers no lesion or number."""
    taken = labels > 0
    texts = []
    for lesion in np.unique(labels[taken]):
        rows, columns = np.nonzero(labels == lesion)
        words = str(lesion)
        wide, high = text_width(words, NUMBER_SIZE) + 2, NUMBER_SIZE + 2
        middle = int(rows.mean()) - high // 2
        places = [
            (middle, int(columns.min()) - wide - 3),
            (middle, int(columns.max()) + 5),
            (int(rows.max()) + 3, int(columns.mean()) - wide // 2),
            (int(rows.min()) - high - 4, int(columns.mean()) - wide // 2),
        ]
        free = [at for at in places if not _covers(taken, at, (high, wide))]
        top, left = (free or places)[0]
        top, left = max(0, top), max(0, left)
        taken[top : top + high, left : left + wide] = True
        texts.append(Text(left, top, words, NUMBER_SIZE))
    return texts


def _covers(taken: NDArray[np.bool_], at: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether a box reaches out of a tile or over something that is taken."""
    (top, left), (high, wide) = at, size
    if top < 0 or left < 0 or top + high > taken.shape[0] or left + wide > taken.shape[1]:
        return True
    return bool(taken[top : top + high, left : left + wide].any())


def first_row_behind_face(volume: Volume, frame: Frame, number: int) -> int:
    """The first row of a slice that may be shown: `FACE_MM` behind the slice's foremost bone.

    Bone counts between the sides of the frame only: raised arms may lie in front of the face.
    Where the scan itself begins behind the foremost bone, the arteries alone set the front.
    """
    grid = volume.grid
    sides = np.array([frame.right_mm, frame.left_mm]) - grid.positions_mm[number] @ grid.row_axis
    right, left = np.clip(sides / grid.pixel_mm[1], 0, grid.shape[2]).astype(int)
    bone = volume.hu[number][:, right:left] >= FACE_BONE_HU
    bone_mm2 = bone.sum(axis=1) * grid.pixel_area_mm2
    if bone_mm2.sum() < SKULL_MM2 or (frame.by_arteries and bone[:2].any()):
        return 0
    foremost = int(np.argmax(np.cumsum(bone_mm2) >= FACE_BONE_MM2))
    return foremost + int(np.ceil(FACE_MM / grid.pixel_mm[0]))


def _interpolated(
    hu: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Bilinear HU at rows x columns; air outside the slice."""
    along = _blend(hu, rows)
    return np.ascontiguousarray(_blend(along.T, columns).T)


def _blend(hu: NDArray[np.float32], index: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of `hu` at fractional indices, blended from the two nearest; air outside."""
    last = len(hu) - 1
    low = np.clip(np.floor(index).astype(int), 0, last)
    high = np.minimum(low + 1, last)
    share = np.clip(index - low, 0.0, 1.0)[:, None].astype(np.float32)
    blended = hu[low] * (1 - share) + hu[high] * share
    blended[(index < -0.5) | (index > last + 0.5)] = AIR_HU
    return np.asarray(blended, dtype=np.float32)


def _nearest(
    labels: NDArray[np.int32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Labels at rows x columns; 0 outside the slice."""
    row, column = np.floor(rows + 0.5).astype(int), np.floor(columns + 0.5).astype(int)
    inside_row = (row >= 0) & (row < labels.shape[0])
    inside_column = (column >= 0) & (column < labels.shape[1])
    picked = labels[np.ix_(row * inside_row, column * inside_column)]
    return np.where(inside_row[:, None] & inside_column, picked, 0).astype(np.int32)


def _legend(width: int) -> Pixels:
    """A strip that explains the picture: colours of the arteries, window, order, scale."""
    low, high = WINDOW_HU
    words = (
        "Outlined: calcified lesions, numbered as in lesions.csv. Dots: centre lines of the "
        "arteries as located. Lowest slice first; heights are above the scan's lowest slice. "
        f"R: patient's right. {low:.0f} to {high:.0f} HU. Research use only."
    )
    lines = _wrapped(words, width - 16)
    strip = np.zeros((34 + 20 * len(lines), width), dtype=np.uint8)
    x, texts = 8, [Text(8, 30 + 20 * k, line, 14) for k, line in enumerate(lines)]
    for name, _ in COLOURS:
        strip[9:21, x : x + 12] = LIGHTEST + 1 + [known for known, _ in COLOURS].index(name)
        texts.append(Text(x + 18, 5, name, 15))
        x += 40 + text_width(name, 15)
    bar = round(20 * PIXELS_PER_MM)
    strip[14:17, width - bar - 70 : width - 70] = LIGHTEST
    texts.append(Text(width - 62, 5, "20 mm", 15))
    return with_text(strip, texts)


def _wrapped(words: str, width: int) -> list[str]:
    """Words as lines no wider than `width` pixels."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, 14) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
